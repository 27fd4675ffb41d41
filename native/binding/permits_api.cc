#include "binding/permits_api.h"

#include <limits>

#include "binding/convert.h"

namespace sekering {
namespace {

/// A count as JavaScript gives it; what is too large for one is JavaScript's largest safe integer.
uint64_t CountOf(double number) {
  if (!(number > 0)) return 0;
  if (number >= static_cast<double>(kCapacityMax)) return kCapacityMax;
  return static_cast<uint64_t>(number);
}

double WaitOf(Micros wait) {
  return wait == kNever ? std::numeric_limits<double>::infinity() : ToMillis(wait);
}

}  // namespace

/// Each is one exported function; its comment gives the JavaScript signature.
struct PermitsFunctions {
  template <size_t kCount>
  struct Call : Arguments<kCount> {
    Call(napi_env env, napi_callback_info info)
        : Arguments<kCount>(env, info), api(*this->template Data<PermitsApi>()) {}
    Micros Now() const { return api.clock_.Now(); }
    PermitsApi& api;
  };

  /// createBulkhead(capacity): handle
  static napi_value CreateBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.api.bulkheads_.Create(CountOf(call.Double(0))));
  }

  /// destroyBulkhead(handle)
  static napi_value DestroyBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.bulkheads_.Destroy(call.Uint32(0));
    return nullptr;
  }

  /// acquireBulkhead(handle): boolean
  static napi_value AcquireBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    PermitsApi::BulkheadEntry& entry = call.api.bulkheads_[call.Uint32(0)];
    return ToJs(env, entry.bulkhead.TryAcquire(entry.capacity));
  }

  /// releaseBulkhead(handle): boolean, false when none was in use
  static napi_value ReleaseBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.api.bulkheads_[call.Uint32(0)].bulkhead.Release());
  }

  /// bulkheadInUse(handle): number
  static napi_value BulkheadInUse(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const uint64_t in_use = call.api.bulkheads_[call.Uint32(0)].bulkhead.InUse();
    return ToJs(env, static_cast<double>(in_use));
  }

  /// createTokenBucket(limit, intervalMs, burst): handle
  static napi_value CreateTokenBucket(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    return ToJs(env,
                call.api.buckets_.Create(TokenRate::Make(
                    CountOf(call.Double(0)), FromMillis(call.Double(1)), CountOf(call.Double(2)))));
  }

  /// destroyTokenBucket(handle)
  static napi_value DestroyTokenBucket(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.buckets_.Destroy(call.Uint32(0));
    return nullptr;
  }

  /// takeTokens(handle, n): 0 when taken, else the wait in ms (Infinity: more than the burst)
  static napi_value TakeTokens(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    PermitsApi::TokenBucketEntry& entry = call.api.buckets_[call.Uint32(0)];
    const uint64_t n = CountOf(call.Double(1));
    return ToJs(env, WaitOf(entry.bucket.TryTake(entry.rate, call.Now(), n)));
  }

  /// waitForTokens(handle, n): ms until n more tokens will have arrived; takes none
  static napi_value WaitForTokens(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    const PermitsApi::TokenBucketEntry& entry = call.api.buckets_[call.Uint32(0)];
    const uint64_t n = CountOf(call.Double(1));
    return ToJs(env, WaitOf(entry.bucket.Wait(entry.rate, call.Now(), n)));
  }

  /// tokensAvailable(handle): number
  static napi_value TokensAvailable(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const PermitsApi::TokenBucketEntry& entry = call.api.buckets_[call.Uint32(0)];
    return ToJs(env, entry.bucket.Available(entry.rate, call.Now()));
  }

  /// createRetryBudget(ratio, reservePerSecond, max): handle
  static napi_value CreateRetryBudget(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    return ToJs(env, call.api.budgets_.Create(
                         RetryRate::Make(call.Double(0), call.Double(1), call.Double(2))));
  }

  /// destroyRetryBudget(handle)
  static napi_value DestroyRetryBudget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.budgets_.Destroy(call.Uint32(0));
    return nullptr;
  }

  /// depositRetryBudget(handle)
  static napi_value DepositRetryBudget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    PermitsApi::RetryBudgetEntry& entry = call.api.budgets_[call.Uint32(0)];
    entry.budget.Deposit(entry.rate);
    return nullptr;
  }

  /// withdrawRetryBudget(handle): boolean
  static napi_value WithdrawRetryBudget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    PermitsApi::RetryBudgetEntry& entry = call.api.budgets_[call.Uint32(0)];
    return ToJs(env, entry.budget.TryWithdraw(entry.rate, call.Now()));
  }

  /// retryBudgetBalance(handle): number
  static napi_value RetryBudgetBalance(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const PermitsApi::RetryBudgetEntry& entry = call.api.budgets_[call.Uint32(0)];
    return ToJs(env, entry.budget.Balance(entry.rate, call.Now()));
  }
};

PermitsApi::PermitsApi(Napi::Env env, Napi::Object exports, const EnvClock& clock) : clock_(clock) {
  const struct {
    const char* name;
    napi_callback callback;
  } functions[] = {
      {"createBulkhead", PermitsFunctions::CreateBulkhead},
      {"destroyBulkhead", PermitsFunctions::DestroyBulkhead},
      {"acquireBulkhead", PermitsFunctions::AcquireBulkhead},
      {"releaseBulkhead", PermitsFunctions::ReleaseBulkhead},
      {"bulkheadInUse", PermitsFunctions::BulkheadInUse},
      {"createTokenBucket", PermitsFunctions::CreateTokenBucket},
      {"destroyTokenBucket", PermitsFunctions::DestroyTokenBucket},
      {"takeTokens", PermitsFunctions::TakeTokens},
      {"waitForTokens", PermitsFunctions::WaitForTokens},
      {"tokensAvailable", PermitsFunctions::TokensAvailable},
      {"createRetryBudget", PermitsFunctions::CreateRetryBudget},
      {"destroyRetryBudget", PermitsFunctions::DestroyRetryBudget},
      {"depositRetryBudget", PermitsFunctions::DepositRetryBudget},
      {"withdrawRetryBudget", PermitsFunctions::WithdrawRetryBudget},
      {"retryBudgetBalance", PermitsFunctions::RetryBudgetBalance},
  };
  for (const auto& [name, callback] : functions) Export(env, exports, name, callback, this);
}

}  // namespace sekering

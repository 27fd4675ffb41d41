#include "binding/permits_api.h"

#include <limits>
#include <utility>

#include "binding/breaker_config.h"
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

  /// The record of the arguments of an attach function: (region, name, config: Float64Array,
  /// stored: Float64Array). Such a function answers a handle, or minus a RegionError, or
  /// kOtherOptions; `stored` gets the configuration that the record has.
  static Attached Attach(Call<4>& call, napi_env env, RecordKind kind,
                         const Description& description, size_t hot_cells) {
    const RecordKey key{static_cast<uint32_t>(kind), Napi::String(env, call[1]).Utf8Value(),
                        description, hot_cells, 0};
    return AttachRecord(env, call.api.regions_[call.Uint32(0)], key, call[3]);
  }

  /// Of a token bucket or a retry budget.
  template <class State, class Rate>
  static napi_value AttachRated(Call<4>& call, napi_env env, RecordKind kind,
                                HandleTable<RatedEntry<State, Rate>>& table,
                                Rate (*rate_of)(double, double, double)) {
    const Description description = DescriptionOf(env, call[2]);
    const Attached attached = Attach(call, env, kind, description, sizeof(State) / sizeof(Cell));
    if (attached.error != 0) return ToJs(env, attached.error);
    const Rate rate = rate_of(description[0], description[1], description[2]);
    return ToJs(env, table.Create(rate, attached.record));
  }

  template <class Entry>
  static void DestroyRated(HandleTable<Entry>& table, uint32_t handle) {
    SharedRecord* const record = std::exchange(table[handle].shared, nullptr);
    if (record != nullptr) record->home().Forget(record);
    table.Destroy(handle);
  }

  static TokenRate TokenRateOf(double limit, double interval_ms, double burst) {
    return TokenRate::Make(CountOf(limit), FromMillis(interval_ms), CountOf(burst));
  }

  /// createBulkhead(capacity): handle
  static napi_value CreateBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.api.bulkheads_.Create(CountOf(call.Double(0))));
  }

  /// attachBulkhead(region, name, config: [capacity], stored): handle
  static napi_value AttachBulkhead(napi_env env, napi_callback_info info) {
    Call<4> call(env, info);
    const Description description = DescriptionOf(env, call[2]);
    const Attached attached =
        Attach(call, env, RecordKind::kBulkhead, description, SharedBulkhead::kHotCells);
    if (attached.error != 0) return ToJs(env, attached.error);
    const uint64_t capacity = CountOf(description[0]);
    SharedRecord& record = *attached.record;
    const auto [found, is_first] = call.api.shared_bulkheads_.try_emplace(
        {&record.home(), record.key().name}, record, capacity);
    if (!is_first) record.home().Forget(&record);
    return ToJs(env, call.api.bulkheads_.Create(capacity, &found->second));
  }

  /// destroyBulkhead(handle): what it has acquired of a shared one is given back
  static napi_value DestroyBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const BulkheadEntry& entry = call.api.bulkheads_[call.Uint32(0)];
    if (entry.shared != nullptr) entry.shared->Use().Release(entry.held);
    call.api.bulkheads_.Destroy(call.Uint32(0));
    return nullptr;
  }

  /// acquireBulkhead(handle): boolean
  static napi_value AcquireBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    BulkheadEntry& entry = call.api.bulkheads_[call.Uint32(0)];
    if (entry.shared == nullptr) return ToJs(env, entry.own.TryAcquire(entry.capacity));
    const bool acquired = entry.shared->Use().TryAcquire();
    if (acquired) ++entry.held;
    return ToJs(env, acquired);
  }

  /// acquireBulkheadForLine(handle): boolean, of a shared one, for those who wait for it
  static napi_value AcquireForLine(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    BulkheadEntry& entry = call.api.bulkheads_[call.Uint32(0)];
    const bool acquired = entry.shared->Use().TryAcquireForLine(call.Now());
    if (acquired) ++entry.held;
    return ToJs(env, acquired);
  }

  /// mustYieldBulkhead(handle): whether the permit that is done with must be released, and not
  /// handed to one who waits here, of a shared one
  static napi_value MustYield(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.api.bulkheads_[call.Uint32(0)].shared->Use().MustYield(call.Now()));
  }

  /// releaseBulkhead(handle): boolean, false when none was in use
  static napi_value ReleaseBulkhead(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    BulkheadEntry& entry = call.api.bulkheads_[call.Uint32(0)];
    if (entry.shared == nullptr) return ToJs(env, entry.own.Release());
    if (entry.held == 0) return ToJs(env, false);
    --entry.held;
    entry.shared->Use().Release();
    return ToJs(env, true);
  }

  /// bulkheadInUse(handle): number, by all who share it
  static napi_value BulkheadInUse(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const BulkheadEntry& entry = call.api.bulkheads_[call.Uint32(0)];
    const uint64_t in_use =
        entry.shared != nullptr ? entry.shared->Use().InUse() : entry.own.InUse();
    return ToJs(env, static_cast<double>(in_use));
  }

  /// bulkheadHeld(handle): number, by this environment, of a shared one
  static napi_value BulkheadHeld(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, static_cast<double>(call.api.bulkheads_[call.Uint32(0)].shared->Use().held()));
  }

  /// bulkheadRepairs(handle): how many damaged words of a shared one this environment has put right
  static napi_value BulkheadRepairs(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.api.bulkheads_[call.Uint32(0)].shared->Use().repairs());
  }

  /// createTokenBucket(limit, intervalMs, burst): handle
  static napi_value CreateTokenBucket(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    return ToJs(
        env, call.api.buckets_.Create(TokenRateOf(call.Double(0), call.Double(1), call.Double(2))));
  }

  /// attachTokenBucket(region, name, config: [limit, intervalMs, burst], stored): handle
  static napi_value AttachTokenBucket(napi_env env, napi_callback_info info) {
    Call<4> call(env, info);
    return AttachRated(call, env, RecordKind::kTokenBucket, call.api.buckets_, TokenRateOf);
  }

  /// destroyTokenBucket(handle)
  static napi_value DestroyTokenBucket(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    DestroyRated(call.api.buckets_, call.Uint32(0));
    return nullptr;
  }

  /// takeTokens(handle, n): 0 when taken, else the wait in ms (Infinity: more than the burst)
  static napi_value TakeTokens(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    auto& entry = call.api.buckets_[call.Uint32(0)];
    const uint64_t n = CountOf(call.Double(1));
    return ToJs(env, WaitOf(entry.state().TryTake(entry.rate, call.Now(), n)));
  }

  /// waitForTokens(handle, n): ms until n more tokens will have arrived; takes none
  static napi_value WaitForTokens(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    auto& entry = call.api.buckets_[call.Uint32(0)];
    const uint64_t n = CountOf(call.Double(1));
    return ToJs(env, WaitOf(entry.state().Wait(entry.rate, call.Now(), n)));
  }

  /// tokensAvailable(handle): number
  static napi_value TokensAvailable(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    auto& entry = call.api.buckets_[call.Uint32(0)];
    return ToJs(env, entry.state().Available(entry.rate, call.Now()));
  }

  /// createRetryBudget(ratio, reservePerSecond, max): handle
  static napi_value CreateRetryBudget(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    return ToJs(env, call.api.budgets_.Create(
                         RetryRate::Make(call.Double(0), call.Double(1), call.Double(2))));
  }

  /// attachRetryBudget(region, name, config: [ratio, reservePerSecond, max], stored): handle
  static napi_value AttachRetryBudget(napi_env env, napi_callback_info info) {
    Call<4> call(env, info);
    return AttachRated(call, env, RecordKind::kRetryBudget, call.api.budgets_, RetryRate::Make);
  }

  /// destroyRetryBudget(handle)
  static napi_value DestroyRetryBudget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    DestroyRated(call.api.budgets_, call.Uint32(0));
    return nullptr;
  }

  /// depositRetryBudget(handle)
  static napi_value DepositRetryBudget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    auto& entry = call.api.budgets_[call.Uint32(0)];
    entry.state().Deposit(entry.rate);
    return nullptr;
  }

  /// withdrawRetryBudget(handle): boolean
  static napi_value WithdrawRetryBudget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    auto& entry = call.api.budgets_[call.Uint32(0)];
    return ToJs(env, entry.state().TryWithdraw(entry.rate, call.Now()));
  }

  /// retryBudgetBalance(handle): number
  static napi_value RetryBudgetBalance(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    auto& entry = call.api.budgets_[call.Uint32(0)];
    return ToJs(env, entry.state().Balance(entry.rate, call.Now()));
  }
};

PermitsApi::PermitsApi(Napi::Env env, Napi::Object exports, const EnvClock& clock,
                       SharedRegions& regions)
    : clock_(clock), regions_(regions) {
  const struct {
    const char* name;
    napi_callback callback;
  } functions[] = {
      {"createBulkhead", PermitsFunctions::CreateBulkhead},
      {"attachBulkhead", PermitsFunctions::AttachBulkhead},
      {"acquireBulkheadForLine", PermitsFunctions::AcquireForLine},
      {"mustYieldBulkhead", PermitsFunctions::MustYield},
      {"bulkheadHeld", PermitsFunctions::BulkheadHeld},
      {"bulkheadRepairs", PermitsFunctions::BulkheadRepairs},
      {"attachTokenBucket", PermitsFunctions::AttachTokenBucket},
      {"attachRetryBudget", PermitsFunctions::AttachRetryBudget},
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

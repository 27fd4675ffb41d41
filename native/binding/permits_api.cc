#include "binding/permits_api.h"

#include <optional>
#include <utility>
#include <vector>

#include "binding/convert.h"

namespace sekering {
namespace {

napi_value ToJs(napi_env env, uint64_t value) {
  return sekering::ToJs(env, static_cast<double>(value));
}

TokenRate TokenRateOf(double limit, double interval_ms, double burst) {
  return TokenRate::Make(CountOf(limit), FromMillis(interval_ms), CountOf(burst));
}

}  // namespace

/// Each is one exported function; its comment gives the JavaScript signature. An attach function
/// takes (region, name, config: Float64Array, stored: Float64Array) and returns a handle or minus a
/// RegionError (see AttachRecord).
struct PermitsFunctions {
  template <size_t kCount>
  struct Call : sekering::Call<PermitsApi, kCount> {
    using sekering::Call<PermitsApi, kCount>::Call;
    Limits& limits() const { return this->api().limits_; }
    Micros Now() const { return this->api().clock_.Now(); }
  };

  /// Calls `use(call, limit)` with the limit that the first argument names; throws if there is
  /// none.
  template <size_t kCount, class T, class Use>
  static napi_value With(Ids<T> Limits::*table, napi_env env, napi_callback_info info,
                         const Use& use) {
    const Call<kCount> call(env, info);
    T* const found = (call.limits().*table).Find(call.Id(0));
    if (found == nullptr) return Throw(env, "There is no limit with this handle");
    return use(call, *found);
  }

  template <class T>
  static napi_value Destroy(Ids<T> Limits::*table, napi_env env, napi_callback_info info) {
    return With<1>(table, env, info, [table](auto& call, T&) -> napi_value {
      (call.limits().*table).Destroy(call.Id(0));
      return nullptr;
    });
  }

  /// Null if there is no record: then `*answer` is the function's.
  static SharedRecord* Attach(const Call<4>& call, RecordKind kind, size_t hot_cells,
                              napi_value* answer) {
    const RecordKey key{static_cast<uint32_t>(kind), call.Text(1), DescriptionOf(call.Numbers(2)),
                        hot_cells, 0};
    return AttachRecord(call.env(), call.api().shared_.Find(call.Id(0)), key, call.Numbers(3),
                        answer);
  }

  /// Of a token bucket or a retry budget, whose limits are made of three numbers.
  template <class T, class MakeRate>
  static napi_value AttachRated(Ids<T> Limits::*table, RecordKind kind, const MakeRate& make_rate,
                                napi_env env, napi_callback_info info) {
    const Call<4> call(env, info);
    napi_value answer = nullptr;
    SharedRecord* const record = Attach(call, kind, T::kHotCells, &answer);
    if (record == nullptr) return answer;
    const Description numbers = DescriptionOf(call.Numbers(2));
    const auto rate = make_rate(numbers[0], numbers[1], numbers[2]);
    return ToJs(env, (call.limits().*table).Create(rate, record));
  }

  // ---- Bulkheads -------------------------------------------------------------------------------

  template <size_t kCount, class Use>
  static napi_value WithBulkhead(napi_env env, napi_callback_info info, const Use& use) {
    return With<kCount>(&Limits::bulkheads, env, info, use);
  }

  /// createBulkhead(capacity): handle
  static napi_value CreateBulkhead(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    return ToJs(env, call.limits().CreateBulkhead(CountOf(call.Double(0))));
  }

  /// attachBulkhead(…, config: [capacity], …)
  static napi_value AttachBulkhead(napi_env env, napi_callback_info info) {
    const Call<4> call(env, info);
    napi_value answer = nullptr;
    SharedRecord* const record =
        Attach(call, RecordKind::kBulkhead, SharedBulkhead::kHotCells, &answer);
    if (record == nullptr) return answer;
    const uint64_t capacity = CountOf(DescriptionOf(call.Numbers(2))[0]);
    return ToJs(env, call.limits().CreateBulkhead(capacity, *record));
  }

  /// destroyBulkhead(handle): what was acquired of a shared one through it is given back
  static napi_value DestroyBulkhead(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::bulkheads, env, info);
  }

  /// acquireBulkhead(handle): boolean
  static napi_value AcquireBulkhead(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(env, info, [env](auto&, BulkheadHandle& bulkhead) {
      return ToJs(env, bulkhead.TryAcquire());
    });
  }

  /// acquireBulkheadForLine(handle): boolean, for waiting callers
  static napi_value AcquireForLine(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(env, info, [env](auto& call, BulkheadHandle& bulkhead) {
      return ToJs(env, bulkhead.TryAcquireForLine(call.Now()));
    });
  }

  /// mustYieldBulkhead(handle): whether the permit that is no longer needed must be released, and
  /// not handed to a caller that waits here
  static napi_value MustYield(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(env, info, [env](auto& call, BulkheadHandle& bulkhead) {
      return ToJs(env, bulkhead.MustYield(call.Now()));
    });
  }

  /// releaseBulkhead(handle): boolean, false if none was in use
  static napi_value ReleaseBulkhead(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(env, info, [env](auto&, BulkheadHandle& bulkhead) {
      return ToJs(env, bulkhead.Release());
    });
  }

  /// bulkheadInUse(handle): number, by all who share it
  static napi_value BulkheadInUse(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(
        env, info, [env](auto&, BulkheadHandle& bulkhead) { return ToJs(env, bulkhead.InUse()); });
  }

  /// bulkheadHeld(handle): number, by this environment
  static napi_value BulkheadHeld(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(
        env, info, [env](auto&, BulkheadHandle& bulkhead) { return ToJs(env, bulkhead.Held()); });
  }

  /// bulkheadRepairs(handle): how many damaged words of a shared one this environment has repaired
  static napi_value BulkheadRepairs(napi_env env, napi_callback_info info) {
    return WithBulkhead<1>(env, info, [env](auto&, BulkheadHandle& bulkhead) {
      return sekering::ToJs(env, bulkhead.Repairs());
    });
  }

  // ---- Token buckets ---------------------------------------------------------------------------

  template <size_t kCount, class Use>
  static napi_value WithBucket(napi_env env, napi_callback_info info, const Use& use) {
    return With<kCount>(&Limits::token_buckets, env, info, use);
  }

  /// createTokenBucket(limit, intervalMs, burst): handle
  static napi_value CreateTokenBucket(napi_env env, napi_callback_info info) {
    const Call<3> call(env, info);
    const TokenRate rate = TokenRateOf(call.Double(0), call.Double(1), call.Double(2));
    return ToJs(env, call.limits().token_buckets.Create(rate));
  }

  /// attachTokenBucket(…, config: [limit, intervalMs, burst], …)
  static napi_value AttachTokenBucket(napi_env env, napi_callback_info info) {
    return AttachRated(&Limits::token_buckets, RecordKind::kTokenBucket, TokenRateOf, env, info);
  }

  /// destroyTokenBucket(handle)
  static napi_value DestroyTokenBucket(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::token_buckets, env, info);
  }

  /// takeTokens(handle, n): 0 if taken, else the wait in ms (Infinity: more than the burst)
  static napi_value TakeTokens(napi_env env, napi_callback_info info) {
    return WithBucket<2>(env, info, [env](auto& call, TokenBucketHandle& bucket) {
      const uint64_t n = CountOf(call.Double(1));
      return WaitToJs(env, bucket.state().TryTake(bucket.rate, call.Now(), n));
    });
  }

  /// waitForTokens(handle, n): ms until n more tokens will have arrived; takes none
  static napi_value WaitForTokens(napi_env env, napi_callback_info info) {
    return WithBucket<2>(env, info, [env](auto& call, TokenBucketHandle& bucket) {
      const uint64_t n = CountOf(call.Double(1));
      return WaitToJs(env, bucket.state().Wait(bucket.rate, call.Now(), n));
    });
  }

  /// tokensAvailable(handle): number
  static napi_value TokensAvailable(napi_env env, napi_callback_info info) {
    return WithBucket<1>(env, info, [env](auto& call, TokenBucketHandle& bucket) {
      return ToJs(env, bucket.state().Available(bucket.rate, call.Now()));
    });
  }

  // ---- Retry budgets ---------------------------------------------------------------------------

  template <size_t kCount, class Use>
  static napi_value WithBudget(napi_env env, napi_callback_info info, const Use& use) {
    return With<kCount>(&Limits::retry_budgets, env, info, use);
  }

  /// createRetryBudget(ratio, reservePerSecond, max): handle
  static napi_value CreateRetryBudget(napi_env env, napi_callback_info info) {
    const Call<3> call(env, info);
    const RetryRate rate = RetryRate::Make(call.Double(0), call.Double(1), call.Double(2));
    return ToJs(env, call.limits().retry_budgets.Create(rate));
  }

  /// attachRetryBudget(…, config: [ratio, reservePerSecond, max], …)
  static napi_value AttachRetryBudget(napi_env env, napi_callback_info info) {
    return AttachRated(&Limits::retry_budgets, RecordKind::kRetryBudget, RetryRate::Make, env,
                       info);
  }

  /// destroyRetryBudget(handle)
  static napi_value DestroyRetryBudget(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::retry_budgets, env, info);
  }

  /// depositRetryBudget(handle)
  static napi_value DepositRetryBudget(napi_env env, napi_callback_info info) {
    return WithBudget<1>(env, info, [](auto&, RetryBudgetHandle& budget) -> napi_value {
      budget.state().Deposit(budget.rate);
      return nullptr;
    });
  }

  /// withdrawRetryBudget(handle): boolean
  static napi_value WithdrawRetryBudget(napi_env env, napi_callback_info info) {
    return WithBudget<1>(env, info, [env](auto& call, RetryBudgetHandle& budget) {
      return ToJs(env, budget.state().TryWithdraw(budget.rate, call.Now()));
    });
  }

  /// retryBudgetBalance(handle): number
  static napi_value RetryBudgetBalance(napi_env env, napi_callback_info info) {
    return WithBudget<1>(env, info, [env](auto& call, RetryBudgetHandle& budget) {
      return ToJs(env, budget.state().Balance(budget.rate, call.Now()));
    });
  }

  // ---- Adaptive limits -------------------------------------------------------------------------

  template <size_t kCount, class Use>
  static napi_value WithAdaptive(napi_env env, napi_callback_info info, const Use& use) {
    return With<kCount>(&Limits::adaptive_limits, env, info, use);
  }

  /// createAdaptiveLimit(initial, min, max, tolerance): handle
  static napi_value CreateAdaptiveLimit(napi_env env, napi_callback_info info) {
    const Call<4> call(env, info);
    const AdaptiveRules rules =
        AdaptiveRules::Make(call.Double(0), call.Double(1), call.Double(2), call.Double(3));
    return ToJs(env, call.limits().adaptive_limits.Create(rules));
  }

  /// destroyAdaptiveLimit(handle)
  static napi_value DestroyAdaptiveLimit(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::adaptive_limits, env, info);
  }

  /// beginAdaptive(handle): the call's ticket, or -1 if it may not begin
  static napi_value BeginAdaptive(napi_env env, napi_callback_info info) {
    return WithAdaptive<1>(env, info, [env](auto&, AdaptiveLimit& limit) {
      const std::optional<Ticket> ticket = limit.TryBegin();
      return sekering::ToJs(env, ticket ? static_cast<double>(ticket->value()) : -1.0);
    });
  }

  /// endAdaptive(handle, ticket, end, latencyMs): boolean, false if no call runs
  static napi_value EndAdaptive(napi_env env, napi_callback_info info) {
    return WithAdaptive<4>(env, info, [env](auto& call, AdaptiveLimit& limit) {
      const uint32_t end = call.Id(2);
      if (end >= kCallEnds) return Throw(env, "No such end of a call");
      return ToJs(env, limit.End(Ticket(call.Uint32(1)), static_cast<CallEnd>(end),
                                 FromMillis(call.Double(3))));
    });
  }

  /// adaptiveLimit(handle): number
  static napi_value LimitOfAdaptive(napi_env env, napi_callback_info info) {
    return WithAdaptive<1>(env, info, [env](auto&, AdaptiveLimit& limit) {
      return sekering::ToJs(env, limit.limit());
    });
  }

  /// adaptiveActive(handle): number
  static napi_value AdaptiveActive(napi_env env, napi_callback_info info) {
    return WithAdaptive<1>(env, info, [env](auto&, AdaptiveLimit& limit) {
      return sekering::ToJs(env, limit.active());
    });
  }

  /// adaptiveBaseLatency(handle): ms, 0 while it is unknown
  static napi_value AdaptiveBaseLatency(napi_env env, napi_callback_info info) {
    return WithAdaptive<1>(env, info, [env](auto&, AdaptiveLimit& limit) {
      return ToJs(env, ToMillis(limit.base_latency()));
    });
  }

  // ---- Faults ----------------------------------------------------------------------------------

  template <size_t kCount, class Use>
  static napi_value WithInjector(napi_env env, napi_callback_info info, const Use& use) {
    return With<kCount>(&Limits::fault_injectors, env, info, use);
  }

  /// createFaultInjector(seed, faults: Float64Array): handle; FaultsOf reads the faults
  static napi_value CreateFaultInjector(napi_env env, napi_callback_info info) {
    const Call<2> call(env, info);
    const std::optional<uint64_t> seed = SeedOf(call.Double(0));
    std::optional<std::vector<InjectedFault>> faults = FaultsOf(call.Numbers(1));
    if (!seed || !faults) return Throw(env, "These are not faults");
    return ToJs(env, call.limits().fault_injectors.Create(*seed, *std::move(faults)));
  }

  /// destroyFaultInjector(handle)
  static napi_value DestroyFaultInjector(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::fault_injectors, env, info);
  }

  /// nextFault(handle): the number of the fault that the next call gets, or -1
  static napi_value NextFault(napi_env env, napi_callback_info info) {
    return WithInjector<1>(env, info, [env](auto&, FaultInjector& injector) {
      const uint32_t fault = injector.Next();
      return sekering::ToJs(env, fault == FaultInjector::kNone ? -1.0 : static_cast<double>(fault));
    });
  }

  /// faultDelay(handle): how long that fault delays, ms
  static napi_value FaultDelay(napi_env env, napi_callback_info info) {
    return WithInjector<1>(env, info, [env](auto&, FaultInjector& injector) {
      return sekering::ToJs(env, injector.delay_ms());
    });
  }

  /// faultCount(handle, fault): how many calls got it; of all calls if there is no such fault
  static napi_value FaultCount(napi_env env, napi_callback_info info) {
    return WithInjector<2>(env, info, [env](auto& call, FaultInjector& injector) {
      const uint32_t fault = call.Id(1);
      const auto faults = injector.faults();
      return ToJs(env, fault < faults.size() ? faults[fault].count : injector.calls());
    });
  }

  // ---- Hedges ----------------------------------------------------------------------------------

  /// createHedgeDelay(quantile, minMs, maxMs): handle
  static napi_value CreateHedgeDelay(napi_env env, napi_callback_info info) {
    const Call<3> call(env, info);
    const auto rules = HedgeRulesOf(call.Double(0), call.Double(1), call.Double(2));
    if (!rules) return Throw(env, "These are not rules of hedges");
    return ToJs(env, call.limits().hedge_delays.Create(*rules));
  }

  /// destroyHedgeDelay(handle)
  static napi_value DestroyHedgeDelay(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::hedge_delays, env, info);
  }

  /// hedgeDelay(handle): ms until a call that has no answer is made once more
  static napi_value DelayOfHedge(napi_env env, napi_callback_info info) {
    return With<1>(&Limits::hedge_delays, env, info, [env](auto&, HedgeDelay& delay) {
      return sekering::ToJs(env, delay.DelayMs());
    });
  }

  /// addHedgeLatency(handle, ms)
  static napi_value AddHedgeLatency(napi_env env, napi_callback_info info) {
    return With<2>(&Limits::hedge_delays, env, info,
                   [](auto& call, HedgeDelay& delay) -> napi_value {
                     delay.Add(LatencyMs(FromMillis(call.Double(1))));
                     return nullptr;
                   });
  }

  // ---- Load shedders ---------------------------------------------------------------------------

  template <size_t kCount, class Use>
  static napi_value WithShedder(napi_env env, napi_callback_info info, const Use& use) {
    return With<kCount>(&Limits::load_shedders, env, info, use);
  }

  /// createLoadShedder(maxDelayMs): handle
  static napi_value CreateLoadShedder(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    const Micros target = FromMillis(call.Double(0));
    if (target <= 0) return Throw(env, "This is not a delay");
    return ToJs(env, call.limits().load_shedders.Create(target));
  }

  /// destroyLoadShedder(handle)
  static napi_value DestroyLoadShedder(napi_env env, napi_callback_info info) {
    return Destroy(&Limits::load_shedders, env, info);
  }

  /// addLoopDelay(handle, ms)
  static napi_value AddLoopDelay(napi_env env, napi_callback_info info) {
    return WithShedder<2>(env, info, [](auto& call, LoadShedder& shedder) -> napi_value {
      shedder.AddDelay(FromMillis(call.Double(1)));
      return nullptr;
    });
  }

  /// admitLoad(handle, priority): whether the call is taken
  static napi_value AdmitLoad(napi_env env, napi_callback_info info) {
    return WithShedder<2>(env, info, [env](auto& call, LoadShedder& shedder) {
      const uint32_t priority = call.Id(1);
      if (priority >= LoadShedder::kPriorities) return Throw(env, "This is not a priority");
      return ToJs(env, shedder.Admit(priority));
    });
  }

  /// loadPressure(handle): in thousandths
  static napi_value LoadPressure(napi_env env, napi_callback_info info) {
    return WithShedder<1>(env, info, [env](auto&, LoadShedder& shedder) {
      return ToJs(env, static_cast<double>(shedder.pressure()));
    });
  }

  /// loadDelay(handle): ms
  static napi_value LoadDelay(napi_env env, napi_callback_info info) {
    return WithShedder<1>(env, info, [env](auto&, LoadShedder& shedder) {
      return ToJs(env, ToMillis(shedder.delay()));
    });
  }
};

PermitsApi::PermitsApi(Napi::Env env, Napi::Object exports, const EnvClock& clock,
                       SharedApi& shared)
    : clock_(clock), shared_(shared) {
  shared.SetLimits(&limits_);
  using F = PermitsFunctions;
  Export(env, exports, this,
         {{"createBulkhead", F::CreateBulkhead},
          {"attachBulkhead", F::AttachBulkhead},
          {"destroyBulkhead", F::DestroyBulkhead},
          {"acquireBulkhead", F::AcquireBulkhead},
          {"acquireBulkheadForLine", F::AcquireForLine},
          {"mustYieldBulkhead", F::MustYield},
          {"releaseBulkhead", F::ReleaseBulkhead},
          {"bulkheadInUse", F::BulkheadInUse},
          {"bulkheadHeld", F::BulkheadHeld},
          {"bulkheadRepairs", F::BulkheadRepairs},
          {"createTokenBucket", F::CreateTokenBucket},
          {"attachTokenBucket", F::AttachTokenBucket},
          {"destroyTokenBucket", F::DestroyTokenBucket},
          {"takeTokens", F::TakeTokens},
          {"waitForTokens", F::WaitForTokens},
          {"tokensAvailable", F::TokensAvailable},
          {"createRetryBudget", F::CreateRetryBudget},
          {"attachRetryBudget", F::AttachRetryBudget},
          {"destroyRetryBudget", F::DestroyRetryBudget},
          {"depositRetryBudget", F::DepositRetryBudget},
          {"withdrawRetryBudget", F::WithdrawRetryBudget},
          {"retryBudgetBalance", F::RetryBudgetBalance},
          {"createAdaptiveLimit", F::CreateAdaptiveLimit},
          {"destroyAdaptiveLimit", F::DestroyAdaptiveLimit},
          {"beginAdaptive", F::BeginAdaptive},
          {"endAdaptive", F::EndAdaptive},
          {"adaptiveLimit", F::LimitOfAdaptive},
          {"adaptiveActive", F::AdaptiveActive},
          {"adaptiveBaseLatency", F::AdaptiveBaseLatency},
          {"createFaultInjector", F::CreateFaultInjector},
          {"destroyFaultInjector", F::DestroyFaultInjector},
          {"nextFault", F::NextFault},
          {"faultDelay", F::FaultDelay},
          {"faultCount", F::FaultCount},
          {"createHedgeDelay", F::CreateHedgeDelay},
          {"destroyHedgeDelay", F::DestroyHedgeDelay},
          {"hedgeDelay", F::DelayOfHedge},
          {"addHedgeLatency", F::AddHedgeLatency},
          {"createLoadShedder", F::CreateLoadShedder},
          {"destroyLoadShedder", F::DestroyLoadShedder},
          {"addLoopDelay", F::AddLoopDelay},
          {"admitLoad", F::AdmitLoad},
          {"loadPressure", F::LoadPressure},
          {"loadDelay", F::LoadDelay}});
}

}  // namespace sekering

#include "binding/retry_api.h"

#include <optional>

#include "binding/convert.h"
#include "core/backoff.h"
#include "core/retry.h"

namespace sekering {

/// Each is one exported function; its comment gives the JavaScript signature. `rules` are the
/// numbers that RetryRulesOf reads.
struct RetryFunctions {
  template <size_t kCount>
  using Call = sekering::Call<RetryApi, kCount>;

  static napi_value NoRules(napi_env env) { return Throw(env, "These are not rules of retries"); }

  /// backoffDelay(rules: Float64Array, retry, random, previous): ms
  static napi_value BackoffDelay(napi_env env, napi_callback_info info) {
    const Call<4> call(env, info);
    const std::optional<RetryRules> rules = RetryRulesOf(call.Numbers(0));
    if (!rules) return NoRules(env);
    return ToJs(env,
                BackoffDelayMs(rules->backoff, call.Double(1), call.Double(2), call.Double(3)));
  }

  /// delaysInAdvance(retries, forever: 0 | 1): how many delays drawDelays has to draw
  static napi_value DelaysInAdvance(napi_env env, napi_callback_info info) {
    const Call<2> call(env, info);
    return ToJs(env, sekering::DelaysInAdvance(call.Double(0), call.Uint32(1) != 0));
  }

  /// drawDelays(rules: Float64Array, delays: Float64Array): `delays` has random numbers, and gets
  /// the delays, ms
  static napi_value DrawDelays(napi_env env, napi_callback_info info) {
    const Call<2> call(env, info);
    const std::optional<RetryRules> rules = RetryRulesOf(call.Numbers(0));
    if (!rules) return NoRules(env);
    sekering::DrawDelays(rules->backoff, call.Numbers(1));
    return nullptr;
  }

  /// decideRetry(rules: Float64Array, delays: Float64Array, attempt, elapsed, retryable: 0 | 1,
  ///   retryAfter, budget: BudgetVerdict, random, left): the delay in ms, or minus a RetryStep
  static napi_value DecideRetry(napi_env env, napi_callback_info info) {
    const Call<9> call(env, info);
    const std::optional<RetryRules> rules = RetryRulesOf(call.Numbers(0));
    const uint32_t budget = call.Id(6);
    if (!rules || budget >= kBudgetVerdicts) return NoRules(env);
    const FailedAttempt failed{.number = call.Double(2),
                               .elapsed_ms = call.Double(3),
                               .retryable = call.Uint32(4) != 0,
                               .retry_after_ms = call.Double(5),
                               .budget = static_cast<BudgetVerdict>(budget),
                               .left_ms = call.Double(8),
                               .random = call.Double(7)};
    const auto [step, delay_ms] = sekering::DecideRetry(*rules, call.Numbers(1), failed);
    return ToJs(env, step == RetryStep::kWait ? delay_ms : -static_cast<double>(step));
  }
};

RetryApi::RetryApi(Napi::Env env, Napi::Object exports) {
  using F = RetryFunctions;
  Export(env, exports, this,
         {{"backoffDelay", F::BackoffDelay},
          {"delaysInAdvance", F::DelaysInAdvance},
          {"drawDelays", F::DrawDelays},
          {"decideRetry", F::DecideRetry}});
}

}  // namespace sekering

#include "core/retry.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace sekering {
namespace {

// An endless series is not drawn further than this: its delays have long reached their limit.
constexpr uint32_t kEndlessDelays = 100;
// A series without delays waits this long, as the `retry` package does.
constexpr double kShortestMs = 1;

/// The delay before retry number `retry`, which counts from 0.
double OwnDelay(const RetryRules& rules, std::span<const double> delays, double retry,
                double random) {
  if (delays.empty()) return kShortestMs;
  if (retry < static_cast<double>(delays.size())) return delays[static_cast<size_t>(retry)];
  if (IsClassic(rules.backoff)) return delays.back();
  // By chance alone the last delay may be very short, so it is not repeated.
  const auto last_retry = static_cast<double>(delays.size() - 1);
  return BackoffDelayMs(rules.backoff, last_retry, random, delays.back());
}

/// A whole number below `end`; nothing otherwise.
std::optional<uint8_t> ChoiceOf(double number, uint32_t end) {
  if (!(number >= 0) || number >= end || number != std::floor(number)) return std::nullopt;
  return static_cast<uint8_t>(number);
}

}  // namespace

bool IsClassic(const BackoffOptions& options) noexcept {
  return options.strategy == BackoffStrategy::kExponential &&
         (options.jitter == Jitter::kNone || options.jitter == Jitter::kRandomize);
}

uint32_t DelaysInAdvance(double retries, bool forever) noexcept {
  const double least = forever ? 1 : 0;
  if (std::isinf(retries)) return kEndlessDelays;
  return static_cast<uint32_t>(std::clamp<double>(retries, least, kDelaysInAdvanceMax));
}

void DrawDelays(const BackoffOptions& options, std::span<double> delays) noexcept {
  double retry = 0;
  double previous = 0;
  for (double& delay : delays) {
    assert(delay >= 0 && delay < 1);
    previous = delay = BackoffDelayMs(options, retry, delay, previous);
    ++retry;
  }
  if (IsClassic(options)) std::sort(delays.begin(), delays.end());
}

RetryDecision DecideRetry(const RetryRules& rules, std::span<double> delays,
                          const FailedAttempt& failed) noexcept {
  assert(failed.number >= 1);
  if (!failed.retryable) return {RetryStep::kNotRetryable};
  if (failed.elapsed_ms >= rules.retry_time_ms_max) return {RetryStep::kOutOfTime};
  const double retry = failed.number - 1;
  if (retry >= rules.retries) return {RetryStep::kExhausted};
  const double own = OwnDelay(rules, delays, retry, failed.random);
  const double asked = std::min(failed.retry_after_ms, rules.retry_after_ms_max);
  const double delay = std::max(own, asked);
  // This comes before the budget, whose tokens are for retries that are made.
  if (delay >= failed.left_ms) return {RetryStep::kPastDeadline};
  if (failed.budget == BudgetVerdict::kNotAsked) return {RetryStep::kAskBudget};
  if (failed.budget == BudgetVerdict::kDenied) return {RetryStep::kOutOfBudget};
  if (!delays.empty() && retry >= static_cast<double>(delays.size())) delays.back() = own;
  return {RetryStep::kWait, delay};
}

std::optional<RetryRules> RetryRulesOf(std::span<const double> numbers) noexcept {
  if (numbers.size() != kRetryNumbers) return std::nullopt;
  const std::optional<uint8_t> strategy = ChoiceOf(numbers[0], kBackoffStrategies);
  const std::optional<uint8_t> jitter = ChoiceOf(numbers[1], kJitters);
  if (!strategy || !jitter) return std::nullopt;
  return RetryRules{
      .backoff = {.strategy = static_cast<BackoffStrategy>(*strategy),
                  .jitter = static_cast<Jitter>(*jitter),
                  .min_ms = numbers[2],
                  .max_ms = numbers[3],
                  .factor = numbers[4],
                  .proportion = numbers[5]},
      .retries = numbers[6],
      .retry_time_ms_max = numbers[7],
      .retry_after_ms_max = numbers[8],
  };
}

}  // namespace sekering

// What follows a failed attempt: another one, and after how long, or the end and why.
//
// Times are milliseconds as JavaScript's timers take them, in doubles (see core/backoff.h).

#ifndef SEKERING_CORE_RETRY_H_
#define SEKERING_CORE_RETRY_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "core/backoff.h"

namespace sekering {

struct RetryRules {
  /// Of the delays that follow the list, if they are drawn anew.
  BackoffOptions backoff{};
  /// How many retries there may be; infinity for no end.
  double retries = 10;
  /// No retry is planned once so much time has passed since the first attempt began.
  double retry_time_ms_max = std::numeric_limits<double>::infinity();
  /// How long a delay is made at most because the upstream asked for it.
  double retry_after_ms_max = 60'000;
};

/// What a retry budget says. It is asked only when everything else allows a retry.
enum class BudgetVerdict : uint8_t { kNoBudget = 0, kNotAsked = 1, kGranted = 2, kDenied = 3 };
inline constexpr uint32_t kBudgetVerdicts = 4;

/// What is known when an attempt has failed.
struct FailedAttempt {
  /// Counts from 1.
  double number = 1;
  /// Since the first attempt began.
  double elapsed_ms = 0;
  /// Whether the error is worth a retry: it does not bail, and shouldRetry did not say no.
  bool retryable = true;
  /// What the upstream asked for (Retry-After); 0 for nothing.
  double retry_after_ms = 0;
  BudgetVerdict budget = BudgetVerdict::kNoBudget;
  /// Until the caller's deadline.
  double left_ms = std::numeric_limits<double>::infinity();
  /// In [0, 1). Used if a delay is drawn.
  double random = 0;
};

/// JavaScript has the same numbers (lib/primitives/retry-run.js).
enum class RetryStep : uint8_t {
  kWait = 0,          // for the delay, then make another attempt
  kAskBudget = 1,     // decide again, with its verdict
  kNotRetryable = 2,  // the end: the error is not worth a retry
  kOutOfTime = 3,     // the end: retry_time_ms_max is over
  kExhausted = 4,     // the end: no retries are left
  kOutOfBudget = 5,   // the end: the budget denied it
  kPastDeadline = 6,  // the end: the next attempt would begin when the caller's deadline is over
};

struct RetryDecision {
  RetryStep step;
  double delay_ms = 0;
};

/// Whether the delays are those of the `retry` package, which are sorted, and of which the last one
/// repeats itself. Other delays that depend on chance are drawn anew after the list.
bool IsClassic(const BackoffOptions& options) noexcept;

/// How many delays of a series are drawn in advance.
uint32_t DelaysInAdvance(double retries, bool forever) noexcept;
inline constexpr uint32_t kDelaysInAdvanceMax = 1000;

/// Draws the first delays of a series: `delays` holds random numbers in [0, 1), and gets the
/// delays.
void DrawDelays(const BackoffOptions& options, std::span<double> delays) noexcept;

/// Decides what follows. `delays` is the series' list. If a later delay is drawn anew, it replaces
/// the last one of the list, as the next one may depend on it.
RetryDecision DecideRetry(const RetryRules& rules, std::span<double> delays,
                          const FailedAttempt& failed) noexcept;

// ---- Rules as numbers --------------------------------------------------------------------------

/// Rules as JavaScript passes them (lib/primitives/backoff.js has the same order): strategy,
/// jitter, minimum, maximum, factor, proportion, retries, time for retries, longest Retry-After.
inline constexpr size_t kRetryNumbers = 9;
/// Nothing if the numbers are not rules.
std::optional<RetryRules> RetryRulesOf(std::span<const double> numbers) noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_RETRY_H_

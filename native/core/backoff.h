// How long to wait before a retry.
//
// Delays are milliseconds as JavaScript's timers take them: whole numbers from 0 to kDelayMsMax.
// They are doubles, not Micros, because the formula must give what the JavaScript packages that it
// stands in for give, to the millisecond.

#ifndef SEKERING_CORE_BACKOFF_H_
#define SEKERING_CORE_BACKOFF_H_

#include <cstdint>
#include <limits>

namespace sekering {

/// The longest delay, some 31,700 years: below kNever, and a whole number as a double.
inline constexpr double kDelayMsMax = 1e15;

/// How the delay grows with i, the number of the retry counted from 0. The unit u is min_ms, but
/// at least 1. The values are part of the binding's interface (lib/primitives/backoff.js).
enum class BackoffStrategy : uint8_t {
  kExponential = 0,   // u * factor^i
  kLinear = 1,        // u * (i + 1)
  kFixed = 2,         // u
  kFibonacci = 3,     // u * 1, 1, 2, 3, 5, 8 …
  kDecorrelated = 4,  // between u and three times the previous delay, at random; jitter is ignored
};

/// How chance changes a delay d, so that callers who failed together do not return together.
enum class Jitter : uint8_t {
  kNone = 0,          // d
  kFull = 1,          // between 0 and d
  kEqual = 2,         // between d / 2 and d
  kProportional = 3,  // between d * (1 - p) and d * (1 + p)
  kRandomize = 4,     // between d and 2 * d, as async-retry does it
};

inline constexpr uint32_t kBackoffStrategies = 5;
inline constexpr uint32_t kJitters = 5;

struct BackoffOptions {
  BackoffStrategy strategy = BackoffStrategy::kExponential;
  Jitter jitter = Jitter::kNone;
  double min_ms = 1000;
  double max_ms = std::numeric_limits<double>::infinity();
  double factor = 2;
  double proportion = 0;  // p of Jitter::kProportional, 0 to 1.
};

/// The delay before retry number `retry` (0 is the first one). `random` is in [0, 1);
/// `previous_ms` is the delay before the retry before this one, 0 if there was none, and matters
/// to kDecorrelated only. The result is never more than max_ms; whatever the arguments are, it is a
/// whole number from 0 to kDelayMsMax (max_ms itself may be a fraction, and is then the limit).
double BackoffDelayMs(const BackoffOptions& options, double retry, double random,
                      double previous_ms) noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_BACKOFF_H_

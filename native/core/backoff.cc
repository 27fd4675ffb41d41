#include "core/backoff.h"

#include <algorithm>
#include <cmath>

namespace sekering {
namespace {

// After so many additions the sequence is above kDelayMsMax: further ones need no counting.
constexpr int kFibonacciSteps = 73;

/// `value` within [low, high]; NaN counts as low.
double Clamp(double value, double low, double high) {
  if (!(value > low)) return low;
  return std::min(value, high);
}

/// Halves go up, as JavaScript's Math.round has it; adding 0.5 first would err just below a half.
double Round(double value) {
  const double up = std::ceil(value);
  return up - 0.5 > value ? up - 1.0 : up;
}

/// 1, 1, 2, 3, 5, … for 0, 1, 2, 3, 4, …
double Fibonacci(double index) {
  const int steps = static_cast<int>(Clamp(index, 0, kFibonacciSteps));
  double current = 1;
  double previous = 0;
  for (int i = 0; i < steps; ++i) {
    const double next = current + previous;
    previous = current;
    current = next;
  }
  return current;
}

/// How many units the delay before retry `index` is. May be infinite.
double Shape(const BackoffOptions& options, double index) {
  switch (options.strategy) {
    case BackoffStrategy::kExponential:
      return std::pow(options.factor, index);
    case BackoffStrategy::kLinear:
      return std::floor(Clamp(index, 0, kDelayMsMax)) + 1.0;
    case BackoffStrategy::kFibonacci:
      return Fibonacci(index);
    case BackoffStrategy::kFixed:
    case BackoffStrategy::kDecorrelated:
      return 1.0;
  }
  return 1.0;
}

double Jittered(const BackoffOptions& options, double delay, double random) {
  switch (options.jitter) {
    case Jitter::kFull:
      return delay * random;
    case Jitter::kEqual:
      return delay * (0.5 + 0.5 * random);
    case Jitter::kProportional:
      return delay * (1.0 + Clamp(options.proportion, 0, 1) * (2.0 * random - 1.0));
    case Jitter::kNone:
    case Jitter::kRandomize:  // Applied before the limit, by the caller.
      return delay;
  }
  return delay;
}

}  // namespace

double BackoffDelayMs(const BackoffOptions& options, double retry, double random,
                      double previous_ms) noexcept {
  const double limit =
      std::isnan(options.max_ms) ? kDelayMsMax : Clamp(options.max_ms, 0, kDelayMsMax);
  const double unit = Clamp(options.min_ms, 1, kDelayMsMax);
  const double chance = Clamp(random, 0, 1);

  if (options.strategy == BackoffStrategy::kDecorrelated) {
    const double previous = previous_ms > 0 ? previous_ms : unit;
    const double ceiling = Clamp(3.0 * previous, unit, kDelayMsMax);
    return std::min(Round(unit + chance * (ceiling - unit)), limit);
  }

  const double spread = options.jitter == Jitter::kRandomize ? 1.0 + chance : 1.0;
  // This order of the factors is the one that keeps the last bit equal to the JavaScript formula.
  const double grown = Round(Clamp(spread * unit * Shape(options, retry), 0, kDelayMsMax));
  if (options.jitter == Jitter::kNone || options.jitter == Jitter::kRandomize) {
    return std::min(grown, limit);
  }
  return std::min(Round(Clamp(Jittered(options, std::min(grown, limit), chance), 0, kDelayMsMax)),
                  limit);
}

}  // namespace sekering

// Units of the core. Time is passed in by the caller; the core reads no clock.

#ifndef SEKERING_CORE_UNITS_H_
#define SEKERING_CORE_UNITS_H_

#include <cmath>
#include <cstdint>

namespace sekering {

/// Microseconds of a monotonic clock, or a length of time.
using Micros = int64_t;

/// Far enough to mean never, and small enough that sums of a few of them do not overflow.
inline constexpr Micros kNever = INT64_MAX / 8;

/// Milliseconds as JavaScript gives them: fractions are kept to a microsecond, NaN and negative
/// values count as 0, and what is too large as kNever.
inline Micros FromMillis(double ms) {
  if (!(ms > 0)) return 0;
  const double micros = ms * 1000.0;
  if (micros >= static_cast<double>(kNever)) return kNever;
  return static_cast<Micros>(std::llround(micros));
}

inline double ToMillis(Micros micros) {
  return static_cast<double>(micros) / 1000.0;
}

/// a + b, kept within [0, kNever].
inline Micros Later(Micros a, Micros b) {
  const Micros sum = a + b;  // Both are within kNever, an eighth of the range.
  return sum < 0 ? 0 : (sum > kNever ? kNever : sum);
}

}  // namespace sekering

#endif  // SEKERING_CORE_UNITS_H_

// Spans of time, in the core's unit.

#ifndef SEKERING_TEST_SUPPORT_TIMES_H_
#define SEKERING_TEST_SUPPORT_TIMES_H_

#include <limits>

#include "core/units.h"

namespace sekering {

/// Of JavaScript's milliseconds.
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

inline constexpr Micros kMs = 1000;
inline constexpr Micros kSecond = 1000 * kMs;

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_TIMES_H_

// Spans of time, in the core's unit.

#ifndef SEKERING_TEST_SUPPORT_TIMES_H_
#define SEKERING_TEST_SUPPORT_TIMES_H_

#include "core/units.h"

namespace sekering {

inline constexpr Micros kMs = 1000;
inline constexpr Micros kSecond = 1000 * kMs;

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_TIMES_H_

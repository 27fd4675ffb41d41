// The rules that open a breaker: what was seen goes in, whether to trip comes out.

#ifndef SEKERING_CORE_TRIP_H_
#define SEKERING_CORE_TRIP_H_

#include <cstdint>

namespace sekering {

/// Which rules are on; a rule whose threshold is 0 (percentages: negative) is off.
struct TripRules {
  /// Trips above (not at) this share of failures, opossum's comparison.
  double error_threshold_percentage = -1;
  /// Trips at or above this share of slow calls.
  double slow_call_threshold_percentage = -1;
  uint32_t volume_threshold = 0;
  uint32_t consecutive_failures = 0;
  uint32_t failure_count = 0;
  /// When set, both percentages are of the last calls instead of the window of time.
  uint32_t sliding_window_size = 0;
  uint32_t minimum_calls = 0;
};

struct Seen {
  uint64_t fires = 0;                  // in the window of time
  uint64_t failures = 0;               // in the window of time
  uint64_t failures_since_closed = 0;  // of those, the ones after the circuit last closed
  uint64_t completed = 0;              // in the window of time
  uint64_t slow = 0;                   // in the window of time
  uint32_t failures_in_a_row = 0;
  uint32_t last_calls = 0;
  uint32_t last_failures = 0;
  uint32_t last_slow = 0;
};

bool ShouldTrip(const TripRules& rules, const Seen& seen) noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_TRIP_H_

#include "core/trip.h"

#include <limits>

namespace sekering {
namespace {

/// part / whole in percent; nothing of nothing is 0, as no call has failed. Something of nothing is
/// above every threshold, as in opossum: calls that failed after their start had left the window.
double Percentage(uint64_t part, uint64_t whole) {
  if (whole == 0) return part == 0 ? 0 : std::numeric_limits<double>::infinity();
  return static_cast<double>(part) / static_cast<double>(whole) * 100;
}

bool RateTrips(const TripRules& rules, double errors, double slow) {
  const bool too_many_errors =
      rules.error_threshold_percentage >= 0 && errors > rules.error_threshold_percentage;
  const bool too_many_slow =
      rules.slow_call_threshold_percentage >= 0 && slow >= rules.slow_call_threshold_percentage;
  return too_many_errors || too_many_slow;
}

}  // namespace

bool ShouldTrip(const TripRules& rules, const Seen& seen) noexcept {
  if (rules.consecutive_failures != 0 && seen.failures_in_a_row >= rules.consecutive_failures) {
    return true;
  }
  if (seen.fires < rules.volume_threshold) return false;
  if (rules.failure_count != 0 && seen.failures_since_closed >= rules.failure_count) return true;
  if (rules.sliding_window_size != 0) {
    return seen.last_calls >= rules.minimum_calls &&
           RateTrips(rules, Percentage(seen.last_failures, seen.last_calls),
                     Percentage(seen.last_slow, seen.last_calls));
  }
  return RateTrips(rules, Percentage(seen.failures, seen.fires),
                   Percentage(seen.slow, seen.completed));
}

}  // namespace sekering

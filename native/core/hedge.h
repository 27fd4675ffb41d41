// How long a call may go without an answer before it is made once more: a fixed time, or a quantile
// of how long calls take.

#ifndef SEKERING_CORE_HEDGE_H_
#define SEKERING_CORE_HEDGE_H_

#include <array>
#include <cstdint>
#include <optional>

#include "core/histogram.h"
#include "core/units.h"

namespace sekering {

struct HedgeRules {
  /// Between 0 and 1.
  double quantile = 0;
  /// Bounds of the delay, in milliseconds. If they are equal, they are the delay; they may then be
  /// infinite: no hedges.
  double delay_ms_min = 0;
  double delay_ms_max = 0;
};

/// Nothing if the numbers are not rules.
std::optional<HedgeRules> HedgeRulesOf(double quantile, double min_ms, double max_ms) noexcept;

class HedgeDelay {
 public:
  /// The quantile is that of the last 500 to 1000 latencies.
  static constexpr uint32_t kHalf = 500;
  /// With fewer latencies there is no quantile, and also while not even one would be above it.
  static constexpr uint32_t kLatenciesMin = 20;

  explicit HedgeDelay(const HedgeRules& rules) noexcept;

  /// The latency of an attempt. That of one which was overtaken is not known, but it is at least as
  /// long as the attempt ran: above the quantile, where its exact value does not matter.
  void Add(Millis latency) noexcept;

  /// In milliseconds: the greatest delay while there are too few latencies.
  double DelayMs() const noexcept;

 private:
  struct Half {
    uint32_t count = 0;
    std::array<uint16_t, kLatencyCells> cells{};
  };

  Millis Quantile() const noexcept;

  HedgeRules rules_;
  double needed_;
  Half current_;
  Half previous_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_HEDGE_H_

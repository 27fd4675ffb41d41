#include "core/hedge.h"

#include <algorithm>
#include <cmath>

namespace sekering {

std::optional<HedgeRules> HedgeRulesOf(double quantile, double min_ms, double max_ms) noexcept {
  const bool is_quantile = quantile > 0 && quantile < 1;
  const bool are_bounds = min_ms >= 0 && min_ms <= max_ms;
  if (!is_quantile || !are_bounds) return std::nullopt;
  return HedgeRules{.quantile = quantile, .delay_ms_min = min_ms, .delay_ms_max = max_ms};
}

HedgeDelay::HedgeDelay(const HedgeRules& rules) noexcept
    : rules_(rules),
      needed_(std::max<double>(kLatenciesMin, std::ceil(1.0 / (1.0 - rules.quantile)))) {}

void HedgeDelay::Add(Millis latency) noexcept {
  if (current_.count == kHalf) {
    previous_ = current_;
    current_ = Half{};
  }
  ++current_.count;
  ++current_.cells[LatencyCell(latency)];
}

double HedgeDelay::DelayMs() const noexcept {
  if (rules_.delay_ms_min == rules_.delay_ms_max) return rules_.delay_ms_max;
  if (current_.count + previous_.count < needed_) return rules_.delay_ms_max;
  return std::clamp<double>(Quantile().value(), rules_.delay_ms_min, rules_.delay_ms_max);
}

Millis HedgeDelay::Quantile() const noexcept {
  const double total = current_.count + previous_.count;
  const double rank = std::ceil(rules_.quantile * total);
  uint32_t seen = 0;
  uint32_t cell = 0;
  for (; cell + 1 < kLatencyCells; ++cell) {
    seen += current_.cells[cell] + uint32_t{previous_.cells[cell]};
    if (seen >= rank) break;
  }
  return LatencyOfCell(cell);
}

}  // namespace sekering

#include "core/histogram.h"

#include <cmath>

namespace sekering {

uint64_t TotalCount(std::span<const LatencyCount> values) noexcept {
  uint64_t total = 0;
  for (const LatencyCount& value : values) total += value.count;
  return total;
}

double MeanLatency(std::span<const LatencyCount> values) noexcept {
  double sum = 0;
  double count = 0;
  for (const LatencyCount& value : values) {
    sum += static_cast<double>(value.ms) * static_cast<double>(value.count);
    count += static_cast<double>(value.count);
  }
  return count > 0 ? sum / count : 0;
}

uint32_t Percentile(std::span<const LatencyCount> values, double percentile) noexcept {
  const double rank = std::ceil(percentile * static_cast<double>(TotalCount(values)));
  double seen = 0;
  for (const LatencyCount& value : values) {
    seen += static_cast<double>(value.count);
    if (seen >= rank) return value.ms;
  }
  return values.empty() ? 0 : values.back().ms;
}

}  // namespace sekering

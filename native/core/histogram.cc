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

std::array<uint32_t, kPercentiles.size()> Percentiles(
    std::span<const LatencyCount> values) noexcept {
  std::array<uint32_t, kPercentiles.size()> result{};
  const auto total = static_cast<double>(TotalCount(values));
  double seen = 0;
  size_t next = 0;
  for (const LatencyCount& value : values) {
    seen += static_cast<double>(value.count);
    while (next < result.size() && seen >= std::ceil(kPercentiles[next] * total)) {
      result[next++] = value.ms;
    }
  }
  return result;
}

}  // namespace sekering

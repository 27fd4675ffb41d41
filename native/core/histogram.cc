#include "core/histogram.h"

#include <cmath>

namespace sekering {

LatencySummary Summarize(std::span<const LatencyCount> values) noexcept {
  uint64_t total = 0;
  uint64_t sum = 0;  // Latencies are below 2^22, so 2^42 calls of the longest would fit.
  for (const LatencyCount& value : values) {
    total += value.count;
    sum += value.latency.value() * value.count;
  }
  LatencySummary summary{};
  if (total == 0) return summary;
  summary.mean = static_cast<double>(sum) / static_cast<double>(total);
  size_t next = 0;
  uint64_t seen = 0;
  uint64_t rank = 0;
  for (const LatencyCount& value : values) {
    seen += value.count;
    while (next < kPercentiles.size() && seen >= rank) {
      summary.percentiles[next++] = value.latency;
      if (next == kPercentiles.size()) return summary;
      rank = static_cast<uint64_t>(std::ceil(kPercentiles[next] * static_cast<double>(total)));
    }
  }
  return summary;
}

}  // namespace sekering

// Which cell of a latency histogram a value falls into, and which value a cell stands for.
//
// Whole milliseconds below 64 have a cell each, so they are exact. From there on every doubling is
// divided into 32 cells, and a cell is reported as its midpoint: the relative error is at most
// half a cell over the cell's lower end, 1/64 (1.6 %). Values past the last cell count in it.

#ifndef SEKERING_CORE_HISTOGRAM_H_
#define SEKERING_CORE_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "core/units.h"

namespace sekering {

inline constexpr uint32_t kExactBits = 6;
inline constexpr uint32_t kExactCells = 1U << kExactBits;
inline constexpr uint32_t kSubCellBits = 5;
inline constexpr uint32_t kSubCells = 1U << kSubCellBits;
/// Latencies from 2^22 ms (70 minutes) count in the last cell.
inline constexpr uint32_t kOctaves = 16;
inline constexpr uint32_t kLatencyCells = kExactCells + kOctaves * kSubCells;
inline constexpr uint32_t kLatencyMsMax = (1U << (kExactBits + kOctaves)) - 1;

constexpr uint32_t LatencyCell(Millis latency) noexcept {
  uint32_t ms = latency.value();
  if (ms < kExactCells) return ms;
  if (ms > kLatencyMsMax) ms = kLatencyMsMax;
  const uint32_t octave = static_cast<uint32_t>(std::bit_width(ms)) - 1;
  const uint32_t sub = (ms >> (octave - kSubCellBits)) & (kSubCells - 1);
  return kExactCells + (octave - kExactBits) * kSubCells + sub;
}

constexpr Millis LatencyOfCell(uint32_t cell) noexcept {
  if (cell < kExactCells) return Millis(cell);
  const uint32_t octave = (cell - kExactCells) / kSubCells + kExactBits;
  const uint32_t sub = (cell - kExactCells) % kSubCells;
  const uint32_t shift = octave - kSubCellBits;
  return Millis(((kSubCells + sub) << shift) + ((1U << shift) - 1) / 2);
}

/// A latency in the histogram's unit, rounded.
constexpr Millis LatencyMs(Micros latency) noexcept {
  const Micros ms = (std::max<Micros>(latency, 0) + 500) / 1000;
  return Millis(static_cast<uint32_t>(std::min<Micros>(ms, kLatencyMsMax)));
}

/// One value of a summed histogram; spans of them are in ascending order of latency.
struct LatencyCount {
  Millis latency;
  uint64_t count;
};

/// The ranks that opossum reports.
inline constexpr std::array<double, 9> kPercentiles = {0,    0.25, 0.5,   0.75, 0.9,
                                                       0.95, 0.99, 0.995, 1};

struct LatencySummary {
  /// 0 without values.
  double mean;
  /// The values at the ranks ceil(percentile * n), counted from one (opossum's definition: nearest
  /// rank); the smallest value for 0, and 0 without values.
  std::array<Millis, kPercentiles.size()> percentiles;
};

LatencySummary Summarize(std::span<const LatencyCount> values) noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_HISTOGRAM_H_

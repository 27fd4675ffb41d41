#include "core/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "support/cells.h"
#include "support/seeds.h"

namespace sekering {
namespace {

/// The histogram of some values, by way of a window.
std::vector<LatencyCount> Collect(const std::vector<uint32_t>& values) {
  WindowBox box(1);
  for (const uint32_t ms : values) box.window.AddLatency(ms, 0, 1);
  std::vector<LatencyCount> out(kLatencyCells);
  out.resize(box.window.Latencies(0, out));
  return out;
}

std::array<uint32_t, kPercentiles.size()> PercentilesOf(const std::vector<LatencyCount>& values) {
  std::array<uint32_t, kPercentiles.size()> ms;
  std::ranges::transform(Summarize(values).percentiles, ms.begin(), &Millis::value);
  return ms;
}

/// Nearest rank over sorted values, as opossum has it: the smallest for 0, else the value at
/// index ceil(percentile * n) - 1.
uint32_t PercentileBySorting(std::vector<uint32_t> values, double percentile) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  if (percentile == 0) return values.front();
  const auto rank = static_cast<size_t>(std::ceil(percentile * static_cast<double>(values.size())));
  return values[rank - 1];
}

TEST(Histogram, EveryCellRoundTrips) {
  for (uint32_t cell = 0; cell < kLatencyCells; ++cell) {
    EXPECT_EQ(LatencyCell(LatencyOfCell(cell)), cell);
  }
}

TEST(Histogram, CellsAscend) {
  for (uint32_t cell = 1; cell < kLatencyCells; ++cell) {
    ASSERT_GT(LatencyOfCell(cell), LatencyOfCell(cell - 1));
  }
}

TEST(Histogram, ExactBelow64Milliseconds) {
  for (uint32_t ms = 0; ms < 64; ++ms) {
    EXPECT_EQ(LatencyOfCell(LatencyCell(Millis(ms))), Millis(ms));
  }
}

TEST(Histogram, EveryMillisecondIsWithinASixtyFourth) {
  uint32_t cell_before = 0;
  for (uint32_t ms = 0; ms <= kLatencyMsMax; ++ms) {
    const uint32_t cell = LatencyCell(Millis(ms));
    ASSERT_LT(cell, kLatencyCells) << ms;
    ASSERT_TRUE(cell == cell_before || cell == cell_before + 1) << ms;
    cell_before = cell;
    const int64_t error = int64_t{LatencyOfCell(cell).value()} - int64_t{ms};
    ASSERT_LE(std::abs(error) * 64, int64_t{ms}) << ms;
  }
  EXPECT_EQ(cell_before, kLatencyCells - 1);
}

TEST(Histogram, LongerOnesCountInTheLastCell) {
  static_assert(kLatencyMsMax == (1U << 22) - 1);
  for (const uint32_t ms : {kLatencyMsMax, 1U << 22, 1U << 31, UINT32_MAX}) {
    EXPECT_EQ(LatencyCell(Millis(ms)), kLatencyCells - 1);
  }
  EXPECT_LE(LatencyOfCell(kLatencyCells - 1), Millis(kLatencyMsMax));
}

TEST(Histogram, NothingHasZeroes) {
  const std::vector<LatencyCount> empty{{Millis(5), 0}};
  for (const LatencySummary& summary : {Summarize({}), Summarize(empty)}) {
    EXPECT_EQ(summary.mean, 0);
    for (const Millis value : summary.percentiles) EXPECT_EQ(value, Millis(0));
  }
}

TEST(Histogram, OneValueIsEveryPercentile) {
  const std::vector<LatencyCount> one{{Millis(42), 1}};
  for (const Millis value : Summarize(one).percentiles) EXPECT_EQ(value, Millis(42));
  EXPECT_EQ(Summarize(one).mean, 42);
}

TEST(Histogram, RanksOfAHundred) {
  std::vector<uint32_t> values(100);
  for (uint32_t i = 0; i < 100; ++i) values[i] = 10 + i % 50;  // 10..59, each twice
  const auto histogram = Collect(values);
  const std::array<uint32_t, 9> expected{10, 22, 34, 47, 54, 57, 59, 59, 59};
  EXPECT_EQ(PercentilesOf(histogram), expected);
  EXPECT_DOUBLE_EQ(Summarize(histogram).mean, 34.5);
}

TEST(Histogram, HugeCounts) {
  const std::vector<LatencyCount> values{{Millis(1), uint64_t{UINT32_MAX} * 1000},
                                         {Millis(4'000'000), uint64_t{UINT32_MAX} * 1000}};
  EXPECT_DOUBLE_EQ(Summarize(values).mean, 2'000'000.5);
  const std::array<uint32_t, 9> expected{1,       1,       1,       4000000, 4000000,
                                         4000000, 4000000, 4000000, 4000000};
  EXPECT_EQ(PercentilesOf(values), expected);
}

/// Random values of all magnitudes: few and many, small and large, and repeated ones.
std::vector<uint32_t> RandomValues(std::mt19937& random) {
  const uint32_t bits = 1 + random() % 24;
  std::vector<uint32_t> values(1 + random() % (random() % 4 == 0 ? 2000 : 50));
  for (uint32_t& value : values) value = random() & ((1U << bits) - 1);
  return values;
}

TEST(HistogramRandom, PercentilesAreThoseOfSortedValues) {
  for (uint32_t seed = 0; seed < Seeds(2000); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto values = RandomValues(random);
    const auto histogram = Collect(values);
    const auto percentiles = Summarize(histogram).percentiles;
    for (size_t i = 0; i < kPercentiles.size(); ++i) {
      const uint32_t exact = PercentileBySorting(values, kPercentiles[i]);
      // The cell of the exact answer, so the error is the cell's: none below 64 ms.
      ASSERT_EQ(percentiles[i], LatencyOfCell(LatencyCell(Millis(exact)))) << kPercentiles[i];
    }
  }
}

TEST(HistogramRandom, CountsAndMean) {
  for (uint32_t seed = 0; seed < Seeds(500); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto values = RandomValues(random);
    std::map<uint32_t, uint64_t> expected;
    double sum = 0;
    for (const uint32_t ms : values) {
      ++expected[LatencyOfCell(LatencyCell(Millis(ms))).value()];
      sum += std::min(ms, kLatencyMsMax);
    }
    std::map<uint32_t, uint64_t> found;
    for (const auto& [latency, count] : Collect(values)) found[latency.value()] = count;
    ASSERT_EQ(found, expected);
    const double mean = sum / static_cast<double>(values.size());
    ASSERT_NEAR(Summarize(Collect(values)).mean, mean, mean / 64);
  }
}

}  // namespace
}  // namespace sekering

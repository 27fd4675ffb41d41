#include "core/hedge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace sekering {
namespace {

constexpr double kEndless = std::numeric_limits<double>::infinity();

HedgeDelay DelayOf(double quantile, double min_ms, double max_ms) {
  return HedgeDelay(*HedgeRulesOf(quantile, min_ms, max_ms));
}

void AddAll(HedgeDelay& delay, uint32_t from, uint32_t to) {
  for (uint32_t ms = from; ms <= to; ++ms) delay.Add(Millis(ms));
}

TEST(Hedge, AFixedDelayIsNeverAnother) {
  for (const double ms : {0.0, 0.5, 100.0, kEndless}) {
    HedgeDelay delay = DelayOf(0.5, ms, ms);
    EXPECT_EQ(delay.DelayMs(), ms);
    AddAll(delay, 1, 1000);
    EXPECT_EQ(delay.DelayMs(), ms);
  }
}

TEST(Hedge, WithTooFewLatenciesItIsTheGreatest) {
  HedgeDelay half = DelayOf(0.5, 1, 1000);
  AddAll(half, 1, 19);
  EXPECT_EQ(half.DelayMs(), 1000);
  half.Add(Millis(20));
  EXPECT_EQ(half.DelayMs(), 10);
  HedgeDelay high = DelayOf(0.99, 1, 1000);
  AddAll(high, 1, 99);
  EXPECT_EQ(high.DelayMs(), 1000);
  high.Add(Millis(100));
  EXPECT_EQ(high.DelayMs(), LatencyOfCell(LatencyCell(Millis(99))).value());
}

TEST(Hedge, ItStaysWithinItsBounds) {
  HedgeDelay delay = DelayOf(0.95, 30, 40);
  for (int i = 0; i < 1000; ++i) delay.Add(Millis(5));
  EXPECT_EQ(delay.DelayMs(), 30);
  for (int i = 0; i < 1000; ++i) delay.Add(Millis(5000));
  EXPECT_EQ(delay.DelayMs(), 40);
  for (int i = 0; i < 1000; ++i) delay.Add(Millis(35));
  EXPECT_EQ(delay.DelayMs(), 35);
}

TEST(Hedge, OldLatenciesAreForgotten) {
  HedgeDelay delay = DelayOf(0.5, 1, 1000);
  for (uint32_t i = 0; i < HedgeDelay::kHalf; ++i) delay.Add(Millis(50));
  for (uint32_t i = 0; i < HedgeDelay::kHalf; ++i) delay.Add(Millis(10));
  EXPECT_EQ(delay.DelayMs(), 10) << "rank 500 of 1000";
  delay.Add(Millis(60));
  delay.Add(Millis(60));
  EXPECT_EQ(delay.DelayMs(), 10) << "those of 50 ms are gone";
  for (uint32_t i = 2; i < HedgeDelay::kHalf; ++i) delay.Add(Millis(60));
  delay.Add(Millis(60));
  EXPECT_EQ(delay.DelayMs(), 60);
}

TEST(Hedge, TheLongestLatenciesCount) {
  HedgeDelay delay = DelayOf(0.95, 1, 1e9);
  for (int i = 0; i < 20; ++i) delay.Add(Millis(UINT32_MAX));
  EXPECT_EQ(delay.DelayMs(), LatencyOfCell(kLatencyCells - 1).value());
}

TEST(Hedge, ItIsTheNearestRankOfTheLastLatencies) {
  std::mt19937 random(7);
  for (const double quantile : {0.01, 0.5, 0.9, 0.95, 0.999}) {
    HedgeDelay delay = DelayOf(quantile, 0, 1e9);
    std::vector<uint32_t> all;
    const double needed = std::max(20.0, std::ceil(1 / (1 - quantile)));
    for (int i = 0; i < 2600; ++i) {
      all.push_back(random() % (i % 7 == 0 ? 100'000 : 200));
      delay.Add(Millis(all.back()));
      const size_t half = (all.size() - 1) % HedgeDelay::kHalf + 1;
      const size_t kept = std::min<size_t>(all.size(), half + HedgeDelay::kHalf);
      std::vector<uint32_t> last(all.end() - kept, all.end());
      if (kept < needed) {
        ASSERT_EQ(delay.DelayMs(), 1e9);
        continue;
      }
      std::sort(last.begin(), last.end());
      const auto rank = static_cast<size_t>(std::ceil(quantile * static_cast<double>(kept)));
      const Millis expected = LatencyOfCell(LatencyCell(Millis(last[rank - 1])));
      ASSERT_EQ(delay.DelayMs(), expected.value()) << quantile << " of " << kept;
    }
  }
}

TEST(Hedge, OtherNumbersAreNoRules) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(HedgeRulesOf(0.95, 0, 1).has_value());
  for (const double quantile : {0.0, 1.0, -0.5, 1.5, nan}) {
    EXPECT_FALSE(HedgeRulesOf(quantile, 0, 1).has_value());
  }
  EXPECT_FALSE(HedgeRulesOf(0.5, -1, 1).has_value());
  EXPECT_FALSE(HedgeRulesOf(0.5, 2, 1).has_value());
  EXPECT_FALSE(HedgeRulesOf(0.5, nan, 1).has_value());
  EXPECT_FALSE(HedgeRulesOf(0.5, 0, nan).has_value());
}

}  // namespace
}  // namespace sekering

#include "core/chaos.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <vector>

namespace sekering {
namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

TEST(Chaos, TheSameSeedGivesTheSameFaults) {
  const std::vector<InjectedFault> faults = {{.rate = 0.2, .delay_ms_max = 1000}, {.rate = 0.3}};
  FaultInjector one(42, faults);
  FaultInjector same(42, faults);
  FaultInjector other(43, faults);
  int differences = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint32_t fault = one.Next();
    EXPECT_EQ(fault, same.Next());
    EXPECT_EQ(one.delay_ms(), same.delay_ms());
    differences += fault == other.Next() ? 0 : 1;
  }
  EXPECT_GT(differences, 100);
}

TEST(Chaos, TheGeneratorIsThatOfItsReference) {
  // The numbers of the reference implementation of SplitMix64 for this seed are 6457827717110365317
  // and 3203168211198807973, so the first call draws 0.35008 and 0.17365.
  FaultInjector below(1234567, {{.rate = 0.3500, .delay_ms_max = 99'999}});
  EXPECT_EQ(below.Next(), FaultInjector::kNone);
  EXPECT_EQ(below.delay_ms(), 0);
  FaultInjector above(1234567, {{.rate = 0.3501, .delay_ms_max = 99'999}});
  EXPECT_EQ(above.Next(), 0u);
  EXPECT_EQ(above.delay_ms(), 17'364);
}

TEST(Chaos, ACallGetsOneFaultOrNone) {
  FaultInjector injector(1, {{.rate = 0.1}, {.rate = 0}, {.rate = 0.4}});
  std::vector<uint64_t> counts(3);
  uint64_t none = 0;
  for (int i = 0; i < 10'000; ++i) {
    const uint32_t fault = injector.Next();
    ++(fault == FaultInjector::kNone ? none : counts.at(fault));
  }
  EXPECT_EQ(injector.calls(), 10'000u);
  for (size_t i = 0; i < counts.size(); ++i) EXPECT_EQ(injector.faults()[i].count, counts[i]);
  EXPECT_EQ(counts[1], 0u);
  EXPECT_NEAR(counts[0], 1000, 300);
  EXPECT_NEAR(counts[2], 4000, 500);
  EXPECT_NEAR(none, 5000, 500);
}

TEST(Chaos, ARateOfOneIsEveryCall) {
  FaultInjector injector(7, {{.rate = 1}});
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(injector.Next(), 0u);
}

TEST(Chaos, DelaysAreWholeAndHaveBothTheirEnds) {
  FaultInjector injector(3, {{.rate = 1, .delay_ms_min = 5, .delay_ms_max = 8}});
  std::set<double> delays;
  for (int i = 0; i < 1000; ++i) {
    injector.Next();
    delays.insert(injector.delay_ms());
  }
  EXPECT_EQ(delays, (std::set<double>{5, 6, 7, 8}));
}

TEST(Chaos, AFixedDelayMayBeInfinite) {
  FaultInjector injector(3, {{.rate = 1, .delay_ms_min = kForever, .delay_ms_max = kForever}});
  EXPECT_EQ(injector.Next(), 0u);
  EXPECT_EQ(injector.delay_ms(), kForever);
}

TEST(Chaos, NumbersAreFaults) {
  const auto faults = FaultsOf(std::vector<double>{0.7, 1, 2, 0.2, 0, 0, 0.1, kForever, kForever});
  ASSERT_TRUE(faults.has_value());
  ASSERT_EQ(faults->size(), 3u);
  EXPECT_EQ(faults->at(0).rate, 0.7);
  EXPECT_EQ(faults->at(0).delay_ms_min, 1);
  EXPECT_EQ(faults->at(0).delay_ms_max, 2);
  EXPECT_EQ(faults->at(2).delay_ms_max, kForever);
}

TEST(Chaos, RatesAddUpDespiteTheirLastBit) {
  EXPECT_GT(0.8 + 0.05 + 0.05 + 0.1, 1.0);
  EXPECT_TRUE(FaultsOf(std::vector<double>{0.8, 0, 0, 0.05, 0, 0, 0.05, 0, 0, 0.1, 0, 0}));
}

TEST(Chaos, ACallWithoutAFaultHasNoDelay) {
  FaultInjector injector(3, {{.rate = 0.5, .delay_ms_min = 5, .delay_ms_max = 5}});
  for (int i = 0; i < 100; ++i) {
    const uint32_t fault = injector.Next();
    EXPECT_EQ(injector.delay_ms(), fault == FaultInjector::kNone ? 0 : 5);
  }
}

TEST(Chaos, OtherNumbersAreNone) {
  const std::vector<std::vector<double>> wrong = {
      {},
      {1},
      {1, 0, 0, 1},
      {1.1, 0, 0},
      {-0.1, 0, 0},
      {1, 0.5, 1},
      {1, 2, 1},
      {1, 0, kForever},
      {1, -1, 0},
      {0.6, 0, 0, 0.5, 0, 0},
      {1, 0, 0.5},
      {1, kForever, 0},
      {kNotANumber, 0, 0},
      {1, kNotANumber, 0},
      {1, 0, kNotANumber},
  };
  for (const auto& numbers : wrong) EXPECT_FALSE(FaultsOf(numbers).has_value());
}

TEST(Chaos, SeedsAreSafeIntegers) {
  EXPECT_EQ(SeedOf(0), 0u);
  EXPECT_EQ(SeedOf(9007199254740991.0), 9007199254740991u);
  for (const double wrong : {-1.0, 0.5, 9007199254740992.0, kForever, kNotANumber}) {
    EXPECT_FALSE(SeedOf(wrong).has_value());
  }
}

}  // namespace
}  // namespace sekering

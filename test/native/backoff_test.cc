#include "core/backoff.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/units.h"
#include "support/times.h"

namespace sekering {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// The largest value that Math.random() can give.
constexpr double kAlmostOne = 1.0 - 0x1p-53;

std::vector<double> Delays(const BackoffOptions& options, int count, double random = 0.5) {
  std::vector<double> delays;
  double previous = 0;
  for (int i = 0; i < count; ++i) {
    previous = BackoffDelayMs(options, i, random, previous);
    delays.push_back(previous);
  }
  return delays;
}

using List = std::vector<double>;

TEST(Backoff, TheLongestDelayFitsTheClockOfTheCore) {
  EXPECT_LT(FromMillis(kDelayMsMax), kNever);
  EXPECT_EQ(kDelayMsMax, std::floor(kDelayMsMax));
}

TEST(BackoffExponential, DefaultsDoubleFromOneSecond) {
  EXPECT_EQ(Delays({}, 10),
            (List{1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000}));
}

TEST(BackoffExponential, PaymentFiguresOneToSixtySecondsRandomized) {
  const BackoffOptions options{.jitter = Jitter::kRandomize, .min_ms = 1000, .max_ms = 60000};
  EXPECT_EQ(Delays(options, 8, 0.0), (List{1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}));
  EXPECT_EQ(Delays(options, 7, 0.5), (List{1500, 3000, 6000, 12000, 24000, 48000, 60000}));
  EXPECT_EQ(Delays(options, 6, kAlmostOne), (List{2000, 4000, 8000, 16000, 32000, 60000}));
}

TEST(BackoffExponential, StatusCheckFiguresTwoToThirtySeconds) {
  const BackoffOptions options{.min_ms = 2000, .max_ms = 30000};
  EXPECT_EQ(Delays(options, 5), (List{2000, 4000, 8000, 16000, 30000}));
}

TEST(BackoffExponential, StreamingFiguresOneTwoFourSeconds) {
  EXPECT_EQ(Delays({.min_ms = 1000}, 3), (List{1000, 2000, 4000}));
}

TEST(BackoffExponential, OutboxFiguresAreCappedAtAMinute) {
  EXPECT_EQ(Delays({.min_ms = 1000, .max_ms = 60000}, 8),
            (List{1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}));
}

TEST(BackoffExponential, ApiClientFiguresTenPercentAroundPowersUpToThirtySeconds) {
  const BackoffOptions options{
      .jitter = Jitter::kProportional, .min_ms = 1000, .max_ms = 30000, .proportion = 0.1};
  EXPECT_EQ(Delays(options, 6, 0.0), (List{900, 1800, 3600, 7200, 14400, 27000}));
  EXPECT_EQ(Delays(options, 6, 0.5), (List{1000, 2000, 4000, 8000, 16000, 30000}));
  EXPECT_EQ(Delays(options, 6, kAlmostOne), (List{1100, 2200, 4400, 8800, 17600, 30000}));
}

TEST(BackoffExponential, FactorsBelowOneShrinkAndZeroGivesNoDelay) {
  EXPECT_EQ(Delays({.factor = 0.5}, 4), (List{1000, 500, 250, 125}));
  EXPECT_EQ(Delays({.factor = 1}, 3), (List{1000, 1000, 1000}));
  EXPECT_EQ(Delays({.factor = 0}, 3), (List{1000, 0, 0}));
}

TEST(BackoffExponential, TheLeastUnitIsOneMillisecond) {
  EXPECT_EQ(Delays({.min_ms = 0}, 4), (List{1, 2, 4, 8}));
  EXPECT_EQ(Delays({.min_ms = -5000}, 4), (List{1, 2, 4, 8}));
  EXPECT_EQ(Delays({.min_ms = 0.25}, 2), (List{1, 2}));
  EXPECT_EQ(Delays({.min_ms = 0, .max_ms = 0}, 3), (List{0, 0, 0}));
}

TEST(BackoffExponential, RoundsHalvesUpAndNothingBelowAHalf) {
  EXPECT_EQ(BackoffDelayMs({.min_ms = 1, .factor = 1.5}, 1, 0, 0), 2);
  EXPECT_EQ(BackoffDelayMs({.min_ms = 2.5, .factor = 2}, 0, 0, 0), 3);
  EXPECT_EQ(BackoffDelayMs({.min_ms = 1, .factor = 0.5}, 1, 0, 0), 1);
  EXPECT_EQ(BackoffDelayMs({.min_ms = 1, .factor = 0.49999999999999994}, 1, 0, 0), 0);
  EXPECT_EQ(BackoffDelayMs({.min_ms = 4503599627370495.5}, 0, 0, 0), kDelayMsMax);
}

TEST(BackoffExponential, AnUnevenLimitIsKeptAsItIs) {
  EXPECT_EQ(BackoffDelayMs({.max_ms = 1500.5}, 3, 0, 0), 1500.5);
}

TEST(BackoffExponential, NegativeRetryNumbersShrinkTheUnit) {
  EXPECT_EQ(BackoffDelayMs({}, -1, 0, 0), 500);
  EXPECT_EQ(BackoffDelayMs({}, -1e300, 0, 0), 0);
}

TEST(BackoffExponential, HugeExponentsEndAtTheLimit) {
  EXPECT_EQ(BackoffDelayMs({}, 39, 0, 0), 549755813888000);
  EXPECT_EQ(BackoffDelayMs({}, 40, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs({}, 1023, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs({}, 1e300, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs({}, kInfinity, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs({.max_ms = 60000}, 4294967295.0, 0, 0), 60000);
  EXPECT_EQ(BackoffDelayMs({.factor = 1e308}, 1e308, 0.9, 0), kDelayMsMax);
}

TEST(BackoffLinear, GrowsByOneUnitAndIgnoresTheFactor) {
  const BackoffOptions options{
      .strategy = BackoffStrategy::kLinear, .min_ms = 500, .max_ms = 2200, .factor = 7};
  EXPECT_EQ(Delays(options, 6), (List{500, 1000, 1500, 2000, 2200, 2200}));
  EXPECT_EQ(BackoffDelayMs({.strategy = BackoffStrategy::kLinear}, 1e18, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs({.strategy = BackoffStrategy::kLinear}, -3, 0, 0), 1000);
}

TEST(BackoffFixed, StaysTheSame) {
  const BackoffOptions options{.strategy = BackoffStrategy::kFixed, .min_ms = 5000};
  EXPECT_EQ(Delays(options, 3), (List{5000, 5000, 5000}));
  EXPECT_EQ(BackoffDelayMs(options, 1e300, 0, 0), 5000);
}

TEST(BackoffFibonacci, FollowsTheSequence) {
  const BackoffOptions options{.strategy = BackoffStrategy::kFibonacci, .min_ms = 100};
  EXPECT_EQ(Delays(options, 10), (List{100, 100, 200, 300, 500, 800, 1300, 2100, 3400, 5500}));
}

TEST(BackoffFibonacci, IsExactUntilTheLimitAndThenStaysThere) {
  const BackoffOptions options{.strategy = BackoffStrategy::kFibonacci, .min_ms = 1};
  EXPECT_EQ(BackoffDelayMs(options, 71, 0, 0), 498454011879264);
  EXPECT_EQ(BackoffDelayMs(options, 72, 0, 0), 806515533049393);
  EXPECT_EQ(BackoffDelayMs(options, 73, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs(options, 74, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs(options, 75, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs(options, kInfinity, 0, 0), kDelayMsMax);
  EXPECT_EQ(BackoffDelayMs(options, -kInfinity, 0, 0), 1);
}

TEST(BackoffDecorrelated, LiesBetweenTheUnitAndThreeTimesTheLastDelay) {
  const BackoffOptions options{
      .strategy = BackoffStrategy::kDecorrelated, .min_ms = 1000, .max_ms = 20000};
  EXPECT_EQ(BackoffDelayMs(options, 0, 0, 0), 1000);
  EXPECT_EQ(BackoffDelayMs(options, 0, 0.5, 0), 2000);
  EXPECT_EQ(BackoffDelayMs(options, 0, kAlmostOne, 0), 3000);
  EXPECT_EQ(BackoffDelayMs(options, 1, 0, 5000), 1000);
  EXPECT_EQ(BackoffDelayMs(options, 1, 0.5, 5000), 8000);
  EXPECT_EQ(BackoffDelayMs(options, 1, 0.99, 50000), 20000);
  EXPECT_EQ(Delays(options, 6, 0.5), (List{2000, 3500, 5750, 9125, 14188, 20000}));
}

TEST(BackoffDecorrelated, ALastDelayBelowTheUnitCountsAsTheUnit) {
  const BackoffOptions options{.strategy = BackoffStrategy::kDecorrelated, .min_ms = 1000};
  EXPECT_EQ(BackoffDelayMs(options, 5, 0.5, 10), 1000);
  EXPECT_EQ(BackoffDelayMs(options, 5, 0.5, -10), 2000);
  EXPECT_EQ(BackoffDelayMs(options, 5, 0.5, kNan), 2000);
  EXPECT_EQ(BackoffDelayMs(options, 5, kAlmostOne, kInfinity), kDelayMsMax);
}

TEST(BackoffJitter, FullReachesFromNothingToTheDelay) {
  const BackoffOptions options{.jitter = Jitter::kFull, .max_ms = 5000};
  EXPECT_EQ(Delays(options, 4, 0), (List{0, 0, 0, 0}));
  EXPECT_EQ(Delays(options, 4, 0.5), (List{500, 1000, 2000, 2500}));
  EXPECT_EQ(Delays(options, 4, kAlmostOne), (List{1000, 2000, 4000, 5000}));
}

TEST(BackoffJitter, EqualKeepsHalf) {
  const BackoffOptions options{.jitter = Jitter::kEqual, .max_ms = 5000};
  EXPECT_EQ(Delays(options, 4, 0), (List{500, 1000, 2000, 2500}));
  EXPECT_EQ(Delays(options, 4, 0.5), (List{750, 1500, 3000, 3750}));
  EXPECT_EQ(Delays(options, 4, kAlmostOne), (List{1000, 2000, 4000, 5000}));
}

TEST(BackoffJitter, ProportionIsHeldBetweenNothingAndAll) {
  BackoffOptions options{.jitter = Jitter::kProportional, .proportion = 0};
  EXPECT_EQ(BackoffDelayMs(options, 0, 0, 0), 1000);
  options.proportion = 1;
  EXPECT_EQ(BackoffDelayMs(options, 0, 0, 0), 0);
  EXPECT_EQ(BackoffDelayMs(options, 0, kAlmostOne, 0), 2000);
  options.proportion = 50;
  EXPECT_EQ(BackoffDelayMs(options, 0, 0, 0), 0);
  options.proportion = -50;
  EXPECT_EQ(BackoffDelayMs(options, 0, 0, 0), 1000);
  options.proportion = kNan;
  EXPECT_EQ(BackoffDelayMs(options, 0, 0, 0), 1000);
}

TEST(BackoffJitter, RandomizeGoesForEveryStrategyThatGrows) {
  const BackoffOptions linear{.strategy = BackoffStrategy::kLinear, .jitter = Jitter::kRandomize};
  EXPECT_EQ(Delays(linear, 3, 0.5), (List{1500, 3000, 4500}));
  const BackoffOptions fixed{.strategy = BackoffStrategy::kFixed, .jitter = Jitter::kRandomize};
  EXPECT_EQ(Delays(fixed, 3, 0.5), (List{1500, 1500, 1500}));
}

TEST(BackoffJitter, AverageIsWhatItsDescriptionSays) {
  std::mt19937_64 source(1);
  std::uniform_real_distribution<double> chance(0, 1);
  const int count = 100000;
  const auto average = [&](const BackoffOptions& options) {
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += BackoffDelayMs(options, 3, chance(source), 8000);
    return sum / count;
  };
  EXPECT_NEAR(average({.jitter = Jitter::kFull}), 4000, 40);
  EXPECT_NEAR(average({.jitter = Jitter::kEqual}), 6000, 40);
  EXPECT_NEAR(average({.jitter = Jitter::kProportional, .proportion = 0.1}), 8000, 10);
  EXPECT_NEAR(average({.jitter = Jitter::kRandomize}), 12000, 40);
  EXPECT_NEAR(average({.strategy = BackoffStrategy::kDecorrelated}), 12500, 100);
}

// Whatever comes in, a timer can take what comes out.
TEST(Backoff, EveryCombinationOfOddArgumentsGivesAUsableDelay) {
  const double odd[] = {kNan, -kInfinity, -1e308, -1.5, -0.0, 0.0,   0.3,
                        1.0,  2.0,        1e9,    1e15, 1e16, 1e308, kInfinity};
  const double retries[] = {kNan, -kInfinity, -1, 0, 0.5, 1, 73, 1024, 4294967295.0, 1e308};
  const double chances[] = {kNan, -1, 0, 0.5, kAlmostOne, 7};
  for (uint32_t strategy = 0; strategy < kBackoffStrategies; ++strategy) {
    for (uint32_t jitter = 0; jitter < kJitters; ++jitter) {
      for (const double min : odd) {
        for (const double max : odd) {
          for (const double factor : odd) {
            const BackoffOptions options{.strategy = static_cast<BackoffStrategy>(strategy),
                                         .jitter = static_cast<Jitter>(jitter),
                                         .min_ms = min,
                                         .max_ms = max,
                                         .factor = factor,
                                         .proportion = factor};
            for (const double retry : retries) {
              for (const double chance : chances) {
                const double delay = BackoffDelayMs(options, retry, chance, factor);
                ASSERT_GE(delay, 0);
                ASSERT_LE(delay, kDelayMsMax);
                ASSERT_TRUE(std::isnan(max) || delay <= std::max(max, 0.0));
                ASSERT_TRUE(delay == std::floor(delay) || delay == max);
              }
            }
          }
        }
      }
    }
  }
}

TEST(Backoff, WithoutJitterLaterDelaysAreNeverShorter) {
  for (const auto strategy : {BackoffStrategy::kExponential, BackoffStrategy::kLinear,
                              BackoffStrategy::kFixed, BackoffStrategy::kFibonacci}) {
    for (const double factor : {1.0, 1.1, 2.0, 10.0}) {
      const BackoffOptions options{.strategy = strategy, .min_ms = 7, .factor = factor};
      double previous = 0;
      for (int i = 0; i < 2000; ++i) {
        const double delay = BackoffDelayMs(options, i, 0, previous);
        ASSERT_GE(delay, previous);
        previous = delay;
      }
    }
  }
}

}  // namespace
}  // namespace sekering

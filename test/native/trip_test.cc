#include "core/trip.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

#include "support/seeds.h"

namespace sekering {
namespace {

TripRules Errors(double percentage) {
  TripRules rules;
  rules.error_threshold_percentage = percentage;
  return rules;
}

Seen OfWindow(uint64_t failures, uint64_t fires) {
  Seen seen;
  seen.failures = failures;
  seen.failures_since_closed = failures;
  seen.fires = fires;
  return seen;
}

/// Everything that can be seen is as bad as can be.
Seen Disaster() {
  Seen seen;
  seen.fires = seen.failures = seen.failures_since_closed = seen.completed = seen.slow = 1'000'000;
  seen.failures_in_a_row = 1'000'000;
  seen.last_calls = seen.last_failures = seen.last_slow = 10'000;
  return seen;
}

TEST(Trip, WithoutRulesNeverTrips) {
  EXPECT_FALSE(ShouldTrip({}, {}));
  EXPECT_FALSE(ShouldTrip({}, Disaster()));
}

TEST(Trip, NothingSeenTripsNoRuleThatIsOn) {
  TripRules rules = Errors(0);
  rules.consecutive_failures = 1;
  rules.failure_count = 1;
  rules.slow_call_threshold_percentage = 1;
  EXPECT_FALSE(ShouldTrip(rules, {}));
  rules.sliding_window_size = 10;
  EXPECT_FALSE(ShouldTrip(rules, {}));
}

TEST(Trip, ErrorsAboveTheThresholdNotAtIt) {
  EXPECT_FALSE(ShouldTrip(Errors(50), OfWindow(49, 100)));
  EXPECT_FALSE(ShouldTrip(Errors(50), OfWindow(50, 100)));
  EXPECT_TRUE(ShouldTrip(Errors(50), OfWindow(51, 100)));
  EXPECT_FALSE(ShouldTrip(Errors(0), OfWindow(0, 100)));
  EXPECT_TRUE(ShouldTrip(Errors(0), OfWindow(1, 1'000'000)));
  EXPECT_FALSE(ShouldTrip(Errors(100), OfWindow(100, 100)));
}

TEST(Trip, MoreFailuresThanFires) {
  // The calls outlived the window in which they began. opossum divides all the same, by none too.
  EXPECT_TRUE(ShouldTrip(Errors(100), OfWindow(3, 2)));
  EXPECT_TRUE(ShouldTrip(Errors(50), OfWindow(1, 0)));
  EXPECT_TRUE(ShouldTrip(Errors(100), OfWindow(1, 0)));
}

TEST(Trip, RoundsAsJavaScriptDoes) {
  // 7 / 25 * 100 is 28.000000000000004 in doubles: opossum opens here, and so do we.
  EXPECT_TRUE(ShouldTrip(Errors(28), OfWindow(7, 25)));
  EXPECT_FALSE(ShouldTrip(Errors(33.4), OfWindow(1, 3)));
  EXPECT_TRUE(ShouldTrip(Errors(33.3), OfWindow(1, 3)));
}

TEST(Trip, VolumeThreshold) {
  TripRules rules = Errors(50);
  rules.volume_threshold = 10;
  EXPECT_FALSE(ShouldTrip(rules, OfWindow(9, 9)));
  EXPECT_TRUE(ShouldTrip(rules, OfWindow(9, 10)));
  EXPECT_TRUE(ShouldTrip(rules, OfWindow(9, 11)));
}

TEST(Trip, FailureCount) {
  TripRules rules;
  rules.failure_count = 5;
  EXPECT_FALSE(ShouldTrip(rules, OfWindow(4, 4)));
  EXPECT_TRUE(ShouldTrip(rules, OfWindow(5, 1'000'000)));
  EXPECT_TRUE(ShouldTrip(rules, OfWindow(6, 1'000'000)));

  Seen seen = OfWindow(100, 100);
  seen.failures_since_closed = 4;
  EXPECT_FALSE(ShouldTrip(rules, seen)) << "failures of before the circuit closed";

  rules.volume_threshold = 10;
  EXPECT_FALSE(ShouldTrip(rules, OfWindow(9, 9)));
  EXPECT_TRUE(ShouldTrip(rules, OfWindow(9, 10)));
}

TEST(Trip, ConsecutiveFailures) {
  TripRules rules;
  rules.consecutive_failures = 3;
  Seen seen;
  seen.failures_in_a_row = 2;
  EXPECT_FALSE(ShouldTrip(rules, seen));
  seen.failures_in_a_row = 3;
  EXPECT_TRUE(ShouldTrip(rules, seen));
  seen.failures_in_a_row = std::numeric_limits<uint32_t>::max();
  EXPECT_TRUE(ShouldTrip(rules, seen));
  // A number of calls in itself, so no volume is asked for.
  rules.volume_threshold = 1000;
  EXPECT_TRUE(ShouldTrip(rules, seen));
}

TEST(Trip, SlowCallsAtTheThreshold) {
  TripRules rules;
  rules.slow_call_threshold_percentage = 50;
  Seen seen;
  seen.fires = 100;
  seen.completed = 10;
  seen.slow = 4;
  EXPECT_FALSE(ShouldTrip(rules, seen));
  seen.slow = 5;
  EXPECT_TRUE(ShouldTrip(rules, seen)) << "of the calls that completed, not of those in flight";
  rules.volume_threshold = 101;
  EXPECT_FALSE(ShouldTrip(rules, seen));
  rules.volume_threshold = 100;
  rules.slow_call_threshold_percentage = 100;
  EXPECT_FALSE(ShouldTrip(rules, seen));
  seen.slow = 10;
  EXPECT_TRUE(ShouldTrip(rules, seen));
}

TEST(Trip, LastCallsReplaceTheWindowOfTime) {
  TripRules rules = Errors(50);
  rules.slow_call_threshold_percentage = 50;
  rules.sliding_window_size = 10;
  rules.minimum_calls = 5;
  Seen seen = Disaster();
  seen.last_calls = 10;
  seen.last_failures = 5;
  seen.last_slow = 4;
  EXPECT_FALSE(ShouldTrip(rules, seen)) << "the window of time is not asked";
  seen.last_failures = 6;
  EXPECT_TRUE(ShouldTrip(rules, seen));
  seen.last_failures = 0;
  seen.last_slow = 5;
  EXPECT_TRUE(ShouldTrip(rules, seen));
}

TEST(Trip, MinimumCalls) {
  TripRules rules = Errors(50);
  rules.sliding_window_size = 10;
  rules.minimum_calls = 5;
  Seen seen;
  seen.last_calls = seen.last_failures = 4;
  EXPECT_FALSE(ShouldTrip(rules, seen));
  seen.last_calls = seen.last_failures = 5;
  EXPECT_TRUE(ShouldTrip(rules, seen));
  rules.volume_threshold = 6;
  seen.fires = 5;
  EXPECT_FALSE(ShouldTrip(rules, seen)) << "volume is asked for too";
  seen.fires = 6;
  EXPECT_TRUE(ShouldTrip(rules, seen));
}

TEST(Trip, MinimumCallsIsOfTheLastCallsOnly) {
  TripRules rules = Errors(50);
  rules.minimum_calls = 1000;
  EXPECT_TRUE(ShouldTrip(rules, OfWindow(9, 10)));
}

/// Any rule that is on may trip: together they trip exactly when one of them does alone.
TEST(TripRandom, RulesTogetherTripWhenOneOfThemDoes) {
  for (uint32_t seed = 0; seed < Seeds(20'000); ++seed) {
    std::mt19937 random(seed);
    const auto upto = [&random](uint32_t n) { return static_cast<uint32_t>(random() % (n + 1)); };
    TripRules all;
    all.volume_threshold = upto(12);
    all.minimum_calls = upto(6);
    all.sliding_window_size = upto(1) * 10;
    std::vector<TripRules> alone(4, all);
    alone[0].error_threshold_percentage = all.error_threshold_percentage = upto(100);
    alone[1].slow_call_threshold_percentage = all.slow_call_threshold_percentage = upto(100);
    alone[2].consecutive_failures = all.consecutive_failures = 1 + upto(8);
    alone[3].failure_count = all.failure_count = 1 + upto(12);
    Seen seen;
    seen.fires = upto(20);
    seen.failures = upto(10);
    seen.failures_since_closed = upto(static_cast<uint32_t>(seen.failures));
    seen.completed = upto(20);
    seen.slow = upto(static_cast<uint32_t>(seen.completed));
    seen.failures_in_a_row = upto(8);
    seen.last_calls = upto(10);
    seen.last_failures = upto(seen.last_calls);
    seen.last_slow = upto(seen.last_calls);
    bool any = false;
    for (const TripRules& rules : alone) any = any || ShouldTrip(rules, seen);
    ASSERT_EQ(ShouldTrip(all, seen), any) << "seed " << seed;
  }
}

}  // namespace
}  // namespace sekering

#include "core/adaptive_limit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "support/times.h"

namespace sekering {
namespace {

/// Calls of one adaptive limit, which end in the order in which they began.
struct LimitedCaller {
  explicit LimitedCaller(const AdaptiveRules& rules) : limit(rules) {}

  /// Begins calls until `count` run, or as many as may.
  void Fill(uint32_t count = UINT32_MAX) {
    while (limit.active() < count) {
      const std::optional<Ticket> ticket = limit.TryBegin();
      if (!ticket) return;
      running.push_back(*ticket);
      if (*ticket == Ticket(0) || *ticket == round) continue;
      round = *ticket;
      if (limit.places() < limit.limit()) probes.push_back({round.value(), limit.limit()});
    }
  }

  void EndFirst(CallEnd end, Micros latency) {
    const Ticket ticket = running.front();
    running.erase(running.begin());
    EXPECT_TRUE(limit.End(ticket, end, latency));
  }

  /// `calls` calls, while `count` run at once.
  void Run(int calls, Micros latency, uint32_t count = UINT32_MAX,
           CallEnd end = CallEnd::kSuccess) {
    for (int i = 0; i < calls; ++i) {
      Fill(count);
      EndFirst(end, latency);
    }
  }

  /// The same in an upstream that does `capacity` calls at once: the others wait in line.
  void RunQueueing(int calls, uint32_t capacity, Micros service) {
    for (int i = 0; i < calls; ++i) {
      Fill();
      EndFirst(CallEnd::kSuccess,
               service * std::max(capacity, limit.active()) / static_cast<Micros>(capacity));
    }
  }

  struct Probe {
    uint32_t round;
    uint32_t limit;
  };

  AdaptiveLimit limit;
  std::vector<Ticket> running;
  Ticket round{0};
  std::vector<Probe> probes;
};

AdaptiveRules Bounds(double initial, double min = 1, double max = 200) {
  return AdaptiveRules::Make(initial, min, max, 1.25);
}

TEST(AdaptiveLimit, AdmitsAsManyAsTheLimit) {
  AdaptiveLimit limit(Bounds(2));
  EXPECT_EQ(limit.limit(), 2u);
  const std::optional<Ticket> first = limit.TryBegin();
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, Ticket(1));
  EXPECT_TRUE(limit.TryBegin());
  EXPECT_FALSE(limit.TryBegin());
  EXPECT_EQ(limit.active(), 2u);
  EXPECT_TRUE(limit.End(*first, CallEnd::kSuccess, kMs));
  EXPECT_TRUE(limit.TryBegin());
}

TEST(AdaptiveLimit, AnEndWithoutACallChangesNothing) {
  AdaptiveLimit limit(Bounds(2));
  EXPECT_FALSE(limit.End(Ticket(1), CallEnd::kSuccess, kMs));
  EXPECT_EQ(limit.active(), 0u);
}

TEST(AdaptiveLimit, OnlyTheFirstCallsOfARoundAreItsCohort) {
  LimitedCaller caller(Bounds(50));
  caller.Run(44, kMs);
  EXPECT_EQ(std::count(caller.running.begin(), caller.running.end(), Ticket(1)), 6);
  EXPECT_EQ(std::count(caller.running.begin(), caller.running.end(), Ticket(0)), 43);
}

TEST(AdaptiveLimit, GrowsToTheMaximumWhileAnUpstreamStaysFast) {
  LimitedCaller caller(Bounds(10, 1, 150));
  caller.Run(20'000, 50 * kMs);
  EXPECT_EQ(caller.limit.limit(), 150u);
  EXPECT_EQ(caller.limit.base_latency(), 50 * kMs);
}

TEST(AdaptiveLimit, SettlesAboveTheCapacityFromBelowAndFromAbove) {
  for (const double initial : {2.0, 20.0, 1000.0}) {
    for (const uint32_t capacity : {1u, 3u, 20u, 100u}) {
      LimitedCaller caller(Bounds(initial, 1, 1000));
      caller.RunQueueing(60'000, capacity, 10 * kMs);
      for (int i = 0; i < 100; ++i) {
        caller.RunQueueing(100, capacity, 10 * kMs);
        EXPECT_GE(caller.limit.limit(), capacity);
        EXPECT_LE(caller.limit.limit(), capacity * 1.5 + 6) << "initial " << initial;
      }
      EXPECT_LE(caller.limit.base_latency(), 12 * kMs);
    }
  }
}

TEST(AdaptiveLimit, DoesNotGrowUnlessMoreThanHalfOfItIsUsed) {
  LimitedCaller caller(Bounds(20));
  caller.Run(5000, 50 * kMs, 10);
  EXPECT_EQ(caller.limit.limit(), 20u);
  caller.Run(5000, 50 * kMs, 11);
  EXPECT_EQ(caller.limit.limit(), 22u);
}

TEST(AdaptiveLimit, LittleUseMeasuresTheBaseLatencyAndNeedsNoProbe) {
  LimitedCaller caller(Bounds(20));
  for (const Micros latency : {50 * kMs, 500 * kMs, 5 * kMs}) {
    for (int i = 0; i < 200; ++i) {
      caller.Run(1, latency, 5);
      EXPECT_EQ(caller.limit.places(), 20u);
    }
    EXPECT_EQ(caller.limit.base_latency(), latency);
    EXPECT_EQ(caller.limit.limit(), 20u);
  }
}

/// A caller in a round after the first, whose base is 50 ms.
LimitedCaller KnownCaller() {
  LimitedCaller caller(Bounds(50));
  for (bool probed = false; !probed || caller.limit.places() < caller.limit.limit();) {
    caller.Run(1, 50 * kMs);
    probed |= caller.limit.places() < caller.limit.limit();
  }
  return caller;
}

TEST(AdaptiveLimit, AProbeRunsAQuarterOfTheLimit) {
  LimitedCaller caller(Bounds(40));
  while (caller.limit.places() == caller.limit.limit()) caller.Run(1, 50 * kMs);
  EXPECT_EQ(caller.limit.places(), caller.limit.limit() / 4);
  // Fast calls of a round with a full limit say nothing about the base.
  EXPECT_EQ(caller.limit.base_latency(), 50 * kMs);
}

TEST(AdaptiveLimit, ProbesFollowTheFirstRoundAndEachDoubling) {
  LimitedCaller caller(Bounds(20, 1, 400));
  caller.Run(100'000, 50 * kMs);
  ASSERT_EQ(caller.probes.size(), 5u);
  EXPECT_EQ(caller.probes[0].round, 2u);
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_GE(caller.probes[i].limit, caller.probes[i - 1].limit * 2);
    EXPECT_LE(caller.probes[i].limit, caller.probes[i - 1].limit * 2 + 10);
  }
}

TEST(AdaptiveLimit, AProbeFollowsWhenTheLimitHasHalved) {
  LimitedCaller caller(Bounds(20, 1, 400));
  while (caller.probes.size() < 5) caller.Run(1, 50 * kMs);
  caller.Run(1000, 50 * kMs);
  const uint32_t measured_at = caller.probes.back().limit;
  caller.probes.clear();
  while (caller.probes.empty()) caller.Run(1, 500 * kMs);
  EXPECT_LE(caller.probes[0].limit, measured_at / 2);
  EXPECT_GE(caller.probes[0].limit, measured_at / 3);
  caller.Run(measured_at, 500 * kMs);
  EXPECT_EQ(caller.limit.base_latency(), 500 * kMs);
}

TEST(AdaptiveLimit, ProbesOfABusyUpstreamAreFiftyRoundsApart) {
  LimitedCaller caller(Bounds(20));
  caller.RunQueueing(100'000, 20, 50 * kMs);
  ASSERT_GE(caller.probes.size(), 10u);
  for (size_t i = 5; i < caller.probes.size(); ++i) {
    const uint32_t rounds = caller.probes[i].round - caller.probes[i - 1].round;
    EXPECT_GE(rounds, 51u);
    EXPECT_LE(rounds, 55u);
  }
}

TEST(AdaptiveLimit, AProbeLeavesTheMinimum) {
  LimitedCaller caller(Bounds(40, 30));
  while (caller.limit.places() == caller.limit.limit()) caller.Run(1, 50 * kMs);
  EXPECT_EQ(caller.limit.places(), 30u);
}

TEST(AdaptiveLimit, AFixedLimitIsNeverProbed) {
  LimitedCaller caller(Bounds(40, 40, 40));
  for (int i = 0; i < 5000; ++i) {
    caller.Run(1, (i % 7 + 1) * kMs, UINT32_MAX, i % 3 == 0 ? CallEnd::kDrop : CallEnd::kSuccess);
    EXPECT_EQ(caller.limit.places(), 40u);
  }
}

TEST(AdaptiveLimit, OneSlowCallOfACohortDecidesNothing) {
  LimitedCaller slow = KnownCaller();
  LimitedCaller fast = KnownCaller();
  // The round of these calls ends without the slowest of its cohort.
  const uint32_t before = slow.limit.limit();
  slow.Fill();
  slow.running.push_back(slow.running.front());
  slow.running.erase(slow.running.begin());
  for (int i = 0; i < 3; ++i) slow.Run(40, 50 * kMs);
  for (int i = 0; i < 3; ++i) fast.Run(40, 50 * kMs);
  EXPECT_GE(slow.limit.limit(), before);
  EXPECT_EQ(slow.limit.limit(), fast.limit.limit());
}

TEST(AdaptiveLimit, CallsThatHangDoNotStopTheRounds) {
  AdaptiveLimit limit(Bounds(100));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(limit.TryBegin());  // Half of the first cohort.
  const uint32_t before = limit.limit();
  for (int i = 0; i < 20'000; ++i) {
    const std::optional<Ticket> ticket = limit.TryBegin();
    if (!ticket) break;
    ASSERT_TRUE(limit.End(*ticket, CallEnd::kSuccess, 10 * kMs));
  }
  EXPECT_GT(limit.limit(), before);
  EXPECT_GT(limit.base_latency(), 0);
}

TEST(AdaptiveLimit, FallsByAtMostAQuarterPerRound) {
  LimitedCaller caller = KnownCaller();
  uint32_t before = caller.limit.limit();
  const uint32_t first = before;
  for (int i = 0; i < 400; ++i) {
    caller.Run(1, kSecond * 3600);
    EXPECT_GE(caller.limit.limit() + 1, before * 3 / 4);
    before = caller.limit.limit();
  }
  EXPECT_LT(before, first);
}

TEST(AdaptiveLimit, AnUpstreamThatHasBecomeSlowByItselfGetsItsCallsBack) {
  LimitedCaller caller = KnownCaller();
  caller.RunQueueing(20'000, 100, 50 * kMs);
  caller.RunQueueing(2000, 100, 150 * kMs);
  caller.RunQueueing(50'000, 100, 150 * kMs);
  EXPECT_EQ(caller.limit.base_latency(), 150 * kMs);
  EXPECT_GE(caller.limit.limit(), 100u);
  EXPECT_LE(caller.limit.limit(), 156u);
}

TEST(AdaptiveLimit, TheBaseDoesNotFollowAnOverloadThatLasts) {
  LimitedCaller caller = KnownCaller();
  caller.RunQueueing(500'000, 10, 50 * kMs);
  EXPECT_LE(caller.limit.base_latency(), 60 * kMs);
  EXPECT_LE(caller.limit.limit(), 20u);
}

TEST(AdaptiveLimit, DropsHalveTheLimitAndEndAtTheMinimum) {
  LimitedCaller caller(Bounds(100, 3));
  caller.Run(90, 0, UINT32_MAX, CallEnd::kDrop);
  EXPECT_EQ(caller.limit.limit(), 75u);  // Half of the way to 50.
  caller.Run(5000, 0, UINT32_MAX, CallEnd::kDrop);
  EXPECT_EQ(caller.limit.limit(), 3u);
  EXPECT_EQ(caller.limit.base_latency(), 0);
}

TEST(AdaptiveLimit, FewDropsChangeLittle) {
  LimitedCaller caller(Bounds(100, 1, 100));
  for (int i = 0; i < 20'000; ++i) {
    caller.Run(1, 50 * kMs, UINT32_MAX, i % 100 == 0 ? CallEnd::kDrop : CallEnd::kSuccess);
    EXPECT_GE(caller.limit.limit(), 97u);
  }
}

TEST(AdaptiveLimit, DropsCountHoweverFewCallsRun) {
  LimitedCaller caller(Bounds(100));
  caller.Run(5000, 0, 2, CallEnd::kDrop);
  EXPECT_LE(caller.limit.limit(), 1u);
}

TEST(AdaptiveLimit, IgnoredEndsSayNothing) {
  LimitedCaller caller(Bounds(20));
  caller.Run(5000, kSecond, UINT32_MAX, CallEnd::kIgnored);
  EXPECT_EQ(caller.limit.limit(), 20u);
  EXPECT_EQ(caller.limit.base_latency(), 0);
}

TEST(AdaptiveLimit, LatenciesOfLessThanATenthOfAMillisecondAreAllAlike) {
  LimitedCaller caller(Bounds(20));
  caller.Run(20'000, 1);
  EXPECT_EQ(caller.limit.base_latency(), 100);
  EXPECT_EQ(caller.limit.limit(), 200u);
  caller.Run(20'000, 120);
  EXPECT_EQ(caller.limit.limit(), 200u);
}

TEST(AdaptiveRules, AreMadeOfWhateverComes) {
  using Double = std::numeric_limits<double>;
  const std::vector<double> odd{
      Double::quiet_NaN(), -Double::infinity(), Double::infinity(), -1, 0, 0.5, 1, 3, 1e300};
  for (const double initial : odd) {
    for (const double min : odd) {
      for (const double max : odd) {
        for (const double tolerance : odd) {
          const AdaptiveRules rules = AdaptiveRules::Make(initial, min, max, tolerance);
          EXPECT_GE(rules.min, 1);
          EXPECT_LE(rules.min, rules.initial);
          EXPECT_LE(rules.initial, rules.max);
          EXPECT_LE(rules.max, AdaptiveRules::kLimitMax);
          EXPECT_GE(rules.tolerance, 1);
          EXPECT_LE(rules.tolerance, AdaptiveRules::kToleranceMax);
        }
      }
    }
  }
}

TEST(AdaptiveLimit, StaysWithinItsBoundsWhateverComes) {
  const std::vector<Micros> latencies{INT64_MIN, -1, 0, 1, kMs, kSecond, kNever, INT64_MAX};
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
    const AdaptiveRules rules =
        AdaptiveRules::Make(static_cast<double>(below(60)), static_cast<double>(below(30)),
                            static_cast<double>(below(90)), 1.5);
    AdaptiveLimit limit(rules);
    uint32_t running = 0;
    for (int i = 0; i < 20'000; ++i) {
      if (below(2) == 0) {
        const uint32_t places = limit.places();
        const bool began = limit.TryBegin().has_value();
        EXPECT_EQ(began, running < places);
        running += began ? 1 : 0;
      } else {
        const bool ended =
            limit.End(Ticket(static_cast<uint32_t>(below(300))),
                      static_cast<CallEnd>(below(kCallEnds)), latencies[below(latencies.size())]);
        EXPECT_EQ(ended, running > 0);
        running -= ended ? 1 : 0;
      }
      EXPECT_EQ(limit.active(), running);
      EXPECT_GE(limit.limit(), rules.min);
      EXPECT_LE(limit.limit(), rules.max);
      EXPECT_GE(limit.base_latency(), 0);
    }
  }
}

}  // namespace
}  // namespace sekering

// The life of a breaker by a virtual clock: its states, its rules and its generations. Probes are
// in breaker_probes_test.cc, and what times do in breaker_times_test.cc.

#include "core/breaker.h"

#include <gtest/gtest.h>

#include <array>

#include "support/breaker_box.h"

namespace sekering {
namespace {

BreakerConfig ErrorsAbove(double percentage) {
  BreakerConfig config;
  config.rules.error_threshold_percentage = percentage;
  return config;
}

TEST(Breaker, StartsClosedAndAdmits) {
  BreakerBox box(TwoInARow());
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_EQ(box.breaker.generation(), Generation(0));
  EXPECT_EQ(box.breaker.period(), Period(0));
  EXPECT_EQ(box.breaker.OpenFor(box.now), 0);
  const Admission call = box.Admit();
  EXPECT_TRUE(call.admitted);
  EXPECT_EQ(call.period, Period(0));
  EXPECT_EQ(call.probe, kNoProbe);
  EXPECT_FALSE(box.breaker.HasFreeProbe(box.now));
  EXPECT_FALSE(box.breaker.Poll(box.now));
}

TEST(Breaker, OneLife) {
  BreakerBox box(TwoInARow());
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_FALSE(box.CallAndSucceed());
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);

  box.now += kSecond - 1;
  EXPECT_FALSE(box.breaker.Poll(box.now));
  EXPECT_EQ(box.breaker.OpenFor(box.now), 1);
  EXPECT_FALSE(box.Admit().admitted);
  box.now += 1;
  EXPECT_EQ(box.breaker.OpenFor(box.now), 0);
  EXPECT_EQ(box.state(), State::kOpen) << "until somebody looks";
  EXPECT_TRUE(box.breaker.Poll(box.now));
  EXPECT_FALSE(box.breaker.Poll(box.now));
  EXPECT_EQ(box.state(), State::kHalfOpen);

  const Admission probe = box.Admit();
  EXPECT_TRUE(probe.admitted);
  EXPECT_NE(probe.probe, kNoProbe);
  EXPECT_FALSE(box.Admit().admitted);
  EXPECT_FALSE(box.Succeed(probe));
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.breaker.generation(), Generation(3));
}

TEST(Breaker, ACallAdmitsItselfWhenTheTimeHasCome) {
  BreakerBox box(TwoInARow());
  box.breaker.Open(box.now);
  box.now += kSecond;
  const Admission probe = box.Admit();
  EXPECT_TRUE(probe.admitted);
  EXPECT_EQ(StateOf(probe.period), State::kHalfOpen);
  EXPECT_NE(probe.probe, kNoProbe);
}

TEST(Breaker, AFailedProbeOpensAgain) {
  BreakerBox box(TwoInARow());
  box.breaker.Open(box.now);
  PassReset(box);
  EXPECT_TRUE(box.Fail(box.Admit())) << "one failure is enough";
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
}

TEST(Breaker, AFailedProbeOpensWithoutAnyRule) {
  BreakerConfig config;
  config.rules.volume_threshold = 1000;
  BreakerBox box(config);
  box.breaker.HalfOpen();
  EXPECT_TRUE(box.Fail(box.Admit()));
  EXPECT_EQ(box.state(), State::kOpen);
}

// ---- Rules -------------------------------------------------------------------------------------

TEST(BreakerRules, ErrorsAboveAShareOfTheFires) {
  BreakerBox box(ErrorsAbove(50));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(box.CallAndSucceed());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed) << "half of them is not above 50 %";
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRules, CallsInFlightCountAsFires) {
  BreakerBox box(ErrorsAbove(50));
  box.Add(Counter::kFires, 9);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerRules, OldFailuresLeaveTheWindow) {
  BreakerBox box(ErrorsAbove(50));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(box.CallAndSucceed());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(box.CallAndFail());
  box.now += 9 * kSecond;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.Sum(Counter::kFailures), 5u);
  box.now += kSecond;
  EXPECT_EQ(box.Sum(Counter::kFailures), 0u);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRules, ATimeoutAfterItsFireHasLeftTheWindow) {
  BreakerBox box(ErrorsAbove(50));
  box.Add(Counter::kFires, 1);
  const Admission call = box.Admit();
  box.now += 10 * kSecond;
  EXPECT_EQ(box.Sum(Counter::kFires), 0u);
  EXPECT_TRUE(box.Settle({true, true, 10 * kSecond, call.period}, 0));
}

TEST(BreakerRules, AFailureIsALookOnlyIfItsVolumeIsThere) {
  BreakerConfig config = ErrorsAbove(50);
  config.rules.volume_threshold = 3;
  BreakerBox box(config);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRules, FailuresInARow) {
  BreakerConfig config;
  config.rules.consecutive_failures = 3;
  BreakerBox box(config);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(box.CallAndFail());
    EXPECT_TRUE(box.CallAndFail());
    if (i % 2 == 0) {
      EXPECT_TRUE(box.CallAndSucceed());
    } else {
      box.breaker.AddSuccesses(box.epoch(), Count(1));
    }
  }
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_TRUE(box.CallAndFail());
  box.now += 3600 * kSecond;  // A row has no window of time.
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRules, ARowDoesNotSpanPeriods) {
  BreakerBox box(TwoInARow());
  EXPECT_TRUE(box.CallAndFail());
  box.breaker.Open(box.now);
  box.breaker.Close(box.now);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRules, FailureCountStartsAnewWhenTheCircuitCloses) {
  BreakerConfig config;
  config.rules.failure_count = 3;
  BreakerBox box(config);
  for (int life = 0; life < 5; ++life) {
    EXPECT_TRUE(box.CallAndFail());
    EXPECT_TRUE(box.CallAndFail());
    EXPECT_EQ(box.state(), State::kClosed) << life;
    box.now += life * kSecond;
    EXPECT_TRUE(box.CallAndFail());
    EXPECT_EQ(box.state(), State::kOpen) << life;
    box.now += 500 * kMs;  // Closed within the window of those failures, and in another bucket.
    box.breaker.Close(box.now);
  }
  EXPECT_GE(box.Sum(Counter::kFailures), 6u) << "the window keeps them all the same";
}

TEST(BreakerRules, FailureCountOfAClockThatIsABucketBehind) {
  BreakerConfig config;
  config.rules.failure_count = 3;
  BreakerBox box(config);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(box.CallAndFail());
  box.now += kSecond;
  EXPECT_TRUE(box.breaker.Close(box.now));
  box.now -= 1;
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed) << "the failures of before count no more";
}

TEST(BreakerRules, SlowCalls) {
  BreakerConfig config;
  config.slow_call = 100 * kMs;
  config.rules.slow_call_threshold_percentage = 50;
  config.rules.volume_threshold = 4;
  BreakerBox box(config);
  box.Add(Counter::kFires, 4);
  EXPECT_FALSE(box.Succeed(box.Admit(), 100 * kMs - 1));
  EXPECT_FALSE(box.Succeed(box.Admit(), 100 * kMs - 1));
  EXPECT_FALSE(box.Succeed(box.Admit(), 100 * kMs)) << "a third";
  EXPECT_TRUE(box.Succeed(box.Admit(), 100 * kMs)) << "a half, by a call that succeeded";
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_EQ(box.Sum(Counter::kSlowCalls), 2u);
  EXPECT_EQ(box.Sum(Counter::kSuccesses), 4u);
}

TEST(BreakerRules, LastCalls) {
  BreakerConfig config = ErrorsAbove(50);
  config.rules.sliding_window_size = 10;
  config.rules.minimum_calls = 4;
  BreakerBox box(config);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed) << "too few calls";
  box.breaker.AddSuccesses(box.epoch(), Count(3));
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen) << "4 of 7, however long ago";
  box.breaker.Close(box.now);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed) << "those before it closed count no more";
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRules, ProbesAreNotAmongTheLastCalls) {
  BreakerConfig config = ErrorsAbove(0);
  config.rules.sliding_window_size = 10;
  config.rules.minimum_calls = 2;
  BreakerBox box(config);
  box.breaker.HalfOpen();
  EXPECT_FALSE(box.Succeed(box.Admit()));
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed) << "one call, and two are asked for";
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

// ---- Generations -------------------------------------------------------------------------------

TEST(BreakerGenerations, ACallBegunBeforeTheTripChangesNothingLater) {
  BreakerBox box(TwoInARow());
  std::array<Admission, 4> early;
  for (Admission& call : early) call = box.Admit();
  box.CallAndFail();
  box.CallAndFail();
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_FALSE(box.Succeed(early[0]));
  EXPECT_EQ(box.state(), State::kOpen);
  PassReset(box);
  EXPECT_FALSE(box.Succeed(early[1])) << "no probe's success";
  EXPECT_EQ(box.state(), State::kHalfOpen);
  EXPECT_FALSE(box.Fail(early[2])) << "nor its failure";
  EXPECT_EQ(box.state(), State::kHalfOpen);
  EXPECT_TRUE(box.breaker.HasFreeProbe(box.now));
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_FALSE(box.Fail(early[3]));
  EXPECT_EQ(box.state(), State::kClosed) << "no second in a row";
  EXPECT_EQ(box.Sum(Counter::kSuccesses), 3u) << "counted they are";
  EXPECT_EQ(box.Sum(Counter::kFailures), 5u);
}

TEST(BreakerGenerations, ATripIsOfItsPeriodOnly) {
  BreakerBox box(TwoInARow());
  const Period closed = box.breaker.period();
  EXPECT_TRUE(box.breaker.Trip(closed, 0, box.now));
  EXPECT_FALSE(box.breaker.Trip(closed, 0, box.now));
  const Period open = box.breaker.period();
  EXPECT_FALSE(box.breaker.Trip(open, 0, box.now)) << "it is open";
  box.breaker.Close(box.now);
  EXPECT_FALSE(box.breaker.Trip(closed, 0, box.now)) << "an earlier closed period";
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_EQ(box.breaker.generation(), Generation(2));
}

TEST(BreakerGenerations, HistoryIsRemembered) {
  BreakerBox box(TwoInARow());
  EXPECT_EQ(box.breaker.StateBefore(0), State::kClosed);
  box.breaker.Open(box.now);
  box.breaker.HalfOpen();
  box.breaker.Open(box.now);
  box.breaker.Close(box.now);
  EXPECT_EQ(box.breaker.generation(), Generation(4));
  EXPECT_EQ(box.breaker.StateBefore(0), State::kClosed);
  EXPECT_EQ(box.breaker.StateBefore(1), State::kOpen);
  EXPECT_EQ(box.breaker.StateBefore(2), State::kHalfOpen);
  EXPECT_EQ(box.breaker.StateBefore(3), State::kOpen);
  EXPECT_EQ(box.breaker.StateBefore(4), State::kClosed);
  for (uint32_t i = 0; i < 100; ++i) {
    box.breaker.Open(box.now);
    box.breaker.HalfOpen();
    for (uint32_t age = 0; age < kHistoryMax; ++age) {
      if (age > 2 * i + 1) break;
      EXPECT_EQ(box.breaker.StateBefore(age), age % 2 == 0 ? State::kHalfOpen : State::kOpen);
    }
  }
  EXPECT_EQ(box.breaker.generation(), Generation(204));
}

TEST(BreakerGenerations, PeriodsWrapAfter30Bits) {
  for (const uint32_t wrap : {1U << 14, 1U << 16, 1U << 30, 1U << 31, 3U << 30, 0U}) {
    for (uint32_t before = 1; before <= 4; ++before) {
      SCOPED_TRACE(testing::Message() << wrap << " - " << before);
      BreakerBox box(TwoInARow());
      box.StartAt(wrap - before);
      EXPECT_EQ(box.breaker.period(), MakePeriod(Generation(wrap - before), State::kClosed));
      for (uint32_t life = 0; life < 3; ++life) {
        const Admission early = box.Admit();
        EXPECT_TRUE(box.CallAndFail());
        EXPECT_TRUE(box.CallAndFail());
        EXPECT_EQ(box.state(), State::kOpen);
        EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
        PassReset(box);
        EXPECT_FALSE(box.Succeed(early));
        EXPECT_EQ(box.state(), State::kHalfOpen);
        EXPECT_TRUE(box.CallAndSucceed());
        EXPECT_EQ(box.state(), State::kClosed);
        EXPECT_EQ(box.breaker.generation(), Generation(wrap - before + 3 * (life + 1)));
        EXPECT_EQ(box.breaker.StateBefore(2), State::kOpen);
      }
    }
  }
}

// ---- By hand -----------------------------------------------------------------------------------

TEST(BreakerByHand, OpenCloseHalfOpenFromEveryState) {
  for (const State from : {State::kClosed, State::kOpen, State::kHalfOpen}) {
    for (const State to : {State::kClosed, State::kOpen, State::kHalfOpen}) {
      BreakerBox box(TwoInARow());
      const auto go = [&box](State state) {
        if (state == State::kOpen) return box.breaker.Open(box.now);
        return state == State::kClosed ? box.breaker.Close(box.now) : box.breaker.HalfOpen();
      };
      EXPECT_EQ(go(from), from != State::kClosed);
      EXPECT_EQ(go(to), from != to) << from << " to " << to;
      EXPECT_EQ(box.state(), to);
      EXPECT_FALSE(go(to));
    }
  }
}

TEST(BreakerByHand, OpenedItReopensByItself) {
  BreakerBox box(TwoInARow());
  box.breaker.Open(box.now);
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
  PassReset(box);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerByHand, AnOpenCircuitRecordsButDoesNotTrip) {
  BreakerBox box(TwoInARow());
  box.breaker.Open(box.now);
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(box.breaker.Record({true, false, kMs, box.breaker.period()}, box.now));
  }
  EXPECT_EQ(box.Sum(Counter::kFailures), 5u);
}

TEST(BreakerByHand, Rotate) {
  BreakerConfig config = ErrorsAbove(50);
  config.bucket_length = 0;
  config.buckets = 3;
  BreakerBox box(config);
  box.Add(Counter::kFires, 4);
  box.now += 3600 * kSecond;
  EXPECT_EQ(box.Sum(Counter::kFires), 4u) << "time alone rotates nothing";
  box.breaker.Rotate();
  box.breaker.Rotate();
  EXPECT_EQ(box.breaker.EpochAt(box.now), Epoch(2));
  EXPECT_EQ(box.Sum(Counter::kFires), 4u);
  box.breaker.Rotate();
  EXPECT_EQ(box.Sum(Counter::kFires), 0u);
}

}  // namespace
}  // namespace sekering

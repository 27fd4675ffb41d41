// What time does to a breaker: growing resets, ramps and warm-up.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/breaker.h"
#include "core/words.h"
#include "support/breaker_box.h"

namespace sekering {
namespace {

/// How long the breaker stays open when it trips now.
Micros OpenLength(BreakerBox& box, Micros reset_min = 0) {
  EXPECT_TRUE(box.breaker.Trip(box.breaker.period(), reset_min, box.now));
  return box.breaker.OpenFor(box.now);
}

BreakerConfig Growing(Micros initial, double factor, Micros max) {
  BreakerConfig config;
  config.reset_initial = initial;
  config.reset_factor = factor;
  config.reset_max = max;
  return config;
}

TEST(BreakerReset, GrowsUntilItsCapAndStartsAnewAfterClosing) {
  BreakerBox box(Growing(kSecond, 2, 10 * kSecond));
  for (int life = 0; life < 2; ++life) {
    for (const Micros expected : {1, 2, 4, 8, 10, 10, 10}) {
      EXPECT_EQ(OpenLength(box), expected * kSecond);
      PassReset(box);
      EXPECT_EQ(box.state(), State::kHalfOpen);
    }
    EXPECT_TRUE(box.CallAndSucceed());
    EXPECT_EQ(box.state(), State::kClosed);
  }
}

TEST(BreakerReset, AFailedProbeIsATripInARow) {
  BreakerBox box(Growing(kSecond, 3, kNever));
  box.breaker.Open(box.now);
  PassReset(box);
  EXPECT_TRUE(box.Fail(box.Admit()));
  EXPECT_EQ(box.breaker.OpenFor(box.now), 3 * kSecond);
}

TEST(BreakerReset, FactorOneStays) {
  BreakerBox box(Growing(kSecond, 1, kSecond));
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(OpenLength(box), kSecond);
    box.breaker.HalfOpen();
  }
}

TEST(BreakerReset, WithoutProbesItClosesAndCountsAnew) {
  BreakerConfig config;
  config.rules.failure_count = 3;
  config.bucket_length = kSecond;
  config.reset_initial = config.reset_max = 2 * kSecond;  // The window is longer.
  config.success_threshold = 0;
  BreakerBox box(config);
  const auto fail_three_times = [&] {
    for (const bool trips : {false, false, true}) {
      const Admission call = box.Admit();
      ASSERT_TRUE(call.admitted);
      EXPECT_EQ(box.Fail(call), trips);
    }
    EXPECT_EQ(box.state(), State::kOpen);
  };
  fail_three_times();
  box.now += 2 * kSecond - 1;
  EXPECT_FALSE(box.breaker.Poll(box.now));
  EXPECT_FALSE(box.Admit().admitted);
  box.now += 1;
  EXPECT_TRUE(box.breaker.Poll(box.now));
  EXPECT_EQ(box.state(), State::kClosed);
  fail_three_times();
  box.now += 2 * kSecond;
  fail_three_times();  // The first call closes it.
}

TEST(BreakerReset, WithoutProbesItRampsUp) {
  BreakerConfig config;
  config.success_threshold = 0;
  config.ramp_up = kSecond;
  BreakerBox box(config);
  box.breaker.Open(box.now);
  PassReset(box);
  EXPECT_EQ(box.state(), State::kRamping);
}

TEST(BreakerReset, FractionsOfAFactor) {
  BreakerBox box(Growing(1000, 1.5, kNever));
  for (const Micros expected : {1000, 1500, 2250, 3375, 5062}) {
    EXPECT_EQ(OpenLength(box), expected);
    box.breaker.HalfOpen();
  }
}

TEST(BreakerReset, GrowthDoesNotOverflow) {
  for (const double factor : {1.01, 2.0, 10.0, 1e10, 1e300}) {
    BreakerBox box(Growing(kSecond, factor, 3600 * kSecond));
    Micros before = 0;
    for (int i = 0; i < 10'000; ++i) {
      const Micros length = OpenLength(box);
      ASSERT_GE(length, before);
      ASSERT_LE(length, 3600 * kSecond);
      before = length;
      box.breaker.HalfOpen();
    }
    EXPECT_EQ(before, 3600 * kSecond);
  }
}

TEST(BreakerReset, ACapBelowTheStart) {
  BreakerBox box(Growing(10 * kSecond, 2, kSecond));
  EXPECT_EQ(OpenLength(box), kSecond);
}

TEST(BreakerReset, NoWaitAtAll) {
  for (const double factor : {1.0, 2.0, 1e10}) {
    BreakerBox box(Growing(0, factor, kSecond));
    for (int i = 0; i < 2000; ++i) {
      ASSERT_EQ(OpenLength(box), 0);
      ASSERT_TRUE(box.Admit().admitted);
      ASSERT_EQ(box.state(), State::kHalfOpen);
    }
  }
}

TEST(BreakerReset, RetryAfterLengthensAndNeverShortens) {
  BreakerBox box(Growing(10 * kSecond, 1, 10 * kSecond));
  EXPECT_EQ(OpenLength(box, kSecond), 10 * kSecond);
  box.breaker.HalfOpen();
  EXPECT_EQ(OpenLength(box, 60 * kSecond), 60 * kSecond) << "beyond the cap too";
  box.now += 60 * kSecond - 1;
  EXPECT_FALSE(box.breaker.Poll(box.now));
  box.now += 1;
  EXPECT_TRUE(box.breaker.Poll(box.now));
  EXPECT_EQ(OpenLength(box), 10 * kSecond) << "of that one time only";
}

TEST(BreakerReset, Never) {
  for (const Micros start : {Micros{0}, BreakerBox::kStart, kNever}) {
    BreakerBox box(Growing(kNever, 1, kNever), start);
    EXPECT_EQ(OpenLength(box), kNever);
    for (const Micros now : {start, kSecond, Micros{1} << 48, kNever - 1, kNever}) {
      EXPECT_FALSE(box.breaker.Poll(now));
      EXPECT_EQ(box.breaker.OpenFor(now), kNever);
    }
    EXPECT_TRUE(box.breaker.Close(box.now));
    EXPECT_EQ(OpenLength(box, kNever), kNever);
  }
}

TEST(BreakerReset, AClockThatGoesBackWaitsForTheSameMoment) {
  BreakerBox box(TwoInARow());
  EXPECT_EQ(OpenLength(box), kSecond);
  box.now -= 100 * kSecond;
  EXPECT_EQ(box.breaker.OpenFor(box.now), 101 * kSecond);
  EXPECT_FALSE(box.breaker.Poll(box.now));
  box.now += 101 * kSecond;
  EXPECT_TRUE(box.breaker.Poll(box.now));
}

TEST(BreakerReset, WhoOpenedItMayDieBeforeSayingForHowLong) {
  // The state says open, and the time of the next try is of an earlier generation, or none.
  BreakerBox box(TwoInARow());
  for (const uint32_t generation : {1U, 2U, 65537U}) {
    box.memory().state.store(
        StateWord(Generation(generation), static_cast<uint32_t>(State::kOpen)));
    box.memory().reopen.store(generation == 65537 ? uint64_t{7} << 48 : 0);
    EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
    box.now += kSecond;
    EXPECT_TRUE(box.breaker.Poll(box.now)) << generation;
  }
}

// ---- Ramp --------------------------------------------------------------------------------------

BreakerConfig RampingUpFor(Micros ramp_up) {
  BreakerConfig config = TwoInARow();
  config.ramp_up = ramp_up;
  return config;
}

struct RampingBox : BreakerBox {
  explicit RampingBox(Micros ramp_up) : BreakerBox(RampingUpFor(ramp_up)) {
    breaker.HalfOpen();
    EXPECT_TRUE(CallAndSucceed());
    EXPECT_EQ(state(), State::kRamping);
  }
};

TEST(BreakerRamp, TheShareGrowsFromATenthToAll) {
  RampingBox box(10 * kSecond);
  const Micros begin = box.now;
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int percent = 0; percent < 100; ++percent) {
    box.now = begin + percent * 100 * kMs;
    const double share = std::max(percent / 100.0, 0.1);
    EXPECT_TRUE(box.Admit(std::nextafter(share, 0)).admitted) << percent;
    EXPECT_FALSE(box.Admit(std::nextafter(share, 1)).admitted) << percent;
    int admitted = 0;
    for (int i = 0; i < 2000; ++i) admitted += box.Admit(uniform(random)).admitted;
    EXPECT_NEAR(admitted / 2000.0, share, 0.06);
  }
  EXPECT_EQ(box.state(), State::kRamping);
}

TEST(BreakerRamp, EndsByItself) {
  RampingBox box(10 * kSecond);
  box.now += 10 * kSecond - 1;
  EXPECT_FALSE(box.Admit(0.9999999999).admitted);
  EXPECT_EQ(box.state(), State::kRamping);
  box.now += 1;
  const Admission call = box.Admit(0.9999999999);
  EXPECT_TRUE(call.admitted);
  EXPECT_EQ(call.probe, kNoProbe);
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_EQ(call.period, box.breaker.period());
}

TEST(BreakerRamp, WhatIsAdmittedIsAnOrdinaryCall) {
  RampingBox box(10 * kSecond);
  const Admission call = box.Admit(0.05);
  EXPECT_EQ(call.probe, kNoProbe);
  EXPECT_EQ(StateOf(call.period), State::kRamping);
  EXPECT_FALSE(box.breaker.HasFreeProbe(box.now));
  EXPECT_FALSE(box.Fail(call));
  EXPECT_TRUE(box.Fail(box.Admit(0.05))) << "the rules hold";
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerRamp, ACallOfTheRampChangesNothingAfterIt) {
  RampingBox box(10 * kSecond);
  const Admission one = box.Admit(0.05);
  const Admission two = box.Admit(0.05);
  box.now += 10 * kSecond;
  EXPECT_TRUE(box.Admit(0.5).admitted);
  EXPECT_FALSE(box.Fail(one));
  EXPECT_FALSE(box.Fail(two));
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerRamp, FromEveryWayOfClosing) {
  BreakerBox box(RampingUpFor(kSecond));
  box.breaker.Open(box.now);
  EXPECT_TRUE(box.breaker.Close(box.now));
  EXPECT_EQ(box.state(), State::kRamping);
  EXPECT_FALSE(box.breaker.Close(box.now)) << "it is closed";
  EXPECT_TRUE(box.breaker.Open(box.now));
  EXPECT_TRUE(box.breaker.HalfOpen());
  EXPECT_TRUE(box.breaker.Close(box.now));
  EXPECT_EQ(box.state(), State::kRamping);
  EXPECT_TRUE(box.breaker.HalfOpen());
  EXPECT_EQ(box.state(), State::kHalfOpen);
}

TEST(BreakerRamp, BeginsAnewEachTime) {
  RampingBox box(10 * kSecond);
  box.now += 9 * kSecond;
  EXPECT_TRUE(box.Admit(0.85).admitted);
  box.breaker.Open(box.now);
  box.breaker.Close(box.now);
  EXPECT_FALSE(box.Admit(0.85).admitted);
  EXPECT_TRUE(box.Admit(0.05).admitted);
}

TEST(BreakerRamp, AClockThatGoesBackAdmitsATenth) {
  RampingBox box(10 * kSecond);
  box.now -= 30 * kSecond;
  EXPECT_TRUE(box.Admit(0.0999).admitted);
  EXPECT_FALSE(box.Admit(0.1001).admitted);
}

TEST(BreakerRamp, WithoutABeginningItIsOver) {
  // Whoever closed the circuit wrote when before; what is there instead is of another generation.
  RampingBox box(10 * kSecond);
  box.memory().ramp.store(uint64_t{7} << 48);
  EXPECT_TRUE(box.Admit(0.99).admitted);
  EXPECT_EQ(box.state(), State::kClosed);
}

// ---- Warm-up -----------------------------------------------------------------------------------

TEST(BreakerWarmUp, FailuresDoNotTripUntilItIsOver) {
  BreakerConfig config = TwoInARow();
  config.warm_up = 10 * kSecond;
  BreakerBox box(config);
  EXPECT_TRUE(box.breaker.Warming(box.now));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(box.CallAndFail());
  box.now += 10 * kSecond - 1;
  EXPECT_TRUE(box.breaker.Warming(box.now));
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
  box.now += 1;
  EXPECT_FALSE(box.breaker.Warming(box.now));
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerWarmUp, AFailedProbeOpensDuringIt) {
  BreakerConfig config = TwoInARow();
  config.warm_up = 10 * kSecond;
  BreakerBox box(config);
  box.breaker.HalfOpen();
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerWarmUp, NoneAndEndless) {
  BreakerBox none(TwoInARow());
  EXPECT_FALSE(none.breaker.Warming(none.now));
  EXPECT_FALSE(none.breaker.Warming(none.now - kSecond));
  BreakerConfig config = TwoInARow();
  config.warm_up = kNever;
  BreakerBox endless(config);
  EXPECT_TRUE(endless.breaker.Warming(kNever - 1));
}

}  // namespace
}  // namespace sekering

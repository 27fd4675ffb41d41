// What a breaker keeps: counts by time, latencies, and what Forget and Clear leave of them.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/breaker.h"
#include "support/breaker_box.h"

namespace sekering {
namespace {

BreakerConfig RampingUp(Micros ramp_up) {
  BreakerConfig config = TwoInARow();
  config.ramp_up = ramp_up;
  return config;
}

// ---- The window's time -------------------------------------------------------------------------

TEST(BreakerEpoch, StartsWithTheBreaker) {
  BreakerBox box(TwoInARow());
  EXPECT_EQ(box.breaker.EpochAt(box.now), Epoch(0));
  EXPECT_EQ(box.breaker.EpochAt(box.now + kSecond - 1), Epoch(0));
  EXPECT_EQ(box.breaker.EpochAt(box.now + kSecond), Epoch(1));
  EXPECT_EQ(box.breaker.EpochAt(box.now - 1), Epoch(0)) << "a clock that goes back";
  EXPECT_EQ(box.breaker.EpochAt(0), Epoch(0));
}

TEST(BreakerEpoch, WrapsWithItsCounts) {
  BreakerConfig config;
  config.rules.error_threshold_percentage = 50;
  config.bucket_length = kMs;
  config.buckets = 8;
  BreakerBox box(config);
  box.now += (Micros{1} << 32) * kMs - 4 * kMs;
  EXPECT_EQ(box.breaker.EpochAt(box.now), Epoch(UINT32_MAX - 3));
  for (int i = 0; i < 20; ++i) {
    box.CallAndSucceed();
    box.CallAndFail();
    EXPECT_EQ(box.Sum(Counter::kFires), 2u * std::min(i + 1, 8));
    EXPECT_EQ(box.state(), State::kClosed);
    box.now += kMs;
  }
  EXPECT_EQ(box.breaker.EpochAt(box.now), Epoch(16));
}

TEST(BreakerEpoch, TimesAtTheEndsOfTheirRange) {
  for (const Micros start : {Micros{0}, kNever / 2, kNever}) {
    for (const Micros length : {Micros{1}, kSecond, kNever}) {
      BreakerConfig config = RampingUp(kSecond);
      config.bucket_length = length;
      config.warm_up = kSecond;
      BreakerBox box(config, start);
      for (const Micros now : {start, Micros{0}, kNever, Micros{1}, kNever - 1}) {
        box.now = now;
        box.Call(true, 0.05);
        box.Call(false, 0.05);
        box.breaker.Poll(now);
        box.breaker.Open(now);
        EXPECT_GE(box.breaker.OpenFor(now), 0);
        box.breaker.Close(now);
        EXPECT_TRUE(box.Admit(0.05).admitted);
        box.breaker.Warming(now);
      }
    }
  }
}

TEST(BreakerLatency, IsRoundedToMilliseconds) {
  BreakerBox box(TwoInARow());
  const auto recorded = [&box](Micros latency, bool timed_out) {
    box.breaker.Forget();
    box.breaker.Record({timed_out, timed_out, latency, box.breaker.period()}, box.now);
    std::array<LatencyCount, kLatencyCells> out;
    EXPECT_EQ(box.breaker.window().Latencies(box.breaker.EpochAt(box.now), out), 1u);
    return std::pair(out[0].latency.value(), out[0].count);
  };
  EXPECT_EQ(recorded(499, false), std::pair(0U, uint64_t{1}));
  EXPECT_EQ(recorded(500, false), std::pair(1U, uint64_t{1}));
  EXPECT_EQ(recorded(42'499, false), std::pair(42U, uint64_t{1}));
  EXPECT_EQ(recorded(-5, false), std::pair(0U, uint64_t{1}));
  EXPECT_EQ(recorded(kNever, false).first, LatencyOfCell(kLatencyCells - 1).value());
  EXPECT_EQ(recorded(10 * kMs, true), std::pair(10U, uint64_t{2})) << "as timeout and as failure";
}

TEST(BreakerLatency, NoneWithoutPercentiles) {
  BreakerConfig config = TwoInARow();
  config.percentiles = false;
  BreakerBox box(config);
  box.CallAndSucceed();
  std::array<LatencyCount, kLatencyCells> out;
  EXPECT_EQ(box.breaker.window().Latencies(box.breaker.EpochAt(box.now), out), 0u);
}

// ---- Forget and Clear --------------------------------------------------------------------------

BreakerConfig Everything() {
  BreakerConfig config = RampingUp(kSecond);
  config.rules.error_threshold_percentage = 50;
  config.rules.failure_count = 3;
  config.rules.sliding_window_size = 10;
  config.rules.minimum_calls = 3;
  config.reset_factor = 2;
  config.reset_max = kNever;
  config.half_open_probes = kProbesMax;
  return config;
}

void UseEverything(BreakerBox& box) {
  for (int i = 0; i < 200; ++i) {
    box.now += (i % 7) * 300 * kMs;
    box.breaker.Rotate();
    box.Call(i % 3 != 0, 0.05);
    box.breaker.AddLatency(Millis(1U << (i % 23)), box.epoch(), Count(1));
  }
  box.breaker.HalfOpen();
  for (int i = 0; i < 20; ++i) box.Admit();
}

TEST(BreakerMemory, ClearLeavesZeroesAndANewBreaker) {
  BreakerBox box(Everything());
  UseEverything(box);
  EXPECT_FALSE(box.AllZero());
  box.breaker.Clear();
  EXPECT_TRUE(box.AllZero());
  box.breaker.Initialize(box.now);
  EXPECT_EQ(box.breaker.generation(), Generation(0));
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_EQ(box.Sum(Counter::kFires), 0u);
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerMemory, ForgetForgetsWhatWasCountedAndKeepsTheState) {
  BreakerBox box(Everything());
  UseEverything(box);
  const Period period = box.breaker.period();
  box.breaker.Forget();
  EXPECT_EQ(box.breaker.period(), period);
  for (uint32_t i = 0; i < kCounters; ++i) EXPECT_EQ(box.Sum(static_cast<Counter>(i)), 0u);
  box.breaker.Open(box.now);
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond) << "the first trip in a row";
}

TEST(BreakerMemory, ForgottenFailuresTripNothing) {
  for (int rule = 0; rule < 4; ++rule) {
    BreakerConfig config;
    if (rule == 0) config.rules.consecutive_failures = 3;
    if (rule == 1) config.rules.failure_count = 3;
    if (rule >= 2) config.rules.error_threshold_percentage = 50;
    if (rule == 2) config.rules.volume_threshold = 3;
    if (rule == 3) config.rules.sliding_window_size = config.rules.minimum_calls = 3;
    BreakerBox box(config);
    box.now += 5 * kSecond;
    for (int round = 0; round < 3; ++round) {
      EXPECT_TRUE(box.CallAndFail());
      EXPECT_TRUE(box.CallAndFail());
      EXPECT_EQ(box.state(), State::kClosed) << "rule " << rule << ", round " << round;
      box.breaker.Forget();
    }
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(box.CallAndFail());
    EXPECT_EQ(box.state(), State::kOpen) << "rule " << rule;
  }
}

TEST(BreakerMemory, TwoViewsOfOneBreaker) {
  const BreakerConfig config = TwoInARow();
  BreakerBox box(config);
  Breaker other(config, box.hot.data(), box.cold.data());
  EXPECT_TRUE(box.CallAndFail());
  const Outcome failure{true, false, kMs, other.period()};
  EXPECT_TRUE(other.Record(failure, box.now));
  EXPECT_TRUE(other.Trip(failure.period, 0, box.now));
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
}

}  // namespace
}  // namespace sekering

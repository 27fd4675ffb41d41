// Who may probe a half-open circuit, for how long, and what comes of it.

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "core/breaker.h"
#include "support/breaker_box.h"

namespace sekering {
namespace {

constexpr Micros kLease = 5 * kSecond;

BreakerConfig Probes(uint32_t at_once, uint32_t threshold) {
  BreakerConfig config = TwoInARow();
  config.half_open_probes = at_once;
  config.success_threshold = threshold;
  return config;
}

/// A breaker that has just become half-open.
struct HalfOpenBox : BreakerBox {
  HalfOpenBox(uint32_t at_once, uint32_t threshold) : BreakerBox(Probes(at_once, threshold)) {
    breaker.HalfOpen();
  }
};

TEST(BreakerProbes, AsManyAtOnceAsAllowed) {
  for (uint32_t allowed = 1; allowed <= kProbesMax; ++allowed) {
    HalfOpenBox box(allowed, 100);
    std::set<Probe> probes;
    for (uint32_t i = 0; i < allowed; ++i) {
      EXPECT_TRUE(box.breaker.HasFreeProbe(box.now));
      const Admission probe = box.Admit();
      EXPECT_TRUE(probe.admitted);
      EXPECT_NE(probe.probe, kNoProbe);
      probes.insert(probe.probe);
    }
    EXPECT_EQ(probes.size(), allowed);
    EXPECT_FALSE(box.breaker.HasFreeProbe(box.now));
    const Admission refused = box.Admit();
    EXPECT_FALSE(refused.admitted);
    EXPECT_EQ(refused.probe, kNoProbe);
    EXPECT_EQ(StateOf(refused.period), State::kHalfOpen);
  }
}

TEST(BreakerProbes, SuccessThreshold) {
  HalfOpenBox box(1, 3);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.state(), State::kHalfOpen);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerProbes, SuccessesOfAnEarlierHalfOpenPeriodDoNotCount) {
  HalfOpenBox box(1, 2);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_TRUE(box.CallAndFail());
  EXPECT_EQ(box.state(), State::kOpen);
  PassReset(box);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.state(), State::kHalfOpen);
  EXPECT_TRUE(box.CallAndSucceed());
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerProbes, OneFailureOfSeveralOpens) {
  HalfOpenBox box(3, 3);
  const Admission one = box.Admit();
  const Admission two = box.Admit();
  const Admission three = box.Admit();
  EXPECT_FALSE(box.Succeed(one));
  EXPECT_TRUE(box.Fail(two));
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_FALSE(box.Fail(three)) << "it is open by now";
  EXPECT_EQ(box.breaker.generation(), Generation(2));
}

TEST(BreakerProbes, SuccessesBeyondTheThresholdChangeNothing) {
  HalfOpenBox box(3, 1);
  const Admission one = box.Admit();
  const Admission two = box.Admit();
  EXPECT_FALSE(box.Succeed(one));
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_FALSE(box.Succeed(two));
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_EQ(box.breaker.generation(), Generation(2));
}

TEST(BreakerProbes, ALateFailureOfAnotherProbeDoesNotOpenTheClosedCircuit) {
  HalfOpenBox box(2, 1);
  const Admission one = box.Admit();
  const Admission two = box.Admit();
  EXPECT_FALSE(box.Succeed(one));
  EXPECT_FALSE(box.Fail(two));
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerProbes, ALeaseExpires) {
  HalfOpenBox box(1, 1);
  EXPECT_TRUE(box.Admit().admitted);
  box.now += kLease - 1;
  EXPECT_FALSE(box.breaker.HasFreeProbe(box.now));
  EXPECT_FALSE(box.Admit().admitted);
  box.now += 1 + kMs;  // A lease ends with a whole millisecond.
  EXPECT_TRUE(box.breaker.HasFreeProbe(box.now));
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_FALSE(box.Admit().admitted) << "the new lease holds";
}

TEST(BreakerProbes, ASlowProbeStillDecides) {
  for (const bool fails : {false, true}) {
    HalfOpenBox box(1, 1);
    const Admission slow = box.Admit();
    box.now += 10 * kLease;
    if (fails) {
      EXPECT_TRUE(box.Fail(slow));
      EXPECT_EQ(box.state(), State::kOpen);
    } else {
      EXPECT_FALSE(box.Succeed(slow));
      EXPECT_EQ(box.state(), State::kClosed);
    }
  }
}

TEST(BreakerProbes, AnAbandonedProbeIsFreeAgain) {
  HalfOpenBox box(2, 2);
  const Admission one = box.Admit();
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_FALSE(box.Admit().admitted);
  box.breaker.Abandon(one.period, one.probe);
  EXPECT_EQ(box.state(), State::kHalfOpen);
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_FALSE(box.Admit().admitted);
}

TEST(BreakerProbes, WhoLostItsLeaseDoesNotGiveBackTheNext) {
  // The second probe has taken over an expired lease; the first, late, must not free it, or three
  // would probe where one may.
  for (const bool succeeds : {false, true}) {
    HalfOpenBox box(1, 2);
    const Admission slow = box.Admit();
    box.now += kLease + kMs;
    EXPECT_TRUE(box.Admit().admitted);
    if (succeeds) {
      EXPECT_FALSE(box.Succeed(slow));
    } else {
      box.breaker.Abandon(slow.period, slow.probe);
    }
    EXPECT_FALSE(box.breaker.HasFreeProbe(box.now));
    EXPECT_FALSE(box.Admit().admitted);
  }
}

TEST(BreakerProbes, AbandoningWhatIsNotOursChangesNothing) {
  HalfOpenBox box(1, 1);
  const Admission probe = box.Admit();
  box.breaker.Abandon(probe.period, kNoProbe);
  box.breaker.Abandon(Period(probe.period.value() - 4), probe.probe);
  box.breaker.Abandon(Period(probe.period.value() + 4), probe.probe);
  EXPECT_FALSE(box.Admit().admitted);
  EXPECT_FALSE(box.Succeed(probe));
  EXPECT_EQ(box.state(), State::kClosed);
  box.breaker.Abandon(probe.period, probe.probe);
  EXPECT_TRUE(box.CallAndSucceed());
}

TEST(BreakerProbes, LeasesOfAnEarlierHalfOpenPeriod) {
  HalfOpenBox box(2, 2);
  const Admission lost = box.Admit();
  EXPECT_TRUE(box.Fail(box.Admit()));
  PassReset(box);
  ASSERT_EQ(box.state(), State::kHalfOpen);
  const Admission one = box.Admit();
  EXPECT_TRUE(one.admitted) << "a lease of before keeps nobody out";
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_FALSE(box.Admit().admitted);
  box.breaker.Abandon(lost.period, lost.probe);
  EXPECT_FALSE(box.Admit().admitted) << "nor does giving it back let one more in";
  EXPECT_FALSE(box.Succeed(lost));
  EXPECT_FALSE(box.Admit().admitted);
  EXPECT_FALSE(box.Succeed(one));
  EXPECT_EQ(box.state(), State::kHalfOpen) << "one success of two; the old one does not count";
}

TEST(BreakerProbes, ASlowSuccessIsASuccess) {
  BreakerConfig config = Probes(1, 1);
  config.slow_call = 10 * kMs;
  config.rules.slow_call_threshold_percentage = 1;
  BreakerBox box(config);
  box.breaker.HalfOpen();
  EXPECT_FALSE(box.Succeed(box.Admit(), 20 * kMs));
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerProbes, ATimedOutProbeOpens) {
  HalfOpenBox box(1, 1);
  const Admission probe = box.Admit();
  EXPECT_TRUE(box.Settle({true, true, kSecond, probe.period, probe.probe}, 0));
  EXPECT_EQ(box.state(), State::kOpen);
  EXPECT_EQ(box.Sum(Counter::kTimeouts), 1u);
  EXPECT_EQ(box.Sum(Counter::kFailures), 1u);
}

TEST(BreakerProbes, EveryParticipantMayHoldOne) {
  HalfOpenBox box(4, 4);
  for (const uint32_t participant : {0U, 1U, 512U, 1023U}) {
    EXPECT_TRUE(box.breaker.Admit(box.now, 0.5, Participant(participant)).admitted);
  }
  EXPECT_FALSE(box.breaker.Admit(box.now, 0.5, Participant(7)).admitted);
}

TEST(BreakerProbes, LeasesAtTheEndsOfTime) {
  for (const Micros lease : {Micros{0}, Micros{1}, 999 * Micros{1}, kNever}) {
    for (const Micros start : {Micros{0}, Micros{1}, kSecond, kNever / 2}) {
      BreakerConfig config = Probes(1, 1);
      config.probe_lease = lease;
      BreakerBox box(config, start);
      box.breaker.HalfOpen();
      EXPECT_TRUE(box.Admit().admitted);
      // A clock of 2^40 ms is past every deadline, and leases expire at once.
      EXPECT_EQ(box.Admit().admitted, start > kSecond) << lease << " from " << start;
      if (lease == kNever) continue;
      box.now = Later(start, lease + kMs);
      EXPECT_TRUE(box.Admit().admitted) << lease << " from " << start;
    }
  }
}

TEST(BreakerProbes, AClockThatGoesBackKeepsALeaseNoLongerThanItsDeadline) {
  HalfOpenBox box(1, 1);
  EXPECT_TRUE(box.Admit().admitted);
  const Micros deadline = box.now + kLease;
  box.now -= 30 * kSecond;
  EXPECT_FALSE(box.Admit().admitted);
  box.now = deadline + kMs;
  EXPECT_TRUE(box.Admit().admitted);
}

}  // namespace
}  // namespace sekering

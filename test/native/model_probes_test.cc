// Every interleaving of participants that probe a half-open circuit, die, and are reaped.
//
// Faults that were put into the breaker to see them caught here: a lease that is taken without a
// look at the period between reading its word and swapping it (PeriodsChangeUnderneath), leases of
// the dead that are ended by a store (TwoReapers, ASuccessorInItsPlace).

#include <gtest/gtest.h>

#include "support/breaker_protocol.h"

namespace sekering {
namespace {

using enum Op;

TEST(ModelProbes, TwoRaceForOneLease) {
  for (const uint32_t threshold : {1u, 2u}) {
    BreakerConfig config = Protocol::Config();
    config.success_threshold = threshold;
    Protocol protocol(config, {{{kAdmit, kSucceed}}, {{kAdmit, kFail}}});
    protocol.BeginHalfOpen();
    protocol.Explore();
  }
}

TEST(ModelProbes, ThreeRaceForTwoLeases) {
  BreakerConfig config = Protocol::Config();
  config.half_open_probes = 2;
  config.success_threshold = 2;
  Protocol protocol(config, {{{kAdmit, kSucceed}}, {{kAdmit, kSucceed}}, {{kAdmit, kFail}}});
  protocol.BeginHalfOpen();
  protocol.Explore(3);
}

TEST(ModelProbes, LeasesExpire) {
  Protocol protocol(
      Protocol::Config(),
      {{{kAdmit, kAbandon, kAdmit, kSucceed}}, {{kAdmit, kSucceed}}, {{kTick, kTick}}});
  protocol.BeginHalfOpen();
  protocol.Explore(4);
}

/// From open to closed while time passes: every step is taken by one of them.
TEST(ModelProbes, TheWholeWayBack) {
  Protocol protocol(Protocol::Config(),
                    {{{kAdmit, kSucceed}}, {{kAdmit, kFail}}, {{kTick, kTick}}});
  protocol.breaker().Open(protocol.now());
  protocol.Explore(4);
}

TEST(ModelProbes, PeriodsChangeUnderneath) {
  Protocol protocol(Protocol::Config(),
                    {{{kAdmit, kSucceed}}, {{kAdmit, kSucceed, kOpen, kHalfOpen, kAdmit, kFail}}});
  protocol.BeginHalfOpen();
  protocol.Explore();
  // A late admission meets the lease of the next period, and a third one comes.
  Protocol three(
      Protocol::Config(),
      {{{kAdmit, kSucceed}}, {{kOpen, kHalfOpen, kAdmit, kSucceed}}, {{kAdmit, kSucceed}}});
  three.BeginHalfOpen();
  three.Explore(3);
}

/// As many successes as are asked for close the circuit, whoever was stopped meanwhile.
TEST(ModelProbes, NoSuccessIsLost) {
  BreakerConfig config = Protocol::Config();
  config.half_open_probes = 2;
  config.success_threshold = 2;
  Protocol protocol(config, {{{kAdmit, kSucceed}}, {{kAdmit, kSucceed}}});
  protocol.BeginHalfOpen();
  protocol.at_end = [&] { EXPECT_EQ(protocol.state(), State::kClosed); };
  protocol.Explore();
}

/// A success of an earlier half-open period takes none from the present one.
TEST(ModelProbes, AStaleSuccess) {
  BreakerConfig config = Protocol::Config();
  config.success_threshold = 2;
  Protocol protocol(
      config, {{{kAdmit, kSucceed}}, {{kOpen, kHalfOpen, kAdmit, kSucceed, kAdmit, kSucceed}}});
  protocol.BeginHalfOpen();
  protocol.at_end = [&] {
    if (protocol.breaker().generation() == Generation(4)) {
      EXPECT_EQ(protocol.breaker().HasFreeProbe(protocol.now()), true);
      EXPECT_NE(protocol.memory().probes_won.load() >> 32, 2u)
          << "an old success replaced a new one";
    }
  };
  protocol.Explore();
}

TEST(ModelDeath, OfAProbeThatIsReaped) {
  Protocol protocol(
      Protocol::Config(),
      {{{kAdmit, kFail}, -1, -1, true}, {{kAdmit, kSucceed}}, {{kReap, kAdmit, kSucceed}, -1, 0}});
  protocol.BeginHalfOpen();
  protocol.Explore();
}

TEST(ModelDeath, TwoReapers) {
  Protocol protocol(Protocol::Config(), {{{kAdmit, kFail}, -1, -1, true},
                                         {{kReap, kAdmit, kSucceed}, -1, 0},
                                         {{kReap, kAdmit, kFail}, -1, 0}});
  protocol.BeginHalfOpen();
  protocol.Explore();
}

/// The place of a dead participant is taken by another, which ends what it finds there. Time has
/// passed since (a process does not start within the same millisecond), so its lease is another.
TEST(ModelDeath, ASuccessorInItsPlace) {
  Protocol protocol(Protocol::Config(), {{{kAdmit, kFail}, -1, -1, true},
                                         {{kTick, kJoin, kAdmit, kSucceed}, 0, 0},
                                         {{kReap}, -1, 0},
                                         {{kAdmit, kSucceed}}});
  protocol.tick = 1'000;
  protocol.BeginHalfOpen();
  protocol.Explore(3);
}

TEST(ModelDeath, WhileItTrips) {
  BreakerConfig config = Protocol::Config();
  config.rules.consecutive_failures = 1;
  Protocol protocol(config, {{{kAdmit, kFail}, -1, -1, true},
                             {{kAdmit, kSucceed}},
                             {{kTick, kTick, kReap, kAdmit, kSucceed}, -1, 0}});
  protocol.Explore(4);
}

TEST(ModelDeath, WhileItCloses) {
  BreakerConfig config = Protocol::Config();
  config.ramp_up = 8'000;
  config.rules.failure_count = 1;
  Protocol protocol(config, {{{kAdmit, kSucceed}, -1, -1, true},
                             {{kReap, kAdmit, kSucceed, kTick, kTick, kAdmit, kSucceed}, -1, 0},
                             {{kAdmit, kFail}}});
  protocol.BeginHalfOpen();
  protocol.Explore();
}

}  // namespace
}  // namespace sekering

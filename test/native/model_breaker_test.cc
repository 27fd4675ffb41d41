// Every interleaving of participants that trip, open and close one breaker and let it recover.
//
// In each state that can be reached the protocol's checks look at holders, and let everybody stop
// for ever to see a newcomer bring the circuit to closed (support/breaker_protocol.h).
//
// Faults that were put into the breaker to see them caught here: the time of the next try stored
// before the swap to open (FromAllSides, AgainstATrip), a bucket that is cleared before it is added
// to (ModelWindow, ModelTrip), notes of a closing stored after it without a look at the period
// (NotesOfAnOldClosing), witnesses noted after the others are counted (ByWitnesses).

#include <gtest/gtest.h>

#include "support/breaker_protocol.h"

namespace sekering {
namespace {

using enum Op;

/// Everybody calls once and fails.
std::vector<Program> Failing(int participants) {
  return std::vector<Program>(static_cast<size_t>(participants), {{kFire, kAdmit, kFail}});
}

void ExpectOneTrip(const BreakerConfig& config, std::vector<Program> programs,
                   uint32_t interruptions_max = kAnyNumber) {
  Protocol protocol(config, std::move(programs));
  protocol.at_end = [&] {
    EXPECT_EQ(protocol.state(), State::kOpen) << "nobody tripped";
    EXPECT_EQ(protocol.breaker().generation(), Generation(1));
  };
  protocol.Explore(interruptions_max);
}

TEST(ModelTrip, ByFailuresInARow) {
  BreakerConfig config = Protocol::Config();
  config.rules.consecutive_failures = 2;
  ExpectOneTrip(config, Failing(2));
  config.rules.consecutive_failures = 3;
  ExpectOneTrip(config, Failing(3), 3);
}

TEST(ModelTrip, ByVolume) {
  BreakerConfig config = Protocol::Config();
  config.rules.volume_threshold = 2;
  config.rules.error_threshold_percentage = 50;
  ExpectOneTrip(config, Failing(2));
  config.rules.volume_threshold = 3;
  ExpectOneTrip(config, Failing(3), 3);
}

TEST(ModelTrip, ByVolumeWhileABucketBegins) {
  BreakerConfig config = Protocol::Config();
  config.rules.volume_threshold = 2;
  config.rules.error_threshold_percentage = 50;
  config.bucket_length = 6'000;
  std::vector<Program> programs = Failing(2);
  programs.push_back({{kTick}});
  ExpectOneTrip(config, programs);
}

TEST(ModelTrip, ByLastCalls) {
  BreakerConfig config = Protocol::Config();
  config.rules.sliding_window_size = 4;
  config.rules.minimum_calls = 2;
  config.rules.error_threshold_percentage = 50;
  ExpectOneTrip(config, Failing(2));
}

TEST(ModelTrip, ByFailuresSinceClosed) {
  BreakerConfig config = Protocol::Config();
  config.rules.failure_count = 2;
  ExpectOneTrip(config, Failing(2));
}

TEST(ModelTrip, ByWitnesses) {
  BreakerConfig config = Protocol::Config();
  config.rules.failure_count = 2;
  config.trip_witnesses = 2;
  ExpectOneTrip(config, Failing(2));
}

TEST(ModelTrip, ByWitnessesWhileABucketBegins) {
  BreakerConfig config = Protocol::Config();
  config.rules.failure_count = 2;
  config.trip_witnesses = 2;
  config.bucket_length = 6'000;
  std::vector<Program> programs = Failing(2);
  programs.push_back({{kTick}});
  ExpectOneTrip(config, programs, 4);
}

/// A failure of the period before is no failure of this one, and takes none from it.
TEST(ModelTrip, AfterAStaleFailure) {
  BreakerConfig config = Protocol::Config();
  config.rules.consecutive_failures = 2;
  Protocol protocol(config, {{{kAdmit, kFail}}, {{kOpen, kClose, kAdmit, kFail, kAdmit, kFail}}});
  protocol.at_end = [&] {
    if (protocol.breaker().generation() != Generation(2)) return;
    ADD_FAILURE() << "two failures in a row, and nobody tripped";
  };
  protocol.Explore();
}

/// What belongs to a period is not overwritten by somebody who was stopped in an earlier one.
void ExpectPresentStamps(Protocol& protocol) {
  const Generation generation = protocol.breaker().generation();
  BreakerMemory& memory = protocol.memory();
  if (protocol.state() == State::kOpen) {
    EXPECT_TRUE(StampIsOf(memory.reopen.load(), generation));
  }
  if (protocol.state() == State::kRamping) {
    EXPECT_TRUE(StampIsOf(memory.ramp.load(), generation));
  }
}

TEST(ModelHand, FromAllSides) {
  BreakerConfig config = Protocol::Config();
  Protocol protocol(config, {{{kOpen, kClose}}, {{kHalfOpen, kOpen}}});
  protocol.at_end = [&] { ExpectPresentStamps(protocol); };
  protocol.Explore();
  Protocol three(config, {{{kOpen}}, {{kHalfOpen, kOpen}}, {{kClose}}});
  three.at_end = [&] { ExpectPresentStamps(three); };
  three.Explore(3);
}

TEST(ModelHand, AgainstATrip) {
  BreakerConfig config = Protocol::Config();
  config.rules.consecutive_failures = 1;
  Protocol protocol(config, {{{kAdmit, kFail}}, {{kOpen, kHalfOpen, kOpen}}});
  protocol.at_end = [&] { ExpectPresentStamps(protocol); };
  protocol.Explore();
}

TEST(ModelHand, AgainstARamp) {
  BreakerConfig config = Protocol::Config();
  config.ramp_up = 50'000;
  Protocol protocol(config, {{{kAdmit, kSucceed}}, {{kOpen, kClose}}, {{kTick}}});
  protocol.BeginHalfOpen();
  protocol.at_end = [&] { ExpectPresentStamps(protocol); };
  protocol.Explore();
}

/// An old closing's notes do not replace those of a later one: what failed before counts no more.
TEST(ModelHand, NotesOfAnOldClosing) {
  BreakerConfig config = Protocol::Config();
  config.rules.failure_count = 2;
  config.rules.sliding_window_size = 4;
  Protocol protocol(config, {{{kClose}}, {{kClose, kAdmit, kFail, kOpen, kClose}}});
  protocol.breaker().Open(protocol.now());
  protocol.at_end = [&] {
    ASSERT_EQ(protocol.state(), State::kClosed);
    EXPECT_EQ(static_cast<uint32_t>(protocol.memory().base.load()),
              protocol.Sum(Counter::kFailures));
    EXPECT_EQ(protocol.memory().last_since.load(), protocol.memory().last_position.load());
  };
  protocol.Explore();
}

TEST(ModelPoll, OneOfManyHalfOpens) {
  Protocol protocol(Protocol::Config(), {{{kPoll, kPoll}}, {{kPoll}}, {{kTick, kTick}}});
  protocol.breaker().Open(protocol.now());
  protocol.at_end = [&] { EXPECT_LE(protocol.breaker().generation(), Generation(2)); };
  protocol.Explore();
}

TEST(ModelPoll, OneOfManyCloses) {
  BreakerConfig config = Protocol::Config();
  config.success_threshold = 0;
  config.ramp_up = 50'000;
  Protocol protocol(config, {{{kPoll, kPoll}}, {{kAdmit}}, {{kTick, kTick}}});
  protocol.breaker().Open(protocol.now());
  protocol.at_end = [&] {
    EXPECT_NE(protocol.state(), State::kHalfOpen);
    ExpectPresentStamps(protocol);
  };
  protocol.Explore();
}

TEST(ModelPoll, WhileItTrips) {
  BreakerConfig config = Protocol::Config();
  config.rules.consecutive_failures = 1;
  Protocol protocol(config, {{{kAdmit, kFail}}, {{kAdmit, kSucceed}}, {{kTick, kTick}}});
  protocol.Explore(4);
}

TEST(ModelRepair, OneOfManyRepairsTheState) {
  Protocol protocol(Protocol::Config(), {{{kAdmit, kFail}}, {{kAdmit, kSucceed}}, {{kPoll}}});
  protocol.memory().state.store(0x1234567'89ABCDEF);
  protocol.at_end = [&] { EXPECT_EQ(protocol.breaker().repairs(), 1u); };
  protocol.Explore(4);
}

TEST(ModelWindow, NoCountIsLostWhenABucketBegins) {
  BreakerConfig config = Protocol::Config();
  config.bucket_length = 6'000;
  Protocol two(config, {{{kFire, kFire, kFire}}, {{kFire, kFire, kFire}}, {{kTick}}});
  two.at_end = [&] { EXPECT_EQ(two.Sum(Counter::kFires), 6u); };
  two.Explore();
  // Three buckets begin, of two: what is counted in the first two has left.
  Protocol three(config, {{{kFire, kFire}}, {{kFire}}, {{kFire}}, {{kTick}}});
  three.at_end = [&] { EXPECT_EQ(three.Sum(Counter::kFires), 4u); };
  three.Explore();
}

TEST(ModelWindow, NoCountIsLostWhenBucketsAreRotatedByHand) {
  BreakerConfig config = Protocol::Config();
  config.bucket_length = 0;
  Protocol protocol(config, {{{kFire, kFire}}, {{kFire, kFire}}, {{kRotate}}});
  protocol.at_end = [&] { EXPECT_EQ(protocol.Sum(Counter::kFires), 4u); };
  protocol.Explore();
}

TEST(ModelWindow, ACellOfAnOldLapIsTakenOverOnce) {
  BreakerConfig config = Protocol::Config();
  config.bucket_length = 6'000;
  Protocol protocol(config, {{{kFire, kFire}}, {{kFire, kFire}}});
  const Epoch old = protocol.breaker().EpochAt(protocol.now()) - 2;
  protocol.breaker().Add(Counter::kFires, old, Count(99));
  protocol.at_end = [&] { EXPECT_EQ(protocol.Sum(Counter::kFires), 4u); };
  protocol.Explore();
}

}  // namespace
}  // namespace sekering

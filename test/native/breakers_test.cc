#include "core/breakers.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "support/breaker_box.h"
#include "support/fake_memory.h"

namespace sekering {
namespace {

constexpr Micros kNow = 1000 * kSecond;

/// An environment: its breakers, and the arrays that JavaScript would own.
struct Environment {
  Environment() {
    breakers.AttachRing(&head, ring);
    breakers.AddPeriods(periods.data());
  }

  uint32_t Create(const BreakerConfig& config) { return breakers.Create(config, kNow).id; }
  BreakerHandle& operator[](uint32_t id) { return *breakers.Find(id, kNow); }
  State state(uint32_t id) const { return StateOf(Period(periods[id])); }

  void Record(uint32_t id, Counter counter) {
    ring[static_cast<size_t>(head++)] =
        id << Breakers::kCounterBits | static_cast<uint32_t>(counter);
  }
  void RecordSuccess(uint32_t id, uint32_t ticks) {
    Record(id, Counter::kSuccesses);
    ring[static_cast<size_t>(head++)] = ticks;
  }
  uint64_t CountOf(uint32_t id, Counter counter,
                   BreakerHandle::Whose whose = BreakerHandle::Whose::kAll) {
    (*this)[id].ReadWindow(whose, kNow, &stats);
    return stats.counts[static_cast<size_t>(counter)];
  }

  std::array<uint32_t, Breakers::kPeriodsPerChunk> periods{};
  std::array<uint32_t, 256> ring{};
  int32_t head = 0;
  WindowStats stats;
  Breakers breakers;
};

BreakerConfig SharedConfig() {
  BreakerConfig config = TwoInARow();
  config.shared = true;
  return config;
}

/// Two environments that share a breaker.
struct Pair {
  explicit Pair(const BreakerConfig& config = SharedConfig())
      : hot(Breaker::HotCells(config)), cold(Breaker::ColdCells(config)) {
    a = one.breakers.CreateShared(config, one_memory, kNow).id;
    b = other.breakers.CreateShared(config, other_memory, kNow).id;
  }

  FakeHost host;
  Cells hot;
  Cells cold;
  FakeMemory one_memory{host, 1, hot, cold};
  FakeMemory other_memory{host, 2, hot, cold};
  Environment one;
  Environment other;
  uint32_t a;
  uint32_t b;
};

Outcome FailureOf(const Admission& call) {
  return {.failed = true,
          .timed_out = false,
          .latency = kMs,
          .period = call.period,
          .probe = call.probe};
}

// ---- Numbers -----------------------------------------------------------------------------------

TEST(Breakers, ThatDoNotExistAreNotFound) {
  Environment environment;
  EXPECT_EQ(environment.breakers.Find(0, kNow), nullptr);
  const uint32_t id = environment.Create(TwoInARow());
  EXPECT_NE(environment.breakers.Find(id, kNow), nullptr);
  EXPECT_EQ(environment.breakers.Find(id + 1, kNow), nullptr);
  EXPECT_EQ(environment.breakers.Find(UINT32_MAX, kNow), nullptr);
  EXPECT_TRUE(environment.breakers.Destroy(id, kNow));
  EXPECT_EQ(environment.breakers.Find(id, kNow), nullptr);
  EXPECT_FALSE(environment.breakers.Destroy(id, kNow));
}

TEST(Breakers, ADestroyedOneLeavesNothingToItsSuccessor) {
  Environment environment;
  const uint32_t id = environment.Create(TwoInARow());
  environment.Record(id, Counter::kFires);
  environment[id].MoveTo(State::kOpen, kNow);
  EXPECT_EQ(environment.state(id), State::kOpen);
  environment.Record(id, Counter::kFires);
  environment.breakers.Destroy(id, kNow);
  EXPECT_EQ(environment.Create(TwoInARow()), id);
  EXPECT_EQ(environment.state(id), State::kClosed);
  EXPECT_FALSE(environment[id].HasTransitions());
  EXPECT_EQ(environment.CountOf(id, Counter::kFires), 0u);
}

TEST(Breakers, NeedRoomForTheirPeriods) {
  Environment environment;
  for (uint32_t i = 0; i < Breakers::kPeriodsPerChunk; ++i) {
    EXPECT_EQ(environment.Create(TwoInARow()), i);
  }
  EXPECT_EQ(environment.breakers.Create(TwoInARow(), kNow).error, CreateError::kNoPeriods);
  Pair pair;
  EXPECT_EQ(environment.breakers.CreateShared(SharedConfig(), pair.one_memory, kNow).error,
            CreateError::kNoPeriods);
  EXPECT_EQ(pair.one_memory.left, 1);
  std::array<uint32_t, Breakers::kPeriodsPerChunk> more{};
  environment.breakers.AddPeriods(more.data());
  const uint32_t id = environment.Create(TwoInARow());
  environment[id].MoveTo(State::kOpen, kNow);
  EXPECT_EQ(StateOf(Period(more[0])), State::kOpen);
}

// ---- What was recorded -------------------------------------------------------------------------

TEST(BreakersRing, IsCountedBeforeAnythingLooks) {
  Environment environment;
  const uint32_t a = environment.Create(TwoInARow());
  const uint32_t b = environment.Create(TwoInARow());
  environment.Record(a, Counter::kFires);
  environment.RecordSuccess(a, 16);
  environment.RecordSuccess(a, 16);
  environment.RecordSuccess(a, 5 * 16 + 7);
  environment.Record(b, Counter::kFires);
  environment.Record(b, Counter::kRejects);
  environment.Record(a, Counter::kFires);
  EXPECT_EQ(environment.CountOf(a, Counter::kFires), 2u);
  EXPECT_EQ(environment.head, 0);
  EXPECT_EQ(environment.CountOf(a, Counter::kSuccesses), 3u);
  ASSERT_EQ(environment.stats.latency_count, 2u);
  EXPECT_EQ(environment.stats.latencies[0].latency, Millis(1));
  EXPECT_EQ(environment.stats.latencies[0].count, 2u);
  EXPECT_EQ(environment.stats.latencies[1].latency, Millis(5));
  EXPECT_EQ(environment.CountOf(b, Counter::kFires), 1u);
  EXPECT_EQ(environment.CountOf(b, Counter::kRejects), 1u);
}

TEST(BreakersRing, ASuccessEndsAStreak) {
  Environment environment;
  const uint32_t id = environment.Create(TwoInARow());
  const auto fail = [&] {
    return environment[id].Record(FailureOf(environment[id].Admit(kNow, 0.5)), kNow);
  };
  EXPECT_FALSE(fail());
  environment.RecordSuccess(id, 16);
  EXPECT_FALSE(fail());
  EXPECT_TRUE(fail());
}

TEST(BreakersRing, ASharedBreakerCountsForAllAndForEachAlone) {
  Pair pair;
  using Whose = BreakerHandle::Whose;
  pair.one.Record(pair.a, Counter::kFires);
  pair.one.RecordSuccess(pair.a, 16);
  pair.other.Record(pair.b, Counter::kFires);
  pair.one.breakers.Drain(kNow);
  EXPECT_EQ(pair.other.CountOf(pair.b, Counter::kFires), 2u);
  EXPECT_EQ(pair.other.CountOf(pair.b, Counter::kSuccesses), 1u);
  EXPECT_EQ(pair.other.CountOf(pair.b, Counter::kFires, Whose::kOwn), 1u);
  EXPECT_EQ(pair.other.CountOf(pair.b, Counter::kSuccesses, Whose::kOwn), 0u);
}

TEST(Breakers, ReadOneBucket) {
  Environment environment;
  const uint32_t id = environment.Create(TwoInARow());
  environment[id].Add(Counter::kFires, Count(3), kNow);
  environment[id].AddLatency(Millis(7), Count(2), kNow);
  WindowStats stats;
  environment[id].ReadBucket(1, kNow + kSecond, &stats);
  EXPECT_EQ(stats.counts[static_cast<size_t>(Counter::kFires)], 3u);
  EXPECT_EQ(stats.latency_count, 1u);
  EXPECT_EQ(stats.summary.mean, 7);
  environment[id].ReadBucket(0, kNow + kSecond, &stats);
  EXPECT_EQ(stats.counts[static_cast<size_t>(Counter::kFires)], 0u);
}

TEST(Breakers, OneCountOfABucketCanBeReplaced) {
  Environment env;
  BreakerConfig config = TwoInARow();
  config.bucket_length = kSecond;
  config.buckets = 3;
  const uint32_t id = env.Create(config);
  const Micros then = kNow + 10 * kSecond;
  env[id].Add(Counter::kFires, Count(4), then);
  env[id].SetBucketCount(Counter::kFires, 0, Count(2), then);
  EXPECT_EQ(env[id].BucketCount(Counter::kFires, 0, then), Count(2));
  EXPECT_EQ(env[id].BucketCount(Counter::kFires, 1, then + kSecond), Count(2));
  env[id].SetBucketCount(Counter::kFires, 2, Count(5), then + kSecond);
  EXPECT_EQ(env[id].BucketCount(Counter::kFires, 2, then + kSecond), Count(5));
  // There is no bucket of that age.
  env[id].SetBucketCount(Counter::kFires, 3, Count(9), then + kSecond);
  EXPECT_EQ(env[id].BucketCount(Counter::kFires, 3, then + kSecond), Count(0));
}

TEST(Breakers, OtherRulesCountFromTheNextOutcomeOn) {
  Environment env;
  BreakerConfig config = TwoInARow();
  const uint32_t id = env.Create(config);
  config.rules.consecutive_failures = 1;
  config.buckets = 1000;  // What the memory was made for stays.
  env[id].Configure(config);
  const Outcome failure{
      .failed = true, .timed_out = false, .latency = 0, .period = Period(env.periods[id])};
  EXPECT_TRUE(env[id].Record(failure, kNow));
}

// ---- Several in one window ---------------------------------------------------------------------

TEST(BreakersInOneWindow, CountTogetherAndTripAlone) {
  Environment env;
  BreakerConfig rules;
  rules.rules.error_threshold_percentage = -1;
  rules.rules.failure_count = 2;
  const uint32_t one = env.Create(rules);
  const uint32_t other = env.breakers.CreateIn(one, rules, kNow).id;
  const Outcome failure{
      .failed = true, .timed_out = false, .latency = 0, .period = Period(env.periods[one])};
  EXPECT_FALSE(env[one].Record(failure, kNow));
  EXPECT_TRUE(env[other].Record(failure, kNow));
  env[other].Trip(failure.period, 0, kNow);
  EXPECT_EQ(env.state(one), State::kClosed);
  EXPECT_EQ(env.state(other), State::kOpen);
  env.Record(other, Counter::kFires);
  env.RecordSuccess(one, 16);
  EXPECT_EQ(env.CountOf(one, Counter::kFires), 1);
  EXPECT_EQ(env.CountOf(other, Counter::kSuccesses), 1);
}

TEST(BreakersInOneWindow, HaveTheBucketsOfItsOwner) {
  Environment env;
  BreakerConfig config = TwoInARow();
  config.bucket_length = 0;
  config.buckets = 2;
  const uint32_t owner = env.Create(config);
  config.bucket_length = kSecond;
  config.buckets = 5;
  const uint32_t user = env.breakers.CreateIn(owner, config, kNow).id;
  env[user].Add(Counter::kFires, Count(1), kNow + 100 * kSecond);
  env[user].Rotate();
  EXPECT_EQ(env[owner].BucketCount(Counter::kFires, 1, kNow), Count(1));
  env[owner].Rotate();
  EXPECT_EQ(env.CountOf(user, Counter::kFires), 0);
}

TEST(BreakersInOneWindow, KeepItAfterItsOwner) {
  Environment env;
  const uint32_t owner = env.Create(TwoInARow());
  const uint32_t user = env.breakers.CreateIn(owner, TwoInARow(), kNow).id;
  const uint32_t next = env.breakers.CreateIn(user, TwoInARow(), kNow).id;
  EXPECT_TRUE(env.breakers.Destroy(owner, kNow));
  EXPECT_FALSE(env.breakers.Destroy(owner, kNow));
  EXPECT_EQ(env.breakers.Find(owner, kNow), nullptr);
  EXPECT_TRUE(env.breakers.Destroy(user, kNow));
  // Nobody gets their memory, or their numbers, while the last one counts there.
  const uint32_t newcomer = env.Create(TwoInARow());
  EXPECT_NE(newcomer, owner);
  env.Record(next, Counter::kFires);
  EXPECT_EQ(env.CountOf(next, Counter::kFires), 1);
  EXPECT_EQ(env.CountOf(newcomer, Counter::kFires), 0);
  EXPECT_TRUE(env.breakers.Destroy(next, kNow));
  // All is free again, and zeroed.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(env.CountOf(env.Create(TwoInARow()), Counter::kFires), 0);
  EXPECT_EQ(env.breakers.Create(TwoInARow(), kNow).id, newcomer + 1);
}

TEST(BreakersInOneWindow, AreNotInSharedMemory) {
  Pair pair;
  EXPECT_EQ(pair.one.breakers.CreateIn(pair.a, TwoInARow(), kNow).error, CreateError::kNoWindow);
  EXPECT_EQ(pair.one.breakers.CreateIn(77, TwoInARow(), kNow).error, CreateError::kNoWindow);
}

// ---- Admission ---------------------------------------------------------------------------------

TEST(BreakersAdmission, AProbeOfADeadParticipantKeepsNobodyOut) {
  Pair pair;
  pair.one[pair.a].MoveTo(State::kHalfOpen, kNow);
  EXPECT_TRUE(pair.one[pair.a].Admit(kNow, 0.5).admitted);
  EXPECT_FALSE(pair.other[pair.b].Admit(kNow, 0.5).admitted);
  pair.host.dead = {1};
  EXPECT_TRUE(pair.other[pair.b].Admit(kNow, 0.5).admitted);
  EXPECT_FALSE(pair.other[pair.b].Admit(kNow, 0.5).admitted);
}

TEST(BreakersAdmission, AnOpenCircuitAdmitsNobodyThoughParticipantsDie) {
  Pair pair;
  pair.one[pair.a].MoveTo(State::kOpen, kNow);
  pair.host.dead = {1};
  EXPECT_FALSE(pair.other[pair.b].Admit(kNow, 0.5).admitted);
  EXPECT_TRUE(pair.other[pair.b].Admit(kNow + kSecond, 0.5).admitted) << "its time has come";
}

TEST(BreakersAdmission, WithoutProbesHalfOpenMeansClosed) {
  Environment environment;
  BreakerConfig config = TwoInARow();
  config.success_threshold = 0;
  const uint32_t id = environment.Create(config);
  environment[id].MoveTo(State::kHalfOpen, kNow);
  EXPECT_EQ(environment.state(id), State::kClosed);
  environment[id].MoveTo(State::kOpen, kNow);
  environment[id].MoveTo(State::kHalfOpen, kNow);
  EXPECT_EQ(environment.state(id), State::kClosed);
}

TEST(BreakersAdmission, ShowsThePeriodThatAdmitted) {
  Environment environment;
  const uint32_t id = environment.Create(TwoInARow());
  environment[id].MoveTo(State::kOpen, kNow);
  EXPECT_EQ(environment.state(id), State::kOpen);
  const Admission probe = environment[id].Admit(kNow + kSecond, 0.5);
  EXPECT_TRUE(probe.admitted);
  EXPECT_EQ(environment.periods[id], probe.period.value());
  EXPECT_EQ(environment.state(id), State::kHalfOpen);
}

// ---- Transitions -------------------------------------------------------------------------------

TEST(BreakersTransitions, AreToldOnceAndInOrder) {
  Environment environment;
  const uint32_t id = environment.Create(TwoInARow());
  environment[id].MoveTo(State::kOpen, kNow);
  environment[id].MoveTo(State::kHalfOpen, kNow);
  environment[id].MoveTo(State::kClosed, kNow);
  EXPECT_TRUE(environment[id].HasTransitions());
  const Transitions taken = environment[id].TakeTransitions();
  ASSERT_EQ(taken.known, 3u);
  EXPECT_EQ(taken.states[0], State::kOpen);
  EXPECT_EQ(taken.states[1], State::kHalfOpen);
  EXPECT_EQ(taken.states[2], State::kClosed);
  EXPECT_EQ(taken.forgotten, 0u);
  EXPECT_FALSE(taken.repaired);
  EXPECT_FALSE(environment[id].HasTransitions());
  EXPECT_EQ(environment[id].TakeTransitions().known, 0u);
}

TEST(BreakersTransitions, TheOldestOfManyAreForgotten) {
  Environment environment;
  const uint32_t id = environment.Create(TwoInARow());
  for (int i = 0; i < 10; ++i) {
    environment[id].MoveTo(State::kOpen, kNow);
    environment[id].MoveTo(State::kClosed, kNow);
  }
  const Transitions taken = environment[id].TakeTransitions();
  EXPECT_EQ(taken.known, kHistoryMax);
  EXPECT_EQ(taken.forgotten, 20 - kHistoryMax);
}

TEST(BreakersTransitions, OfOthersAreAnnouncedAndToldToEach) {
  Pair pair;
  pair.one[pair.a].MoveTo(State::kOpen, kNow);
  EXPECT_EQ(pair.one_memory.announcements, 1);
  pair.one[pair.a].MoveTo(State::kOpen, kNow);
  EXPECT_EQ(pair.one_memory.announcements, 1) << "nothing has changed";
  EXPECT_TRUE(pair.other[pair.b].HasTransitions());
  pair.other[pair.b].Publish();
  EXPECT_EQ(pair.other.state(pair.b), State::kOpen);
  EXPECT_EQ(pair.other[pair.b].TakeTransitions().states[0], State::kOpen);
  EXPECT_EQ(pair.one[pair.a].TakeTransitions().states[0], State::kOpen);
}

TEST(BreakersTransitions, BeforeAnEnvironmentCameAreNotToldToIt) {
  Pair pair;
  pair.one[pair.a].MoveTo(State::kOpen, kNow);
  Environment third;
  FakeMemory memory(pair.host, 3, pair.hot, pair.cold);
  const uint32_t id = third.breakers.CreateShared(SharedConfig(), memory, kNow).id;
  EXPECT_EQ(third.state(id), State::kOpen);
  EXPECT_EQ(third[id].TakeTransitions().known, 0u);
  EXPECT_EQ(memory.id, id);
  third.breakers.Destroy(id, kNow);
  EXPECT_EQ(memory.left, 1);
}

TEST(BreakersTransitions, ARepairIsTold) {
  Pair pair;
  pair.hot.data()[0].store(12345);
  pair.one[pair.a].MoveTo(State::kHalfOpen, kNow);
  const Transitions taken = pair.one[pair.a].TakeTransitions();
  EXPECT_TRUE(taken.repaired);
  EXPECT_EQ(taken.known, 1u);
  EXPECT_EQ(taken.forgotten, 0u);
  EXPECT_EQ(taken.states[0], State::kHalfOpen);
  EXPECT_EQ(pair.one[pair.a].repairs(), 1u);
  EXPECT_FALSE(pair.one[pair.a].TakeTransitions().repaired);
}

TEST(Breakers, FollowTheirMemory) {
  Pair pair;
  pair.one[pair.a].MoveTo(State::kOpen, kNow);
  pair.one[pair.a].TakeTransitions();
  Cells hot(Breaker::HotCells(SharedConfig()));
  Cells cold(Breaker::ColdCells(SharedConfig()));
  pair.one_memory.MoveTo(hot, cold);
  pair.one.Record(pair.a, Counter::kFires);
  EXPECT_EQ(pair.one.CountOf(pair.a, Counter::kFires), 1u);
  EXPECT_EQ(pair.one.state(pair.a), State::kClosed);
  EXPECT_TRUE(pair.one[pair.a].TakeTransitions().repaired);
}

}  // namespace
}  // namespace sekering

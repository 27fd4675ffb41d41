// What a breaker in memory that others write to must stand: several processes, dead ones, clocks
// that differ a little, and damage.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <vector>

#include "core/breaker.h"
#include "core/leases.h"
#include "core/words.h"
#include "support/breaker_box.h"
#include "support/seeds.h"

namespace sekering {
namespace {

constexpr Micros kHour = 3600 * kSecond;

BreakerConfig Shared() {
  BreakerConfig config = TwoInARow();
  config.shared = true;
  return config;
}

TEST(BreakerShared, BucketsAreCountedFromTheClocksZero) {
  BreakerBox box(Shared(), 1000 * kSecond);
  EXPECT_EQ(box.breaker.EpochAt(box.now), Epoch(1000));
  EXPECT_EQ(box.breaker.EpochAt(box.now - 1), Epoch(999));
  EXPECT_EQ(box.breaker.EpochAt(0), Epoch(0));
}

TEST(BreakerShared, WhoComesFirstSaysWhenItBegan) {
  BreakerConfig config = Shared();
  config.warm_up = 10 * kSecond;
  BreakerBox box(config);
  box.CallAndFail();
  Breaker other(config, box.hot.data(), box.cold.data());
  other.Initialize(box.now + 9 * kSecond);
  EXPECT_TRUE(other.Warming(box.now + 9 * kSecond));
  EXPECT_FALSE(other.Warming(box.now + 10 * kSecond));
  EXPECT_EQ(other.window().Sum(Counter::kFailures, other.EpochAt(box.now)), 1u);
}

TEST(BreakerShared, ARetryAfterIsHeededForAnHourAtMost) {
  for (const bool shared : {false, true}) {
    BreakerConfig config = TwoInARow();
    config.shared = shared;
    for (const Micros wanted : {kHour - 1, kHour, kHour + 1, kNever}) {
      BreakerBox box(config);
      EXPECT_TRUE(box.breaker.Trip(box.breaker.period(), wanted, box.now));
      const Micros expected = std::min(wanted, kHour);
      EXPECT_EQ(box.breaker.OpenFor(box.now), expected);
      EXPECT_EQ(box.breaker.OpenFor(box.now - kSecond), expected + kSecond)
          << "of a clock that is a second behind";
      EXPECT_EQ(box.breaker.OpenFor(box.now), expected);
      EXPECT_EQ(box.breaker.repairs(), 0u);
    }
  }
}

// ---- The dead ----------------------------------------------------------------------------------

TEST(BreakerShared, TheLeasesOfTheDeadEnd) {
  BreakerConfig config = Shared();
  config.half_open_probes = 4;
  BreakerBox box(config);
  box.breaker.HalfOpen();
  for (const uint32_t participant : {3U, 5U, 3U, 1023U}) {
    EXPECT_TRUE(box.breaker.Admit(box.now, 0.5, Participant(participant)).admitted);
  }
  std::set<uint32_t> dead{3};
  const auto is_dead = [&dead](Participant participant) {
    return dead.count(participant.value()) != 0;
  };
  EXPECT_FALSE(box.breaker.HasFreeProbe(box.now));
  EXPECT_TRUE(EndLeases(box.hot.data(), is_dead));
  EXPECT_FALSE(EndLeases(box.hot.data(), is_dead));
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_FALSE(box.Admit().admitted);
  dead = {1023};
  EXPECT_TRUE(EndLeases(box.hot.data(), is_dead));
  EXPECT_TRUE(box.Admit().admitted);
}

// ---- Witnesses ---------------------------------------------------------------------------------

BreakerConfig Witnesses(uint32_t processes) {
  BreakerConfig config = Shared();
  config.rules = {};
  config.rules.failure_count = 3;
  config.trip_witnesses = processes;
  return config;
}

bool FailAs(BreakerBox& box, uint32_t process) {
  const Admission call = box.Admit();
  return box.Settle({true, false, kMs, call.period, call.probe, Process(process)}, 0);
}

TEST(BreakerWitnesses, OneSickProcessDoesNotCutOffTheRest) {
  BreakerBox box(Witnesses(2));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(FailAs(box, 7));
  EXPECT_EQ(box.state(), State::kClosed);
  EXPECT_TRUE(FailAs(box, 8)) << "another one sees it";
  EXPECT_EQ(box.state(), State::kOpen);
}

TEST(BreakerWitnesses, TheRulesHoldAllTheSame) {
  BreakerBox box(Witnesses(2));
  EXPECT_FALSE(FailAs(box, 7));
  EXPECT_FALSE(FailAs(box, 8)) << "two failures, and three are asked for";
  EXPECT_TRUE(FailAs(box, 7));
}

TEST(BreakerWitnesses, TheyForgetWithTheWindow) {
  BreakerBox box(Witnesses(2));
  EXPECT_FALSE(FailAs(box, 7));
  box.now += 10 * kSecond;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(FailAs(box, 8));
  box.now += 9 * kSecond;
  EXPECT_TRUE(FailAs(box, 7)) << "within the window of the other";
}

TEST(BreakerWitnesses, AClockThatIsABucketBehind) {
  BreakerBox box(Witnesses(2));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(FailAs(box, 7));
  box.now -= kSecond;
  EXPECT_TRUE(FailAs(box, 8));
}

TEST(BreakerWitnesses, EveryNumberOfThem) {
  for (uint32_t wanted = 1; wanted <= kWitnessesMax; ++wanted) {
    BreakerConfig config = Witnesses(wanted);
    config.rules.failure_count = 1;
    BreakerBox box(config);
    for (uint32_t process = 1; process < wanted; ++process) {
      EXPECT_FALSE(FailAs(box, 1000 + process));
      EXPECT_FALSE(FailAs(box, 1000 + process));
    }
    EXPECT_TRUE(FailAs(box, 1)) << wanted;
  }
}

TEST(BreakerWitnesses, MoreProcessesThanPlaces) {
  BreakerConfig config = Witnesses(kWitnessesMax);
  config.rules.failure_count = 1000;
  BreakerBox box(config);
  for (uint32_t i = 0; i < 999; ++i) EXPECT_FALSE(FailAs(box, 1 + i % 100));
  EXPECT_TRUE(FailAs(box, 500));
}

TEST(BreakerWitnesses, AFailedProbeNeedsNone) {
  BreakerBox box(Witnesses(2));
  box.breaker.HalfOpen();
  EXPECT_TRUE(FailAs(box, 7));
  EXPECT_EQ(box.state(), State::kOpen);
}

// ---- Storage -----------------------------------------------------------------------------------

TEST(BreakerStorage, ARowIsBackedBeforeItsFirstUse) {
  struct Disk final : Storage {
    bool Commit(const void* row, size_t bytes) noexcept override {
      EXPECT_EQ(bytes, 10 * sizeof(Cell));
      rows.push_back(row);
      return works;
    }
    std::vector<const void*> rows;
    bool works = true;
  } commits;
  const BreakerConfig config = Shared();
  BreakerBox box(config);
  Breaker breaker(config, box.hot.data(), box.cold.data(), &commits);
  const Epoch epoch = breaker.EpochAt(box.now);
  const auto found = [&] {
    std::array<LatencyCount, kLatencyCells> out;
    return breaker.window().Latencies(epoch, out);
  };
  for (uint32_t ms = 0; ms < kHotLatencyCells; ++ms)
    breaker.AddLatency(Millis(ms), epoch, Count(1));
  EXPECT_TRUE(commits.rows.empty()) << "those lie beside the counters";
  for (int i = 0; i < 3; ++i) {
    breaker.AddLatency(Millis(kHotLatencyCells), epoch, Count(1));
  }
  EXPECT_EQ(commits.rows, std::vector<const void*>{box.cold.data()});
  EXPECT_EQ(found(), kHotLatencyCells + 1);

  commits.works = false;  // The disk is full: the call counts, its latency does not.
  const Outcome outcome{false, false, kSecond, breaker.period()};
  EXPECT_FALSE(breaker.Record(outcome, box.now));
  EXPECT_EQ(found(), kHotLatencyCells + 1);
  EXPECT_EQ(breaker.window().Sum(Counter::kSuccesses, epoch), 1u);
  commits.works = true;
  breaker.Record(outcome, box.now);
  EXPECT_EQ(found(), kHotLatencyCells + 2);
}

// ---- Damage ------------------------------------------------------------------------------------

TEST(BreakerDamage, ADamagedStateBecomesHalfOpen) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    BreakerBox box(Shared());
    uint64_t word = random();
    if (IsStateWord(word)) continue;
    box.memory().state.store(word);
    const Admission probe = box.Admit();
    EXPECT_TRUE(probe.admitted);
    EXPECT_EQ(StateOf(probe.period), State::kHalfOpen);
    EXPECT_FALSE(box.Admit().admitted) << "neither a flood";
    EXPECT_EQ(box.breaker.generation(), Generation(static_cast<uint32_t>(word >> 32) + 1));
    EXPECT_EQ(box.breaker.repairs(), 1u);
    EXPECT_FALSE(box.Succeed(probe));
    EXPECT_EQ(box.state(), State::kClosed) << "nor cut off";
  }
}

TEST(BreakerDamage, EveryBitOfTheStateIsGuarded) {
  uint32_t unseen = 0;
  for (uint32_t generation = 0; generation < 200; ++generation) {
    for (uint32_t bit = 0; bit < 64; ++bit) {
      const uint64_t word = StateWord(Generation(generation * 977), generation * 31);
      ASSERT_TRUE(IsStateWord(word));
      unseen += IsStateWord(word ^ uint64_t{1} << bit);
    }
  }
  EXPECT_LE(unseen, 200 * 64 / 128) << "about one of 256";
}

TEST(BreakerDamage, AWaitThatNobodyCanHaveSet) {
  BreakerBox box(Shared());
  box.breaker.Open(box.now);
  const uint64_t stamp = Stamp(Generation(1), box.now + 2 * kHour);
  box.memory().reopen.store(stamp);
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
  box.now += kSecond;
  EXPECT_TRUE(box.breaker.Poll(box.now));
}

TEST(BreakerDamage, AWaitThatIsPossibleButWasNotSet) {
  std::mt19937_64 random(8);
  int kept = 0;
  for (int round = 0; round < 1000; ++round) {
    BreakerBox box(Shared());
    box.breaker.Open(box.now);
    // Its low 32 bits are another's: it would be over within 72 minutes.
    const uint64_t stamp = box.memory().reopen.load();
    box.memory().reopen.store(stamp >> 32 << 32 | static_cast<uint32_t>(random()));
    kept += box.breaker.OpenFor(box.now) > kSecond;
  }
  EXPECT_LT(kept, 20) << "about one of 256";
}

TEST(BreakerDamage, AWaitWasLostInAGenerationBeyondWhatAPeriodHolds) {
  BreakerBox box(Shared());
  box.memory().state.store(StateWord(Generation(0xC0000001), static_cast<uint32_t>(State::kOpen)));
  box.memory().reopen.store(Stamp(Generation(7), box.now));
  EXPECT_EQ(box.breaker.OpenFor(box.now), kSecond);
  box.now += kSecond;
  EXPECT_TRUE(box.breaker.Poll(box.now));
  EXPECT_EQ(box.state(), State::kHalfOpen);
}

TEST(BreakerDamage, ALeaseThatNobodyCanHold) {
  BreakerBox box(Shared());
  box.breaker.HalfOpen();
  const Period period = box.breaker.period();
  box.memory().leases[0].store(Lease::Make(Participant(7), period, box.now + 2 * kHour));
  EXPECT_TRUE(box.breaker.HasFreeProbe(box.now));
  EXPECT_TRUE(box.Admit().admitted);
  EXPECT_FALSE(box.Admit().admitted);
}

TEST(BreakerDamage, ARampThatBeganInTheFuture) {
  BreakerConfig config = Shared();
  config.ramp_up = 10 * kSecond;
  BreakerBox box(config);
  box.breaker.Open(box.now);
  box.breaker.Close(box.now);
  box.memory().ramp.store(Stamp(Generation(2), box.now + kHour));
  EXPECT_TRUE(box.Admit(0.999).admitted);
  EXPECT_EQ(box.state(), State::kClosed);
}

TEST(BreakerDamage, ABirthInTheFuture) {
  BreakerConfig config = Shared();
  config.warm_up = kHour;
  for (const uint64_t origin : {uint64_t{1} << 62, uint64_t{1} << 40, uint64_t{1} << 63}) {
    BreakerBox box(config);
    EXPECT_TRUE(box.breaker.Warming(box.now));
    box.memory().origin.store(origin);
    EXPECT_FALSE(box.breaker.Warming(box.now)) << origin;
  }
}

/// A word as damage leaves it: anything, often something like what should be there.
uint64_t DamagedWord(std::mt19937_64& random, uint64_t word) {
  switch (random() % 6) {
    case 0:
      return 0;
    case 1:
      return UINT64_MAX - random() % 64;
    case 2:
      return word ^ uint64_t { 1 } << random() % 64;
    case 3:
      return random() >> random() % 64;
    case 4:
      return (word & 0xFFFFFFFF00000000) | (random() & 0xFFFFFFFF);
    default:
      return random();
  }
}

BreakerConfig RandomSharedConfig(std::mt19937_64& random) {
  BreakerConfig config = Shared();
  config.half_open_probes = 1 + random() % 3;
  config.success_threshold = 1 + random() % 3;
  if (random() % 2 == 0) config.rules.consecutive_failures = 0;
  config.rules.error_threshold_percentage = 50;
  config.rules.failure_count = random() % 2 == 0 ? 5 : 0;
  config.rules.sliding_window_size = random() % 2 == 0 ? 20 : 0;
  config.rules.minimum_calls = config.rules.sliding_window_size / 2;
  config.ramp_up = random() % 2 == 0 ? 10 * kSecond : 0;
  config.warm_up = random() % 2 == 0 ? 10 * kSecond : 0;
  config.reset_factor = 2;
  config.reset_max = 60 * kSecond;
  return config;
}

/// Damage that is done to a breaker in use; `share` of 1,000 words.
void Damage(BreakerBox& box, std::mt19937_64& random, uint32_t share) {
  const size_t hot = Breaker::HotCells(box.breaker.config());
  const size_t cold = Breaker::ColdCells(box.breaker.config());
  for (size_t i = 0; i < hot + cold; ++i) {
    Cell& cell = i < hot ? box.hot.data()[i] : box.cold.data()[i - hot];
    if (random() % 1000 < share) cell.store(DamagedWord(random, cell.load()));
  }
}

/// The upstream is well: however bad the damage, all calls pass again before long.
void ExpectRecovery(BreakerBox& box) {
  const Micros deadline = box.now + 3 * kHour;
  for (int in_a_row = 0; in_a_row < 50; box.now += kSecond) {
    ASSERT_LT(box.now, deadline) << "still " << box.state();
    in_a_row = box.Call(false, 0.999) ? in_a_row + 1 : 0;
  }
  EXPECT_EQ(box.state(), State::kClosed);
}

/// The upstream is down: before long the circuit is open, and few calls pass.
void ExpectProtection(BreakerBox& box) {
  const Micros deadline = box.now + 3 * kHour;
  while (box.state() != State::kOpen) {
    ASSERT_LT(box.now, deadline) << "still " << box.state();
    box.now += 100 * kMs;
    box.Call(true, 0.05);
  }
  int admitted = 0;
  for (int i = 0; i < 600; ++i, box.now += kSecond) admitted += box.Call(true, 0.05);
  EXPECT_LE(admitted, 50);
}

TEST(BreakerDamage, AnyDamageHeals) {
  for (uint32_t seed = 0; seed < Seeds(400) && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    BreakerBox box(RandomSharedConfig(random));
    for (int i = 0; i < 300; ++i, box.now += random() % kSecond) box.Call(random() % 2 == 0, 0.05);
    Damage(box, random, std::array{5U, 100U, 1000U}[seed % 3]);
    std::array<LatencyCount, kLatencyCells> out;
    EXPECT_LE(box.breaker.window().Latencies(box.breaker.EpochAt(box.now), out), out.size());
    EXPECT_GE(box.breaker.OpenFor(box.now), 0);
    if (seed % 2 == 0) {
      ExpectRecovery(box);
    } else {
      ExpectProtection(box);
    }
  }
}

}  // namespace
}  // namespace sekering

// Processes that share a breaker: who lives, what a dead one leaves, sums, news, and damage.

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/breaker.h"
#include "core/leases.h"
#include "core/region.h"
#include "support/breaker_box.h"
#include "support/processes.h"
#include "support/regions.h"
#include "support/seeds.h"

namespace sekering {
namespace {

BreakerConfig OfARegion() {
  BreakerConfig config = TwoInARow();
  config.shared = true;
  config.buckets = 8;
  return config;
}

/// A participant of a region with a view of its one breaker.
struct Member {
  Member(const TemporaryPath& path, const BreakerConfig& config) {
    error = region.Open(path.c_str());
    if (error != RegionError::kNone) return;
    found = region.Attach(
        {kKind, "breaker", Description{}, Breaker::HotCells(config), Breaker::ColdCells(config)});
    error = found.error;
    if (error != RegionError::kNone) return;
    breaker = Breaker(config, found.hot, found.cold);
    breaker.Initialize(1);
  }
  bool EndLeasesOfTheDead() {
    const auto is_dead = [this](Participant participant) { return !region.IsAlive(participant); };
    return EndLeases(found.hot, is_dead);
  }

  Region region;
  RegionError error;
  Attachment found;
  Breaker breaker;
};

/// The letter of a process's state: S sleeps, T is stopped.
char StateOfProcess(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t after_name = text.rfind(')');
  return after_name == std::string::npos ? '?' : text[after_name + 2];
}
void AwaitState(pid_t pid, char state) {
  while (StateOfProcess(pid) != state) std::this_thread::yield();
}

TEST(RegionParticipants, LiveUntilTheyAreKilledStoppedOrNot) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  EXPECT_TRUE(region.IsAlive(region.self()));
  EXPECT_FALSE(region.IsAlive(Participant(region.self().value() + 1)));
  Gate gate(2);
  SharedWithChildren<std::atomic<uint32_t>> index;
  Children children;
  const pid_t child = children.Start([&] {
    Region own;
    if (own.Open(path.c_str()) != RegionError::kNone) return false;
    index->store(own.self().value());
    gate.Pass();
    return pause() == 0;
  });
  gate.Pass();
  const Participant place(index->load());
  EXPECT_NE(place, region.self());
  EXPECT_TRUE(region.IsAlive(place));
  EXPECT_EQ(region.ProcessOf(place), Process(static_cast<uint32_t>(child)));
  EXPECT_EQ(region.LiveParticipants(), 2u);
  kill(child, SIGSTOP);
  AwaitState(child, 'T');
  EXPECT_TRUE(region.IsAlive(place));
  children.Kill(child);
  EXPECT_FALSE(region.IsAlive(place));
  EXPECT_EQ(region.LiveParticipants(), 1u);

  const uint32_t incarnation = region.IncarnationOf(place);
  Region successor;
  ASSERT_EQ(successor.Open(path.c_str()), RegionError::kNone);
  EXPECT_EQ(successor.self(), place);
  EXPECT_EQ(successor.incarnation(), incarnation + 1);
  EXPECT_EQ(successor.process(), Process(static_cast<uint32_t>(getpid())));
  EXPECT_TRUE(region.IsAlive(place));
}

TEST(RegionParticipants, ThereIsNoPlaceForOneMore) {
  const TemporaryPath path;
  std::vector<Region> regions(kParticipantsMax);
  for (uint32_t i = 0; i < kParticipantsMax; ++i) {
    ASSERT_EQ(regions[i].Open(path.c_str()), RegionError::kNone);
    EXPECT_EQ(regions[i].self(), Participant(i));
  }
  EXPECT_EQ(Region().Open(path.c_str()), RegionError::kNoPlace);
  EXPECT_EQ(regions[0].LiveParticipants(), kParticipantsMax);
}

TEST(RegionParticipants, LeasesOfADeadOneEndAtOnce) {
  const TemporaryPath path;
  const BreakerConfig config = OfARegion();
  const Micros now = 1000 * kSecond;
  Member parent(path, config);
  ASSERT_EQ(parent.error, RegionError::kNone);
  parent.breaker.HalfOpen();
  Gate gate(2);
  Children children;
  const pid_t child = children.Start([&] {
    Member own(path, config);
    const bool probes = own.breaker.Admit(now, 0.5, own.region.self()).admitted;
    gate.Pass();
    return probes && pause() == 0;
  });
  gate.Pass();
  const Participant self = parent.region.self();
  EXPECT_FALSE(parent.EndLeasesOfTheDead());
  EXPECT_FALSE(parent.breaker.Admit(now, 0.5, self).admitted);
  children.Kill(child);
  EXPECT_TRUE(parent.EndLeasesOfTheDead());
  EXPECT_TRUE(parent.breaker.Admit(now, 0.5, self).admitted);
  EXPECT_FALSE(parent.EndLeasesOfTheDead());
}

TEST(RegionParticipants, CountersOfFourProcessesAddUpOverRollOvers) {
  constexpr uint32_t kProcesses = 4;
  constexpr uint32_t kAdds = 100'000;
  constexpr uint32_t kRounds = 5;
  const TemporaryPath path;
  const BreakerConfig config = OfARegion();
  Member parent(path, config);
  ASSERT_EQ(parent.error, RegionError::kNone);
  Gate gate(kProcesses + 1);
  SharedWithChildren<std::atomic<uint32_t>> done;
  Children children;
  // Each round rolls through all buckets, and takes every cell over from the round before.
  constexpr uint32_t kAddsPerRound = kProcesses * kAdds / kRounds;
  const auto first_of = [](uint32_t round) { return UINT32_MAX - 2000 + round * 1000; };
  for (uint32_t i = 0; i < kProcesses; ++i) {
    children.Start([&] {
      Member own(path, config);
      if (own.error != RegionError::kNone) return false;
      for (uint32_t round = 0; round < kRounds; ++round) {
        gate.Pass();
        for (uint32_t add = 0; add < kAdds / kRounds; ++add) {
          const uint32_t rolled = done->fetch_add(1) * config.buckets / kAddsPerRound;
          // Some are a bucket behind.
          const Epoch epoch(first_of(round) + rolled - std::min(rolled, add % 2));
          own.breaker.Add(Counter::kFires, epoch, Count(1));
          own.breaker.Add(Counter::kSuccesses, epoch, Count(1 + add % 2));
        }
        gate.Pass();
        gate.Pass();
      }
      return true;
    });
  }
  for (uint32_t round = 0; round < kRounds; ++round) {
    gate.Pass();
    gate.Pass();
    const Epoch last(first_of(round) + config.buckets - 1);
    EXPECT_EQ(parent.breaker.window().Sum(Counter::kFires, last), kAddsPerRound);
    EXPECT_EQ(parent.breaker.window().Sum(Counter::kSuccesses, last), kAddsPerRound * 3 / 2);
    done->store(0);
    gate.Pass();
  }
  children.ExpectAllWell();
}

TEST(RegionNews, WakeAllWhoSleep) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  Gate gate(4);
  Children children;
  std::vector<pid_t> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.push_back(children.Start([&] {
      Region own;
      if (own.Open(path.c_str()) != RegionError::kNone) return false;
      gate.Pass();
      if (!IsRung(own, 30'000)) return false;
      own.Silence();
      return !IsRung(own);
    }));
  }
  gate.Pass();
  for (const pid_t pid : sleepers) AwaitState(pid, 'S');
  EXPECT_FALSE(IsRung(region));
  region.Announce(0, true);
  children.ExpectAllWell();
  EXPECT_TRUE(IsRung(region));
  region.Silence();
  region.Announce(0, false);
  EXPECT_FALSE(IsRung(region));
}

TEST(RegionNews, ReachAsManyAsThereCanBe) {
  const TemporaryPath path;
  std::vector<Region> regions(kParticipantsMax);
  for (Region& region : regions) ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  for (int round = 0; round < 50; ++round) regions[round].Announce(0, true);
  for (Region& region : regions) {
    EXPECT_TRUE(IsRung(region));
    region.Silence();
    EXPECT_FALSE(IsRung(region));
  }
}

TEST(RegionNews, PassThoseWhoAreStoppedByToTheOthers) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  constexpr int kStopped = 100;
  std::vector<Region> stopped(kStopped);
  for (Region& one : stopped) ASSERT_EQ(one.Open(path.c_str()), RegionError::kNone);
  // Nobody of them takes what is in its queue, so that all queues are full.
  for (int i = 0; i < 100; ++i) region.Announce(0, true);
  Region late;
  ASSERT_EQ(late.Open(path.c_str()), RegionError::kNone);
  for (int i = 0; i < 100; ++i) {
    region.Announce(0, true);
    EXPECT_TRUE(IsRung(late));
    late.Silence();
  }
}

TEST(RegionNews, RingOnceUntilWhoIsRungHasLooked) {
  const TemporaryPath path;
  Region one;
  Region other;
  ASSERT_EQ(one.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; ++i) one.Announce(5, false);
    EXPECT_EQ(Rings(other), 1);
    one.Announce(5, false);
    EXPECT_EQ(Rings(other), 0) << "it has not said yet that it is silent";
    other.Silence();
  }
}

TEST(RegionNews, AreOfTheGroupsThatHaveChanged) {
  const TemporaryPath path;
  Region one;
  Region other;
  ASSERT_EQ(one.Open(path.c_str()), RegionError::kNone);
  one.Announce(1, false);
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  EXPECT_TRUE(other.TakeNews().groups.none()) << "what was before it came is no news";
  one.Announce(3, false);
  one.Announce(200, false);
  one.Announce(3, false);
  const News news = other.TakeNews();
  EXPECT_EQ(news.groups.count(), 2u);
  EXPECT_TRUE(news.groups.test(3) && news.groups.test(200));
  EXPECT_FALSE(news.moved);
  EXPECT_TRUE(other.TakeNews().groups.none());
  EXPECT_EQ(one.TakeNews().groups.count(), 3u) << "its own too, for other uses in it";
}

TEST(RegionNews, ReachTheSuccessorOfWhoWasKilledBeforeItLooked) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  Gate gate(2);
  Children children;
  const pid_t child = children.Start([&] {
    Region own;
    if (own.Open(path.c_str()) != RegionError::kNone) return false;
    gate.Pass();
    return pause() == 0;
  });
  gate.Pass();
  region.Announce(0, false);
  children.Kill(child);
  Region successor;
  ASSERT_EQ(successor.Open(path.c_str()), RegionError::kNone);
  EXPECT_FALSE(IsRung(successor));
  region.Announce(0, false);
  EXPECT_TRUE(IsRung(successor));
}

TEST(RegionThreads, RecordsAndCountsOfManyThreads) {
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kNames = 100;
  const TemporaryPath path;
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      Region region;  // A worker thread is a participant of its own.
      ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
      for (uint32_t name = 0; name < kNames; ++name) {
        const Attachment found = region.Attach({kKind, std::to_string(name), Description{}, 8, 8});
        ASSERT_EQ(found.error, RegionError::kNone);
        found.hot[0].fetch_add(1);
        region.Announce(Region::NewsGroupOf(std::to_string(name)), true);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  for (uint32_t name = 0; name < kNames; ++name) {
    const RecordKey key{kKind, std::to_string(name), Description{}, 8, 8};
    EXPECT_EQ(region.Attach(key).hot[0].load(), kThreads);
  }
}

// ---- Random bytes in a breaker's cells
// ------------------------------------------------------------

BreakerConfig RandomOfARegion(std::mt19937_64& random) {
  BreakerConfig config = OfARegion();
  config.half_open_probes = 1 + random() % kProbesMax;
  config.success_threshold = 1 + random() % 3;
  config.bucket_length = random() % 4 == 0 ? 0 : kSecond;
  config.ramp_up = random() % 2 == 0 ? 0 : 10 * kSecond;
  config.warm_up = random() % 2 == 0 ? 0 : 10 * kSecond;
  config.trip_witnesses = 1 + random() % 2;
  config.reset_factor = 2;
  config.rules.failure_count = 5;
  config.rules.sliding_window_size = 100;
  config.rules.minimum_calls = 10;
  config.rules.error_threshold_percentage = 50;
  return config;
}

void DamageCells(Cells& cells, size_t count, std::mt19937_64& random) {
  const uint64_t share = 1 + random() % 4;
  for (size_t i = 0; i < count; ++i) {
    if (random() % share == 0) cells.data()[i].store(random());
  }
}

/// Whatever is asked of a damaged breaker, it answers.
void AskAnything(BreakerBox& box, std::mt19937_64& random) {
  std::vector<LatencyCount> out(kLatencyCells);
  for (int i = 0; i < 60; ++i) {
    box.now += static_cast<Micros>(random() % (2 * kSecond));
    box.CallAndFail();
    box.CallAndSucceed();
    box.breaker.OpenFor(box.now);
    box.breaker.HasFreeProbe(box.now);
    box.breaker.window().Latencies(box.breaker.EpochAt(box.now), out);
    box.breaker.window().BucketLatencies(box.breaker.EpochAt(box.now), i % 8, out);
    if (i % 16 == 0) box.breaker.Rotate();
  }
}

void ExpectBoundedProbes(BreakerBox& box) {
  box.breaker.HalfOpen();
  uint32_t admitted = 0;
  for (uint32_t i = 0; i < 100; ++i)
    admitted += box.breaker.Admit(box.now, 0.5, Participant(i)).admitted;
  EXPECT_LE(admitted, box.breaker.config().half_open_probes);
}

/// It finds its way back, and then trips again, within times that its configuration explains.
void ExpectRecoveryOfARegion(BreakerBox& box) {
  const Micros deadline = box.now + 3 * Micros{3600} * kSecond;
  while (box.state() != State::kClosed && box.now < deadline) {
    box.now += kSecond;
    box.CallAndSucceed();
  }
  EXPECT_EQ(box.state(), State::kClosed);
  box.now += 20 * kSecond;
  for (int i = 0; i < 400 && box.state() == State::kClosed; ++i) {
    const Admission call = box.Admit();
    const Outcome failure{true, false, kMs, call.period, call.probe, Process(1 + uint32_t(i) % 2)};
    box.Settle(failure, 0);
  }
  EXPECT_EQ(box.state(), State::kOpen) << "admits without limit";
}

TEST(BreakerDamage, RandomBytesAreSurvivedAndPutRight) {
  uint32_t repaired = 0;
  const uint32_t seeds = std::max(Seeds(400), 50u);
  for (uint32_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const BreakerConfig config = RandomOfARegion(random);
    BreakerBox box(config);
    DamageCells(box.hot, Breaker::HotCells(config), random);
    DamageCells(box.cold, Breaker::ColdCells(config), random);
    const bool sound = box.memory().state.load() == 0;
    box.breaker.period();
    if (!sound) repaired += box.breaker.repairs() != 0;
    ExpectBoundedProbes(box);
    AskAnything(box, random);
    ExpectBoundedProbes(box);
    ExpectRecoveryOfARegion(box);
    if (HasFailure()) return;
  }
  EXPECT_GT(repaired, seeds / 3);
}

}  // namespace
}  // namespace sekering

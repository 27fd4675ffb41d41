// One breaker and many threads: nothing that is counted is lost, every step of the generation is
// taken once, and no more probe than may.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <functional>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "support/breaker_box.h"
#include "support/seeds.h"

namespace sekering {
namespace {

constexpr uint32_t kThreads = 4;

/// Runs `work(i)` on threads, and waits for them.
void OnThreads(const std::function<void(uint32_t)>& work) {
  std::vector<std::thread> pool;
  for (uint32_t i = 0; i < kThreads; ++i) pool.emplace_back(work, i);
  for (std::thread& thread : pool) thread.join();
}

TEST(TimeWindowThreads, NoCountIsLostWhenBucketsRollOver) {
  constexpr uint32_t kBuckets = 8;
  constexpr uint32_t kAdds = 3000;
  WindowBox box(kBuckets, true);
  for (uint32_t round = 1; round <= 60; ++round) {
    // All that the round before counted is stale by now, and each cell is taken over once more.
    const uint32_t first = UINT32_MAX - 29 * 1000 + round * 1000;
    std::atomic<uint32_t> done{0};
    OnThreads([&](uint32_t) {
      for (uint32_t i = 0; i < kAdds; ++i) {
        const uint32_t rolled = done.fetch_add(1) * kBuckets / (kThreads * kAdds);
        // Some writers are a bucket or two behind.
        const uint32_t epoch = first + rolled - std::min(rolled, i % 3);
        box.window.Add(Counter::kFires, epoch, 1);
        box.window.Add(Counter::kSuccesses, epoch, 1 + i % 2);
        box.window.AddLatency(i % 100, epoch, 1);
      }
    });
    const uint32_t last = first + kBuckets - 1;
    ASSERT_EQ(box.window.Sum(Counter::kFires, last), kThreads * kAdds) << round;
    ASSERT_EQ(box.window.Sum(Counter::kSuccesses, last), kThreads * kAdds * 3 / 2);
    std::array<LatencyCount, kLatencyCells> out;
    const size_t found = box.window.Latencies(last, out);
    uint64_t latencies = 0;
    for (size_t i = 0; i < found; ++i) latencies += out[i].count;
    ASSERT_EQ(latencies, kThreads * kAdds);
  }
}

TEST(BreakerThreads, OutcomesAddUp) {
  constexpr uint32_t kCalls = 2400;
  BreakerConfig config;
  config.shared = true;
  config.buckets = 20;
  config.slow_call = 10 * kMs;
  config.rules.consecutive_failures = UINT32_MAX;
  config.rules.sliding_window_size = LastCalls::kSizeMax;
  BreakerBox box(config);
  std::atomic<Micros> clock{BreakerBox::kStart};
  OnThreads([&](uint32_t) {
    Breaker breaker(config, box.hot.data(), box.cold.data());
    for (uint32_t i = 0; i < kCalls; ++i) {
      const Micros now = clock.fetch_add(kSecond / 1000);
      const Admission call = breaker.Admit(now, 0.5);
      breaker.Add(Counter::kFires, breaker.EpochAt(now), Count(1));
      const bool failed = i % 3 == 0;
      const Micros latency = i % 4 == 0 ? 10 * kMs : kMs;
      EXPECT_FALSE(breaker.Record({failed, i % 6 == 0, latency, call.period}, now));
    }
  });
  box.now = clock.load();
  constexpr uint64_t kAll = uint64_t{kThreads} * kCalls;
  EXPECT_EQ(box.Sum(Counter::kFires), kAll);
  EXPECT_EQ(box.Sum(Counter::kFailures), kAll / 3);
  EXPECT_EQ(box.Sum(Counter::kSuccesses), kAll * 2 / 3);
  EXPECT_EQ(box.Sum(Counter::kTimeouts), kAll / 6);
  EXPECT_EQ(box.Sum(Counter::kSlowCalls), kAll / 4);
  EXPECT_EQ(box.breaker.generation(), Generation(0));
}

/// What one thread saw and did; put together afterwards.
struct Diary {
  std::vector<Period> trips;  // the periods that it ended by a trip
  uint64_t probes = 0;
};

/// Threads that call, settle late, trip and poll, each by a view of its own.
class Crowd {
 public:
  static constexpr uint32_t kGenerationsMax = 1U << 20;

  Crowd(const BreakerConfig& config, uint32_t steps)
      : config_(config),
        steps_(steps),
        box_(config),
        holders_(kGenerationsMax),
        wins_(kGenerationsMax) {}

  void Run() {
    OnThreads([this](uint32_t i) { Work(i); });
  }

  /// Every period but the last was ended once, by what may end it; and what the trips leave to
  /// be explained are the steps that each of their circuits takes: half-open, closed, ramped.
  void ExpectEveryStepOnce() {
    std::set<Period> trips;
    uint64_t probes = 0;
    std::array<uint64_t, 4> trips_from{};
    for (const Diary& diary : diaries_) {
      for (const Period period : diary.trips) {
        EXPECT_TRUE(trips.insert(period).second) << "tripped twice: " << period.value();
        ++trips_from[static_cast<uint32_t>(StateOf(period))];
      }
      probes += diary.probes;
    }
    const State last = box_.state();
    const auto ended = [&](uint64_t entered, State state) {
      return entered - (last == state) - trips_from[static_cast<uint32_t>(state)];
    };
    const uint64_t half_opened = ended(trips.size(), State::kOpen);
    const uint64_t closed = ended(half_opened, State::kHalfOpen);
    const uint64_t ramped = config_.ramp_up > 0 ? ended(closed, State::kRamping) : 0;
    EXPECT_EQ(box_.breaker.generation().value(), trips.size() + half_opened + closed + ramped);
    EXPECT_GT(trips.size(), 20u) << "the crowd did something";
    EXPECT_GT(closed, 20u);
    EXPECT_GE(probes, half_opened - 1);
    ExpectClosingsWereWon(trips);
  }

 private:
  struct InFlight {
    Admission call;
    Micros began;
  };

  /// A half-open circuit that nobody tripped has closed: then its own probes have won.
  void ExpectClosingsWereWon(const std::set<Period>& trips) {
    for (const Period period : trips) {
      const uint32_t half_open = GenerationOf(period).value() + 2;
      if (half_open >= box_.breaker.generation().value()) continue;
      if (trips.count(MakePeriod(Generation(half_open), State::kHalfOpen)) != 0) continue;
      EXPECT_GE(wins_[half_open].load(), config_.success_threshold) << half_open;
    }
  }

  void Work(uint32_t index) {
    Breaker breaker(config_, box_.hot.data(), box_.cold.data());
    std::minstd_rand random(index + 1);
    std::vector<InFlight> in_flight;
    uint32_t generation = 0;
    for (uint32_t step = 0; step < steps_; ++step) {
      const Micros now = clock_.fetch_add(1 + random() % 8);
      breaker.Add(Counter::kFires, breaker.EpochAt(now), Count(1));
      const Admission call =
          breaker.Admit(now, static_cast<double>(random() % 1000) / 1000, Participant(index));
      if (call.admitted) {
        Enter(call, index);
        in_flight.push_back({call, now});
      }
      if (random() % 16 == 0) breaker.Poll(now);
      if (random() % 512 == 0) std::this_thread::yield();
      ExpectOnwards(breaker.generation().value(), generation);
      if (in_flight.size() > 2 || (!in_flight.empty() && random() % 2 == 0)) {
        const size_t i = random() % in_flight.size();
        Leave(breaker, in_flight[i].call, random(), index);
        in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    for (const InFlight& entry : in_flight) Leave(breaker, entry.call, random(), index);
  }

  static void ExpectOnwards(uint32_t seen, uint32_t& before) {
    EXPECT_GE(seen, before);
    ASSERT_LT(seen, kGenerationsMax);
    before = seen;
  }

  void Enter(const Admission& call, uint32_t index) {
    const State state = StateOf(call.period);
    if (call.probe == kNoProbe) {
      EXPECT_TRUE(state == State::kClosed || state == State::kRamping) << state;
      return;
    }
    EXPECT_EQ(state, State::kHalfOpen);
    ++diaries_[index].probes;
    EXPECT_LT(holders_[GenerationOf(call.period).value()].fetch_add(1), config_.half_open_probes);
  }

  void Leave(Breaker& breaker, const Admission& call, uint32_t chance, uint32_t index) {
    const Micros now = clock_.fetch_add(1);
    const bool fails = chance % 100 < 40;
    const bool abandons = !fails && chance % 100 < 45;
    const uint32_t generation = GenerationOf(call.period).value();
    if (call.probe != kNoProbe && !fails) {
      if (!abandons) wins_[generation].fetch_add(1);
      holders_[generation].fetch_sub(1);  // Before it can be free.
    }
    if (abandons) {
      breaker.Abandon(call.period, call.probe);
      return;
    }
    if (!breaker.Record({fails, false, kMs, call.period, call.probe}, now)) return;
    if (breaker.Trip(call.period, 0, now)) diaries_[index].trips.push_back(call.period);
  }

  BreakerConfig config_;
  uint32_t steps_;
  BreakerBox box_;
  std::atomic<Micros> clock_{BreakerBox::kStart};
  std::vector<std::atomic<uint32_t>> holders_;
  std::vector<std::atomic<uint32_t>> wins_;
  std::array<Diary, kThreads> diaries_;
};

BreakerConfig Hectic() {
  BreakerConfig config;
  config.shared = true;
  config.rules.consecutive_failures = 3;
  config.bucket_length = 100;
  config.reset_initial = config.reset_max = 50;
  config.probe_lease = kNever;
  return config;
}

TEST(BreakerThreads, EveryStepIsTakenOnce) {
  Crowd crowd(Hectic(), 100'000 / kSanitizerSlowdown);
  crowd.Run();
  crowd.ExpectEveryStepOnce();
}

TEST(BreakerThreads, EveryStepIsTakenOnceWithSeveralProbes) {
  for (const uint32_t probes : {2U, 3U, kProbesMax}) {
    BreakerConfig config = Hectic();
    config.half_open_probes = probes;
    config.success_threshold = 3;
    Crowd crowd(config, 50'000 / kSanitizerSlowdown);
    crowd.Run();
    crowd.ExpectEveryStepOnce();
  }
}

TEST(BreakerThreads, EveryStepIsTakenOnceWithARamp) {
  BreakerConfig config = Hectic();
  config.ramp_up = 60;
  config.success_threshold = 2;
  config.rules.error_threshold_percentage = 30;
  config.rules.sliding_window_size = 20;
  config.rules.minimum_calls = 5;
  Crowd crowd(config, 100'000 / kSanitizerSlowdown);
  crowd.Run();
  crowd.ExpectEveryStepOnce();
}

TEST(BreakerThreads, NoMoreProbesThanLeases) {
  constexpr Micros kLease = 2 * kMs;
  for (const uint32_t probes : {1U, 3U}) {
    BreakerConfig config = Hectic();
    config.half_open_probes = probes;
    config.probe_lease = kLease;
    BreakerBox box(config);
    box.breaker.HalfOpen();
    std::atomic<Micros> clock{BreakerBox::kStart};
    std::array<std::vector<Micros>, kThreads> granted;
    // Probes that never settle: a place is taken over when its lease has expired, and not before.
    OnThreads([&](uint32_t index) {
      for (int i = 0; i < 20'000; ++i) {
        const Micros now = clock.fetch_add(10 + i % 7);
        if (box.breaker.Admit(now, 0.5, Participant(index)).admitted) granted[index].push_back(now);
      }
    });
    std::vector<Micros> all;
    for (const auto& some : granted) all.insert(all.end(), some.begin(), some.end());
    std::sort(all.begin(), all.end());
    for (size_t i = probes; i < all.size(); ++i) {
      EXPECT_GT(all[i] / kMs, (all[i - probes] + kLease) / kMs) << "of " << probes;
    }
    const auto time = static_cast<uint64_t>(clock.load() - BreakerBox::kStart);
    EXPECT_GT(all.size(), probes * time / (kLease + 2 * kMs) / 2);
  }
}

/// All threads do the same at the same moment, over and over.
TEST(BreakerThreads, OneOfManyTakesEachStep) {
  constexpr uint32_t kRounds = 400 / kSanitizerSlowdown;
  BreakerConfig config = Hectic();
  config.half_open_probes = 2;
  config.success_threshold = 2;
  BreakerBox box(config);
  std::array<std::atomic<uint32_t>, 3> counts{};  // Trips, polls and probes of a round.
  std::atomic<bool> closed{true};
  std::barrier sync(kThreads);
  OnThreads([&](uint32_t index) {
    Breaker breaker(config, box.hot.data(), box.cold.data());
    for (uint32_t round = 0; round < kRounds; ++round) {
      const Micros now = BreakerBox::kStart + round * kSecond;
      const Period period = breaker.period();
      sync.arrive_and_wait();
      counts[0] += breaker.Trip(period, 0, now);
      sync.arrive_and_wait();
      counts[1] += breaker.Poll(now + 50);
      sync.arrive_and_wait();
      const Admission probe = breaker.Admit(now + 50, 0.5, Participant(index));
      counts[2] += probe.admitted;
      sync.arrive_and_wait();
      if (probe.admitted) breaker.Record({false, false, 1, probe.period, probe.probe}, now + 60);
      sync.arrive_and_wait();
      if (breaker.period() != MakePeriod(Generation(3 * (round + 1)), State::kClosed))
        closed = false;
      sync.arrive_and_wait();
    }
  });
  EXPECT_EQ(counts[0], kRounds);
  EXPECT_EQ(counts[1], kRounds);
  EXPECT_EQ(counts[2], 2 * kRounds);
  EXPECT_TRUE(closed);
  EXPECT_EQ(box.breaker.generation(), Generation(3 * kRounds));
}

TEST(BreakerThreads, ByHandFromAllSides) {
  BreakerBox box(Hectic());
  std::atomic<uint64_t> steps{0};
  OnThreads([&](uint32_t index) {
    std::minstd_rand random(index + 1);
    for (int i = 0; i < 30'000; ++i) {
      const Micros now = BreakerBox::kStart + i;
      switch (random() % 3) {
        case 0:
          steps += box.breaker.Open(now);
          break;
        case 1:
          steps += box.breaker.Close(now);
          break;
        default:
          steps += box.breaker.HalfOpen();
      }
      EXPECT_NE(box.breaker.StateBefore(0), State::kRamping);
    }
  });
  EXPECT_EQ(box.breaker.generation(), Generation(steps.load()));
  for (uint32_t age = 1; age < kHistoryMax; ++age) {
    EXPECT_NE(box.breaker.StateBefore(age), box.breaker.StateBefore(age - 1)) << age;
  }
}

}  // namespace
}  // namespace sekering

// Random lives of a breaker, step by step beside a slow and obvious model of one.

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/breaker_box.h"
#include "support/breaker_model.h"
#include "support/seeds.h"

namespace sekering {
namespace {

class Dice {
 public:
  explicit Dice(uint32_t seed) : random_(seed) {}

  uint32_t UpTo(uint32_t n) { return static_cast<uint32_t>(random_() % (uint64_t{n} + 1)); }
  bool OneIn(uint32_t n) { return UpTo(n - 1) == 0; }
  template <class T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[UpTo(static_cast<uint32_t>(values.size()) - 1)];
  }
  double Uniform() { return std::uniform_real_distribution<double>(0, 1)(random_); }

 private:
  std::mt19937_64 random_;
};

TripRules RandomRules(Dice& dice) {
  TripRules rules;
  if (dice.OneIn(2)) rules.error_threshold_percentage = dice.OneOf({0, 1, 28, 50, 75, 100});
  if (dice.OneIn(3)) rules.slow_call_threshold_percentage = dice.OneOf({1, 25, 50, 100});
  if (dice.OneIn(3)) rules.volume_threshold = dice.OneOf({1, 2, 5, 10});
  if (dice.OneIn(3)) rules.consecutive_failures = dice.OneOf({1, 2, 3, 5});
  if (dice.OneIn(3)) rules.failure_count = dice.OneOf({1, 2, 3, 8});
  if (dice.OneIn(3)) {
    rules.sliding_window_size = dice.OneOf({1, 2, 5, 31, 32, 33});
    rules.minimum_calls = 1 + dice.UpTo(rules.sliding_window_size - 1);
  }
  return rules;
}

BreakerConfig RandomConfig(Dice& dice) {
  BreakerConfig config;
  config.rules = RandomRules(dice);
  config.bucket_length = dice.OneOf<Micros>({0, kMs, 10 * kMs, 100 * kMs, kSecond});
  config.buckets = dice.OneOf({1, 2, 3, 8, 10, 20});
  config.percentiles = !dice.OneIn(3);
  config.shared = dice.OneIn(2);
  if (config.rules.slow_call_threshold_percentage >= 0) config.slow_call = 50 * kMs;
  config.half_open_probes = dice.OneOf({1, 1, 2, 3, 16});
  config.success_threshold = dice.OneOf({0, 1, 1, 2, 3, 5});
  config.probe_lease = dice.OneOf<Micros>({kMs, 1500, 20 * kMs, kSecond, kNever});
  config.reset_initial = dice.OneOf<Micros>({0, 1, kMs, 30 * kMs, kSecond, kNever});
  config.reset_factor = dice.OneOf({1.0, 1.5, 2.0, 10.0});
  config.reset_max = dice.OneOf<Micros>({config.reset_initial, 100 * kMs, 10 * kSecond, kNever});
  if (dice.OneIn(3)) config.ramp_up = dice.OneOf<Micros>({kMs, 100 * kMs, kSecond});
  if (dice.OneIn(4)) config.warm_up = dice.OneOf<Micros>({kMs, 100 * kMs, kNever});
  return config;
}

/// A breaker and its model, living the same life.
class Duel {
 public:
  Duel(Dice& dice, const BreakerConfig& config, uint32_t generation)
      : dice_(dice), box_(config), model_(config, box_.now, generation) {
    box_.StartAt(generation);
  }

  /// Lets the clock be behind at times, by up to `jitter`.
  void SetJitter(Micros jitter) { jitter_ = jitter; }

  void Step() {
    Advance();
    const uint32_t kind = dice_.UpTo(99);
    if (kind < 35) {
      Admit();
    } else if (kind < 70) {
      Settle();
    } else if (kind < 75) {
      Abandon();
    } else if (kind < 80) {
      Count();
    } else if (kind < 85) {
      CountSuccesses();
    } else if (kind < 90) {
      Log("poll");
      EXPECT_EQ(box_.breaker.Poll(box_.now), model_.Poll(box_.now));
    } else if (kind < 92) {
      StaleTrip();
    } else if (kind < 95) {
      Log("rotate");
      box_.breaker.Rotate();
      model_.Rotate();
    } else {
      MoveByHand();
    }
    box_.now += lag_;
    lag_ = 0;
    ExpectSame();
  }

  void ExpectSameToTheLast() {
    const Epoch epoch = box_.epoch();
    ASSERT_EQ(epoch, Epoch(static_cast<uint32_t>(model_.Epoch(box_.now))));
    for (uint32_t i = 0; i < kPlainCounters; ++i) ExpectSameCounts(static_cast<Counter>(i), epoch);
    std::array<LatencyCount, kLatencyCells> out;
    std::map<uint32_t, uint64_t> latencies;
    const size_t found = box_.breaker.window().Latencies(epoch, out);
    for (size_t i = 0; i < found; ++i) latencies[out[i].latency.value()] = out[i].count;
    ASSERT_EQ(latencies, model_.window().Latencies(epoch.value()));
    for (uint32_t age = 0; age < kHistoryMax; ++age) {
      ASSERT_EQ(box_.breaker.StateBefore(age), model_.StateBefore(age)) << age;
    }
    box_.breaker.Clear();
    ASSERT_TRUE(box_.AllZero());
  }

  const std::string& log() const { return log_; }

 private:
  struct InFlight {
    Admission real;
    BreakerModel::Call expected;
  };

  void Log(const std::string& what) {
    log_ += "\n  " + std::to_string(box_.now - BreakerBox::kStart) + " us: " + what;
  }

  void Advance() {
    const Micros left = box_.breaker.OpenFor(box_.now);
    switch (dice_.UpTo(9)) {
      case 0:
        box_.now += dice_.OneOf<Micros>({1, 999, kMs, 1001, 10 * kMs});
        break;
      case 1:
        box_.now += dice_.OneOf<Micros>({100 * kMs, kSecond, 3 * kSecond, 20 * kSecond});
        break;
      case 2:  // To the moment at which an open circuit may be tried, or just before it.
        if (left > 0 && left < 100 * kSecond) box_.now += left - dice_.UpTo(1);
        break;
      default:
        break;
    }
    if (jitter_ > 0 && dice_.OneIn(4)) lag_ = dice_.UpTo(static_cast<uint32_t>(jitter_));
    box_.now -= lag_;
  }

  void Admit() {
    const double random = dice_.OneIn(4) ? dice_.OneOf({0.0, 0.05, 0.1, 0.9999}) : dice_.Uniform();
    Log("admit, random " + std::to_string(random));
    box_.Add(Counter::kFires, 1);
    model_.Count(Counter::kFires, 1, box_.now);
    const Admission real = box_.Admit(random);
    const BreakerModel::Call expected = model_.Admit(box_.now, random);
    ASSERT_EQ(real.admitted, expected.admitted);
    ASSERT_EQ(real.period, PeriodOf(expected));
    ASSERT_EQ(real.probe != kNoProbe, expected.probe != 0);
    if (real.admitted) in_flight_.push_back({real, expected});
  }

  InFlight TakeInFlight() {
    const size_t i = dice_.UpTo(static_cast<uint32_t>(in_flight_.size()) - 1);
    const InFlight call = in_flight_[i];
    in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(i));
    return call;
  }

  void Settle() {
    if (in_flight_.empty()) return;
    const auto [real, expected] = TakeInFlight();
    const bool failed = !dice_.OneIn(3);
    const bool timed_out = failed && dice_.OneIn(4);
    const Micros latency = dice_.OneOf<Micros>({0, kMs, 49'999, 50 * kMs, kSecond, kNever});
    Log(std::string(failed ? "fail" : "succeed") + " in " + std::to_string(latency));
    const Outcome outcome{failed, timed_out, latency, real.period, real.probe};
    const bool trips = box_.breaker.Record(outcome, box_.now);
    ASSERT_EQ(trips, model_.Record(expected, failed, timed_out, latency, box_.now));
    // Whoever is told to trip may die before, and another may trip unasked.
    if (trips ? !dice_.OneIn(20) : dice_.OneIn(50)) Trip(real, expected);
  }

  void Trip(const Admission& real, const BreakerModel::Call& expected) {
    const Micros reset_min = dice_.OneOf<Micros>({0, 0, 0, 10 * kMs, 5 * kSecond, kNever});
    Log("trip, not before " + std::to_string(reset_min));
    ASSERT_EQ(box_.breaker.Trip(real.period, reset_min, box_.now),
              model_.Trip(expected, reset_min, box_.now));
    past_.push_back({real, expected});
  }

  void StaleTrip() {
    if (past_.empty()) return;
    const InFlight& call = past_[dice_.UpTo(static_cast<uint32_t>(past_.size()) - 1)];
    Log("trip of the past");
    ASSERT_EQ(box_.breaker.Trip(call.real.period, 0, box_.now),
              model_.Trip(call.expected, 0, box_.now));
  }

  void Abandon() {
    if (in_flight_.empty()) return;
    const auto [real, expected] = TakeInFlight();
    Log("abandon");
    box_.breaker.Abandon(real.period, real.probe);
    if (expected.probe != 0) model_.Abandon(expected);
  }

  void Count() {
    const auto counter = static_cast<Counter>(dice_.UpTo(kPlainCounters - 1));
    const uint32_t count = 1 + dice_.UpTo(3);
    Log("count " + std::to_string(static_cast<uint32_t>(counter)));
    box_.Add(counter, count);
    model_.Count(counter, count, box_.now);
  }

  void CountSuccesses() {
    const uint32_t count = 1 + dice_.UpTo(3);
    Log("count successes");
    box_.breaker.AddSuccesses(box_.epoch(), sekering::Count(count));
    model_.CountSuccesses(count, box_.now);
  }

  void MoveByHand() {
    switch (dice_.UpTo(5)) {
      case 0:
        Log("open");
        EXPECT_EQ(box_.breaker.Open(box_.now), model_.Open(box_.now));
        break;
      case 1:
      case 2:
        Log("close");
        EXPECT_EQ(box_.breaker.Close(box_.now), model_.Close(box_.now));
        break;
      case 3:
      case 4:
        Log("half-open");
        EXPECT_EQ(box_.breaker.HalfOpen(), model_.HalfOpen());
        break;
      default:
        Log("forget");
        box_.breaker.Forget();
        model_.Forget();
    }
  }

  static Period PeriodOf(const BreakerModel::Call& call) {
    return MakePeriod(Generation(static_cast<uint32_t>(call.generation)), call.state);
  }

  void ExpectSame() {
    ASSERT_EQ(StateOf(box_.breaker.period()), model_.state());
    ASSERT_EQ(box_.breaker.generation(), Generation(static_cast<uint32_t>(model_.generation())));
    ASSERT_EQ(box_.breaker.OpenFor(box_.now), model_.OpenFor(box_.now));
    ASSERT_EQ(box_.breaker.HasFreeProbe(box_.now), model_.HasFreeProbe(box_.now));
    ASSERT_EQ(box_.breaker.Warming(box_.now), model_.Warming(box_.now));
    const uint32_t age = dice_.UpTo(kHistoryMax - 1);
    ASSERT_EQ(box_.breaker.StateBefore(age), model_.StateBefore(age)) << age;
    ExpectSameCounts(dice_.OneOf({Counter::kFailures, Counter::kFires, Counter::kSuccesses}),
                     box_.epoch());
  }

  void ExpectSameCounts(Counter counter, Epoch epoch) {
    const TimeWindow& window = box_.breaker.window();
    ASSERT_EQ(window.Sum(counter, epoch), model_.window().Sum(counter, epoch.value()));
    const uint32_t age = dice_.UpTo(window.buckets() - 1);
    ASSERT_EQ(window.Bucket(counter, epoch, age).value(),
              model_.window().Bucket(counter, epoch.value(), age));
  }

  Dice& dice_;
  BreakerBox box_;
  BreakerModel model_;
  std::vector<InFlight> in_flight_;
  std::vector<InFlight> past_;
  Micros jitter_ = 0;
  Micros lag_ = 0;
  std::string log_;
};

/// Generations at which a part of them wraps, and ordinary ones.
uint32_t RandomGeneration(Dice& dice) {
  const uint32_t start =
      dice.OneOf({0U, 0U, 1U << 14, 1U << 16, 1U << 30, 1U << 31, 3U << 30, UINT32_MAX});
  return start == 0 ? 0 : start - dice.UpTo(10);
}

void RunDuels(uint32_t first_seed, uint32_t seeds, int steps, bool jitters) {
  for (uint32_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    Dice dice(seed);
    BreakerConfig config = RandomConfig(dice);
    // By a clock that is behind, a failure counts in a bucket of before the circuit closed.
    if (jitters) config.rules.failure_count = 0;
    Duel duel(dice, config, RandomGeneration(dice));
    if (jitters) duel.SetJitter(dice.OneOf<Micros>({kMs, 50 * kMs, 2 * kSecond}));
    for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) duel.Step();
    if (!testing::Test::HasFailure()) duel.ExpectSameToTheLast();
    if (testing::Test::HasFailure()) FAIL() << "seed " << seed << duel.log();
  }
}

TEST(BreakerRandom, ShortLives) {
  RunDuels(0, Seeds(8000), 60, false);
}

TEST(BreakerRandom, LongLives) {
  RunDuels(1'000'000, Seeds(400), 600, false);
}

TEST(BreakerRandom, LivesByAClockThatIsBehindAtTimes) {
  RunDuels(2'000'000, Seeds(4000), 60, true);
}

}  // namespace
}  // namespace sekering

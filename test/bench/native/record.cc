// Two threads record into one breaker: what that costs an outcome, lock-free as the addon does it,
// and with a mutex around the same breaker with plain counters.
//
// Prints, for each round, nanoseconds per outcome: tallied, single, with the mutex.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "core/breaker.h"

namespace {

using namespace sekering;

constexpr int kThreads = 2;
// How many outcomes of one breaker follow each other in the addon's ring under load, and how many
// of them have the same latency in whole milliseconds.
constexpr uint32_t kRun = 64;
constexpr uint32_t kSameLatency = 8;

struct Subject {
  explicit Subject(bool shared)
      : config(ConfigOf(shared)),
        hot(Breaker::HotCells(config)),
        cold(Breaker::ColdCells(config)),
        breaker(config, hot.data(), cold.data()) {
    breaker.Initialize(1);
  }

  static BreakerConfig ConfigOf(bool shared) {
    BreakerConfig config;
    config.shared = shared;
    return config;
  }

  BreakerConfig config;
  std::vector<Cell> hot;
  std::vector<Cell> cold;
  Breaker breaker;
  std::mutex mutex;
};

Millis LatencyOf(uint32_t i) {
  return Millis(i / kSameLatency % 16);
}

/// As the core drains an environment's ring.
void Tallied(Subject& subject, uint32_t outcomes, Micros now) {
  Breaker& breaker = subject.breaker;
  for (uint32_t i = 0; i < outcomes; i += kRun) {
    const Epoch epoch = breaker.EpochAt(now + i);
    for (uint32_t j = 0; j < kRun; j += kSameLatency) {
      breaker.AddLatency(LatencyOf(i + j), epoch, Count(kSameLatency));
    }
    breaker.Add(Counter::kFires, epoch, Count(kRun));
    breaker.AddSuccesses(epoch, Count(kRun));
  }
}

void Single(Subject& subject, uint32_t outcomes, Micros now) {
  Breaker& breaker = subject.breaker;
  for (uint32_t i = 0; i < outcomes; ++i) {
    breaker.Add(Counter::kFires, breaker.EpochAt(now + i), Count(1));
    breaker.Record({false, false, Micros{LatencyOf(i).value()} * 1000, breaker.period()}, now + i);
  }
}

void Locked(Subject& subject, uint32_t outcomes, Micros now) {
  Breaker& breaker = subject.breaker;
  for (uint32_t i = 0; i < outcomes; ++i) {
    const std::lock_guard<std::mutex> lock(subject.mutex);
    breaker.Add(Counter::kFires, breaker.EpochAt(now + i), Count(1));
    breaker.Record({false, false, Micros{LatencyOf(i).value()} * 1000, breaker.period()}, now + i);
  }
}

using Work = void (*)(Subject& subject, uint32_t outcomes, Micros now);

/// Nanoseconds per outcome while all threads work.
double Measure(Work work, Subject& subject, uint32_t outcomes, Micros now) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  std::vector<double> spent(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      ready.fetch_add(1);
      while (ready.load() < kThreads) std::this_thread::yield();
      const auto began = std::chrono::steady_clock::now();
      work(subject, outcomes, now);
      const std::chrono::duration<double, std::nano> took =
          std::chrono::steady_clock::now() - began;
      spent[t] = took.count();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return *std::max_element(spent.begin(), spent.end()) / (outcomes * kThreads);
}

}  // namespace

int main(int count, char** arguments) {
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 30;
  constexpr uint32_t kOutcomes = kRun * 2000;
  Subject lock_free(true);
  Subject plain(false);
  Micros now = 1000000;
  for (int round = 0; round < rounds; ++round) {
    const double tallied = Measure(Tallied, lock_free, kOutcomes, now);
    const double single = Measure(Single, lock_free, kOutcomes, now);
    const double locked = Measure(Locked, plain, kOutcomes, now);
    std::printf("%.2f %.2f %.2f\n", tallied, single, locked);
    now += kOutcomes;
  }
  const uint64_t expected = uint64_t{kThreads} * rounds * kOutcomes;
  const Epoch epoch = lock_free.breaker.EpochAt(now);
  const uint64_t counted = lock_free.breaker.window().Sum(Counter::kFires, epoch);
  // All happened within the window: nothing may be lost.
  return counted == 2 * expected || now > 9000000 ? 0 : 1;
}

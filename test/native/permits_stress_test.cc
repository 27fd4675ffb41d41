// Permits under threads and under processes that are killed: no limit is passed, nothing leaks.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <map>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "core/permits.h"
#include "support/times.h"

namespace sekering {
namespace {

/// Threads that acquire, check that no more than capacity are inside, and release.
template <size_t kParticipants>
void Contend(Bulkhead<kParticipants>& bulkhead, uint64_t capacity, uint32_t threads) {
  std::atomic<uint64_t> inside{0};
  std::atomic<uint64_t> most{0};
  std::atomic<uint64_t> granted{0};
  std::vector<std::thread> pool;
  for (uint32_t i = 0; i < threads; ++i) {
    pool.emplace_back([&, holder = Holder{i % static_cast<uint32_t>(kParticipants), 3}] {
      for (int round = 0; round < 20'000; ++round) {
        if (!bulkhead.TryAcquire(capacity, holder)) continue;
        const uint64_t now = inside.fetch_add(1) + 1;
        uint64_t before = most.load();
        while (before < now && !most.compare_exchange_weak(before, now)) {
        }
        granted.fetch_add(1);
        inside.fetch_sub(1);
        EXPECT_TRUE(bulkhead.Release(holder));
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  EXPECT_LE(most.load(), capacity);
  EXPECT_GT(granted.load(), 0u);
  EXPECT_EQ(bulkhead.InUse(), 0u);
}

TEST(BulkheadThreads, OneHolder) {
  Bulkhead<1> bulkhead{};
  Contend(bulkhead, 2, 4);
}

TEST(BulkheadThreads, OneHolderEach) {
  Bulkhead<4> bulkhead{};
  Contend(bulkhead, 1, 4);
  Contend(bulkhead, 3, 4);
}

TEST(BulkheadThreads, HoldersOfSeveralThreads) {
  Bulkhead<2> bulkhead{};
  Contend(bulkhead, 2, 4);
}

TEST(BulkheadThreads, OneHolderIsNeverRefusedWithoutReason) {
  Bulkhead<1> bulkhead{};
  std::vector<std::thread> pool;
  for (int i = 0; i < 4; ++i) {
    pool.emplace_back([&] {
      for (int round = 0; round < 20'000; ++round) {
        ASSERT_TRUE(bulkhead.TryAcquire(4));
        ASSERT_TRUE(bulkhead.Release());
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
}

/// Acquires and releases until it is killed.
[[noreturn]] void Churn(Bulkhead<8>& bulkhead, Holder holder, std::atomic<uint64_t>& started) {
  started.fetch_add(1);
  for (uint64_t round = 0;; ++round) {
    bulkhead.TryAcquire(6, holder);
    if (round % 3 != 0) bulkhead.Release(holder);
    if (round % 64 == 0) {
      while (bulkhead.Release(holder)) {
      }
    }
  }
}

TEST(BulkheadProcesses, KilledAnywhereNothingLeaks) {
  struct Region {
    Bulkhead<8> bulkhead{};
    std::atomic<uint64_t> started{0};
  };
  void* memory =
      mmap(nullptr, sizeof(Region), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Region* region = new (memory) Region();
  std::mt19937_64 random(2);
  std::map<pid_t, Holder> alive;
  for (uint32_t round = 0; round < 40; ++round) {
    const uint64_t started = region->started.load();
    const Holder holder{round % 4, round};
    const pid_t pid = fork();
    if (pid == 0) Churn(region->bulkhead, holder, region->started);
    ASSERT_GT(pid, 0);
    alive[pid] = holder;
    while (region->started.load() == started) std::this_thread::yield();
    if (alive.size() < 4) continue;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    const pid_t victim = alive.begin()->first;
    kill(victim, SIGKILL);
    waitpid(victim, nullptr, 0);
    region->bulkhead.Forfeit(alive[victim]);
    EXPECT_EQ(region->bulkhead.HeldBy(alive[victim]), 0u);
    alive.erase(victim);
    EXPECT_LE(region->bulkhead.InUse(), 6u + 3u) << "claims under way included";
  }
  for (const auto& [pid, holder] : alive) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    region->bulkhead.Forfeit(holder);
  }
  EXPECT_EQ(region->bulkhead.InUse(), 0u);
  munmap(memory, sizeof(Region));
}

TEST(TokenBucketThreads, GrantTheRateAndNoMore) {
  const TokenRate rate = TokenRate::Make(1000, kSecond, 50);
  TokenBucket bucket{};
  std::atomic<Micros> clock{0};
  std::atomic<uint64_t> granted{0};
  std::vector<std::thread> pool;
  for (int i = 0; i < 4; ++i) {
    pool.emplace_back([&] {
      for (Micros now = 0; now < kSecond; now = clock.fetch_add(20) + 20) {
        if (bucket.TryTake(rate, now) == 0) granted.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  EXPECT_LE(granted.load(), 1050u);
  EXPECT_GE(granted.load(), 1000u);
}

TEST(RetryBudgetThreads, SpendWhatWasEarned) {
  const RetryRate rate = RetryRate::Make(0.25, 0, 1e6);
  RetryBudget budget{};
  std::atomic<uint64_t> withdrawn{0};
  std::vector<std::thread> pool;
  for (int i = 0; i < 4; ++i) {
    pool.emplace_back([&] {
      for (int round = 0; round < 20'000; ++round) {
        budget.Deposit(rate);
        if (budget.TryWithdraw(rate, 0)) withdrawn.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  while (budget.TryWithdraw(rate, 0)) withdrawn.fetch_add(1);
  EXPECT_EQ(withdrawn.load(), 20'000u);
}

}  // namespace
}  // namespace sekering

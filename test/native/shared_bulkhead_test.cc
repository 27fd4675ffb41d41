// A bulkhead in a region. Each open Region is a participant, so one process can play many. A closed
// one is as dead as one that was killed, as the kernel drops its lock in both cases.

#include "core/shared_bulkhead.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/region.h"

#ifdef __linux__

namespace sekering {
namespace {

constexpr Micros kMillisecond = 1000;

/// A participant with its bulkhead.
class BulkheadUser {
 public:
  BulkheadUser(const std::string& path, uint64_t capacity) {
    EXPECT_EQ(region_.Open(path.c_str()), RegionError::kNone);
    const Attachment found = region_.Attach({2, "b", Description{}, SharedBulkhead::kHotCells, 0});
    EXPECT_EQ(found.error, RegionError::kNone);
    words_ = found.hot;
    bulkhead_.emplace(found.hot, region_, capacity);
  }
  SharedBulkhead* operator->() { return &*bulkhead_; }
  const Region& region() const { return region_; }
  /// The words as they lie in the region: how many participants count, then one per participant.
  Cell* words() { return words_; }
  Cell& word() { return words()[1 + region_.self().value()]; }

 private:
  Region region_;
  Cell* words_ = nullptr;
  std::optional<SharedBulkhead> bulkhead_;
};

class SharedBulkheadTest : public testing::Test {
 protected:
  void TearDown() override { unlink(path_.c_str()); }
  std::unique_ptr<BulkheadUser> Join(uint64_t capacity) {
    return std::make_unique<BulkheadUser>(path_, capacity);
  }

 private:
  static std::string NewPath() {
    static int number = 0;
    return testing::TempDir() + "shared_bulkhead_" + std::to_string(getpid()) + "_" +
           std::to_string(number++);
  }
  std::string path_ = NewPath();
};

TEST_F(SharedBulkheadTest, OneCapacityForAll) {
  const auto a = Join(3);
  const auto b = Join(3);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_TRUE((*b)->TryAcquire());
  EXPECT_TRUE((*b)->TryAcquire());
  EXPECT_FALSE((*a)->TryAcquire());
  EXPECT_FALSE((*b)->TryAcquire());
  EXPECT_EQ((*a)->InUse(), 3u);
  EXPECT_EQ((*a)->held(), 1u);
  EXPECT_EQ((*b)->held(), 2u);
  (*b)->Release();
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_EQ((*a)->repairs() + (*b)->repairs(), 0u);
}

TEST_F(SharedBulkheadTest, ReleaseGivesBackOnlyOnesOwn) {
  const auto a = Join(3);
  const auto b = Join(3);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_TRUE((*a)->TryAcquire());
  (*b)->Release();
  EXPECT_EQ((*b)->InUse(), 2u);
  (*a)->Release(5);
  EXPECT_EQ((*b)->InUse(), 0u);
}

TEST_F(SharedBulkheadTest, PermitsOfTheDeadComeBackWhenSomebodyIsRefused) {
  const auto a = Join(2);
  auto dead = Join(2);
  EXPECT_TRUE((*dead)->TryAcquire());
  EXPECT_TRUE((*dead)->TryAcquire());
  EXPECT_FALSE((*a)->TryAcquire());
  dead.reset();
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_EQ((*a)->InUse(), 1u);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_FALSE((*a)->TryAcquire());
  EXPECT_EQ((*a)->repairs(), 0u);
}

TEST_F(SharedBulkheadTest, PermitsOfTheDeadComeBackThoughTheirPlaceIsTaken) {
  const auto a = Join(2);
  auto dead = Join(2);
  EXPECT_TRUE((*dead)->TryAcquire());
  EXPECT_TRUE((*dead)->TryAcquire());
  const Participant place = dead->region().self();
  dead.reset();
  const auto heir = Join(2);
  ASSERT_EQ(heir->region().self(), place);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_TRUE((*heir)->TryAcquire());
  EXPECT_FALSE((*a)->TryAcquire());
  EXPECT_EQ((*heir)->InUse(), 2u);
}

TEST_F(SharedBulkheadTest, AWordThatHoldsMoreThanIsPossibleIsEmptied) {
  const auto a = Join(2);
  const auto b = Join(2);
  EXPECT_TRUE((*b)->TryAcquire());
  (*b)->Release();
  b->word().store(0x00FFFFFFFFFFFFFF);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_EQ((*a)->repairs(), 1u);
  EXPECT_EQ((*a)->InUse(), 1u);
}

TEST_F(SharedBulkheadTest, AWordOfNobodyIsEmptied) {
  const auto a = Join(2);
  a->words()[0].store(100);
  a->words()[1 + 77].store(2);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_EQ((*a)->InUse(), 1u);
}

TEST_F(SharedBulkheadTest, OnesOwnDamagedWordIsPutRight) {
  const auto a = Join(3);
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_TRUE((*a)->TryAcquire());
  for (const uint64_t damage : {uint64_t{0}, uint64_t{3}, ~uint64_t{0}}) {
    a->word().store(damage);
    EXPECT_TRUE((*a)->TryAcquire());
    EXPECT_FALSE((*a)->TryAcquire());
    EXPECT_EQ((*a)->InUse(), 3u);
    a->word().store(damage);
    (*a)->Release();
    EXPECT_EQ((*a)->InUse(), 2u);
  }
  EXPECT_GE((*a)->repairs(), 5u);
}

TEST_F(SharedBulkheadTest, ADamagedCountOfParticipantsIsPutRightByThoseWhoAcquire) {
  const auto a = Join(2);
  const auto b = Join(2);
  EXPECT_TRUE((*b)->TryAcquire());
  for (const uint64_t damage : {uint64_t{0}, ~uint64_t{0}}) {
    a->words()[0].store(damage);
    EXPECT_TRUE((*b)->TryAcquire());
    EXPECT_FALSE((*a)->TryAcquire());
    EXPECT_FALSE((*b)->TryAcquire());
    (*b)->Release();
  }
}

TEST_F(SharedBulkheadTest, YieldsToTheLinesOfOthersOnceInATurn) {
  const auto a = Join(1);
  const auto b = Join(1);
  Micros now = 1'000'000'000;
  EXPECT_TRUE((*a)->TryAcquire());
  EXPECT_FALSE((*a)->TryAcquireForLine(now));
  EXPECT_FALSE((*a)->MustYield(now)) << "nobody else waits";
  EXPECT_FALSE((*b)->TryAcquireForLine(now));
  EXPECT_TRUE((*a)->MustYield(now));
  EXPECT_FALSE((*a)->MustYield(now + 10 * kMillisecond)) << "its turn";
  now += SharedBulkhead::kTurn;
  EXPECT_FALSE((*a)->MustYield(now)) << "the other has not asked for long";
  EXPECT_FALSE((*b)->TryAcquireForLine(now + kMillisecond));
  EXPECT_TRUE((*a)->MustYield(now)) << "clocks that were read in the other order";
  (*a)->Release();
  EXPECT_TRUE((*b)->TryAcquireForLine(now));
  EXPECT_FALSE((*a)->MustYield(now + SharedBulkhead::kTurn)) << "the other has what it wanted";
}

TEST_F(SharedBulkheadTest, ThreadsNeverExceedTheCapacity) {
  constexpr uint64_t kCapacity = 3;
  constexpr int kThreads = 4;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> granted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      // Some die in between with their permits, and come back in their place.
      for (int life = 0; life < 10; ++life) {
        const auto member = Join(kCapacity);
        for (int i = 0; i < 2000; ++i) {
          if (!(*member)->TryAcquire()) continue;
          ++granted;
          const int now = ++running;
          int seen = most.load();
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
          --running;
          if (i < 1990) (*member)->Release();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most.load(), static_cast<int>(kCapacity));
  EXPECT_GT(granted.load(), 1000);
  const auto last = Join(kCapacity);
  EXPECT_TRUE((*last)->TryAcquire());
  EXPECT_EQ((*last)->InUse(), 1u);
  EXPECT_EQ((*last)->repairs(), 0u);
}

}  // namespace
}  // namespace sekering

#endif  // __linux__

// The window of the last calls (core/window.h).

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "core/window.h"
#include "support/cells.h"
#include "support/seeds.h"

namespace sekering {
namespace {

struct LastCallsBox {
  explicit LastCallsBox(uint32_t size)
      : cells(LastCalls::Cells(size)), position(1), calls(position.data(), cells.data(), size) {}

  Cells cells;
  Cells position;
  LastCalls calls;
};

void ExpectTotals(const LastCalls& calls, LastCalls::Totals expected, uint64_t since = 0) {
  const LastCalls::Totals totals = calls.Read(since);
  EXPECT_EQ(totals.calls, expected.calls);
  EXPECT_EQ(totals.failures, expected.failures);
  EXPECT_EQ(totals.slow, expected.slow);
}

TEST(LastCalls, StartsWithNothing) {
  LastCallsBox box(10);
  ExpectTotals(box.calls, {0, 0, 0});
}

TEST(LastCalls, OutcomesAreCountedApart) {
  LastCallsBox box(10);
  box.calls.Record(false, false);
  ExpectTotals(box.calls, {1, 0, 0});
  box.calls.Record(true, false);
  ExpectTotals(box.calls, {2, 1, 0});
  box.calls.Record(false, true);
  ExpectTotals(box.calls, {3, 1, 1});
  box.calls.Record(true, true);
  ExpectTotals(box.calls, {4, 2, 2});
}

TEST(LastCalls, TheOldestCallLeaves) {
  for (const uint32_t size : {1U, 2U, 31U, 32U, 33U, 63U, 64U, 65U, 100U, LastCalls::kSizeMax}) {
    SCOPED_TRACE(size);
    LastCallsBox box(size);
    box.calls.Record(true, true);
    for (uint32_t i = 1; i < size; ++i) box.calls.Record(false, false);
    ExpectTotals(box.calls, {size, 1, 1});
    box.calls.Record(false, false);
    ExpectTotals(box.calls, {size, 0, 0});
  }
}

TEST(LastCalls, FailuresOnlyForManyLaps) {
  for (const uint32_t size : {1U, 31U, 32U, 33U, 100U}) {
    LastCallsBox box(size);
    for (uint32_t i = 1; i <= 10 * size + 1000; ++i) {
      box.calls.Record(true, i % 2 == 0);
      const LastCalls::Totals totals = box.calls.Read(0);
      ASSERT_EQ(totals.calls, std::min(i, size));
      ASSERT_EQ(totals.failures, totals.calls);
      ASSERT_LE(std::max(totals.slow, totals.calls / 2) - totals.slow, 1u);
    }
  }
}

TEST(LastCalls, Since) {
  LastCallsBox box(10);
  for (int i = 0; i < 25; ++i) box.calls.Record(true, false);
  EXPECT_EQ(box.calls.position(), 25u);
  ExpectTotals(box.calls, {10, 10, 0}, 0);
  ExpectTotals(box.calls, {10, 10, 0}, 15);
  ExpectTotals(box.calls, {9, 9, 0}, 16);
  ExpectTotals(box.calls, {1, 1, 0}, 24);
  ExpectTotals(box.calls, {0, 0, 0}, 25);
  // Nothing begins in the future: that number is damaged.
  ExpectTotals(box.calls, {10, 10, 0}, 26);
  ExpectTotals(box.calls, {10, 10, 0}, UINT64_MAX);
}

TEST(LastCalls, PositionsBeyond32Bits) {
  LastCallsBox box(100);
  box.position.data()->store((uint64_t{1} << 37) - 50);
  for (uint32_t i = 0; i < 300; ++i) box.calls.Record(i % 4 == 0, i % 10 == 0);
  ExpectTotals(box.calls, {100, 25, 10});
}

TEST(LastCalls, ClearLeavesZeroedMemory) {
  for (const uint32_t size : {0U, 1U, 33U, 1000U}) {
    LastCallsBox box(size);
    for (uint32_t i = 0; size > 0 && i < 3 * size; ++i) box.calls.Record(true, true);
    box.calls.Clear();
    EXPECT_TRUE(box.cells.AllZero());
    EXPECT_TRUE(box.position.AllZero());
  }
}

TEST(LastCallsRandom, AnswersAsADeque) {
  const uint32_t sizes[] = {1, 2, 31, 32, 33, 64, 100, 500};
  for (uint32_t seed = 0; seed < Seeds(2000); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const uint32_t size = random() % 2 == 0 ? sizes[random() % 8] : 1 + random() % 200;
    const uint32_t failing = random() % 101;
    LastCallsBox box(size);
    struct Call {
      uint64_t number;
      bool failed;
      bool slow;
    };
    std::deque<Call> model;
    uint64_t since = 0;
    for (uint64_t number = 0; number < 3 * size + 70; ++number) {
      const Call call{number, random() % 100 < failing, random() % 4 == 0};
      box.calls.Record(call.failed, call.slow);
      model.push_back(call);
      if (model.size() > size) model.pop_front();
      if (random() % 50 == 0) since = number + 1 - random() % (std::min<uint64_t>(number, 40) + 1);
      LastCalls::Totals expected{0, 0, 0};
      for (const Call& past : model) {
        if (past.number < since) continue;
        ++expected.calls;
        expected.failures += past.failed;
        expected.slow += past.slow;
      }
      const LastCalls::Totals totals = box.calls.Read(since);
      ASSERT_EQ(totals.calls, expected.calls) << "size " << size << ", call " << number;
      ASSERT_EQ(totals.failures, expected.failures) << "size " << size << ", call " << number;
      ASSERT_EQ(totals.slow, expected.slow) << "size " << size << ", call " << number;
    }
  }
}

TEST(LastCallsRandom, TheLargestWindow) {
  constexpr uint32_t kSize = LastCalls::kSizeMax;
  std::mt19937 random(1);
  LastCallsBox box(kSize);
  std::deque<bool> model;
  uint32_t failures = 0;
  for (uint32_t i = 0; i < 45'000; ++i) {
    model.push_back(random() % 3 == 0);
    failures += model.back();
    box.calls.Record(model.back(), false);
    if (model.size() > kSize) {
      failures -= model.front();
      model.pop_front();
    }
    if (i % 500 == 0) {
      ASSERT_EQ(box.calls.Read(0).failures, failures) << i;
    }
  }
}

TEST(LastCallsThreads, NoCallIsLost) {
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kCalls = LastCalls::kSizeMax / kThreads;
  LastCallsBox box(LastCalls::kSizeMax);
  std::vector<std::thread> pool;
  for (uint32_t i = 0; i < kThreads; ++i) {
    pool.emplace_back([&box] {
      for (uint32_t call = 0; call < kCalls; ++call) box.calls.Record(call % 2 == 0, call % 5 == 0);
    });
  }
  for (std::thread& thread : pool) thread.join();
  ExpectTotals(box.calls, {kThreads * kCalls, kThreads * kCalls / 2, kThreads * kCalls / 5});
}

TEST(LastCallsThreads, ASmallWindowRollsOver) {
  for (const uint32_t size : {1U, 32U, 33U, 100U}) {
    LastCallsBox box(size);
    std::vector<std::thread> pool;
    for (uint32_t i = 0; i < 4; ++i) {
      pool.emplace_back([&box, size] {
        for (uint32_t call = 0; call < 5000; ++call) {
          box.calls.Record(true, false);
          const LastCalls::Totals totals = box.calls.Read(0);
          ASSERT_LE(totals.calls, size);
          ASSERT_LE(totals.failures, totals.calls);
          ASSERT_EQ(totals.slow, 0u);
        }
      });
    }
    for (std::thread& thread : pool) thread.join();
    EXPECT_EQ(box.calls.position(), 20'000u);
    ExpectTotals(box.calls, {size, size, 0});
  }
}

}  // namespace
}  // namespace sekering

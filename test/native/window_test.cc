#include "core/window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "support/cells.h"
#include "support/seeds.h"
#include "support/window_model.h"

namespace sekering {
namespace {

constexpr Counter kFire = Counter::kFires;
constexpr Counter kFail = Counter::kFailures;
constexpr int64_t kEpochs = int64_t{1} << 32;

Counter CounterAt(uint32_t index) {
  return static_cast<Counter>(index);
}

std::map<uint32_t, uint64_t> AsMap(std::span<const LatencyCount> latencies) {
  std::map<uint32_t, uint64_t> map;
  for (const auto& [latency, count] : latencies) {
    const uint32_t ms = latency.value();
    EXPECT_TRUE(map.empty() || map.rbegin()->first < ms) << "in ascending order";
    map[ms] = count;
  }
  return map;
}

std::map<uint32_t, uint64_t> Latencies(const PlainWindow& window, uint32_t epoch) {
  std::array<LatencyCount, kLatencyCells> out;
  return AsMap({out.data(), window.Latencies(epoch, out)});
}

std::map<uint32_t, uint64_t> BucketLatencies(const PlainWindow& window, uint32_t epoch,
                                             uint32_t age) {
  std::array<LatencyCount, kLatencyCells> out;
  return AsMap({out.data(), window.BucketLatencies(epoch, age, out)});
}

TEST(TimeWindow, StartsWithNothing) {
  WindowBox box(10);
  for (uint32_t i = 0; i < kCounters; ++i) EXPECT_EQ(box.window.Sum(CounterAt(i), 5), 0u);
  EXPECT_TRUE(Latencies(box.window, 5).empty());
  EXPECT_EQ(box.window.buckets(), 10u);
}

TEST(TimeWindow, CountsPerCounterAndBucket) {
  WindowBox box(10);
  for (uint32_t i = 0; i < kCounters; ++i) {
    box.window.Add(CounterAt(i), 3, i + 1);
    box.window.Add(CounterAt(i), 4, 10 * (i + 1));
  }
  for (uint32_t i = 0; i < kCounters; ++i) {
    EXPECT_EQ(box.window.Bucket(CounterAt(i), 4, 0), 10 * (i + 1));
    EXPECT_EQ(box.window.Bucket(CounterAt(i), 4, 1), i + 1);
    EXPECT_EQ(box.window.Bucket(CounterAt(i), 4, 2), 0u);
    EXPECT_EQ(box.window.Sum(CounterAt(i), 4), 11 * (i + 1));
  }
}

TEST(TimeWindow, ABucketExpiresWholeAndAtItsEdge) {
  for (const uint32_t buckets : {1U, 2U, 7U, 10U, 64U, 999U, kBucketsMax}) {
    SCOPED_TRACE(buckets);
    WindowBox box(buckets);
    box.window.Add(kFire, 5, 3);
    EXPECT_EQ(box.window.Sum(kFire, 5 + buckets - 1), 3u) << "the last epoch of its time";
    EXPECT_EQ(box.window.Bucket(kFire, 5 + buckets - 1, buckets - 1), 3u);
    EXPECT_EQ(box.window.Sum(kFire, 5 + buckets), 0u) << "the first epoch without it";
    box.window.Add(kFire, 5 + buckets, 1);
    EXPECT_EQ(box.window.Sum(kFire, 5 + buckets), 1u);
    EXPECT_EQ(box.window.Bucket(kFire, 5 + buckets, 0), 1u);
  }
}

TEST(TimeWindow, EveryBucketOfEverySize) {
  for (uint32_t buckets = 1; buckets <= kBucketsMax; buckets += buckets < 70 ? 1 : 31) {
    WindowBox box(buckets);
    const uint32_t last = 3 * buckets + 1;
    for (uint32_t epoch = 0; epoch <= last; ++epoch) box.window.Add(kFire, epoch, epoch);
    uint64_t sum = 0;
    for (uint32_t age = 0; age < buckets; ++age) {
      ASSERT_EQ(box.window.Bucket(kFire, last, age), last - age);
      sum += last - age;
    }
    ASSERT_EQ(box.window.Sum(kFire, last), sum);
  }
}

TEST(TimeWindow, NothingIsLeftAfterALongIdleGap) {
  for (const uint32_t gap : {10U, 11U, 19U, 20U, 1000U, 1U << 16, 1U << 30, (1U << 31) - 1}) {
    WindowBox box(10);
    for (uint32_t epoch = 0; epoch < 10; ++epoch) box.window.Add(kFire, epoch, 1);
    EXPECT_EQ(box.window.Sum(kFire, 9 + gap), 0u) << gap;
    box.window.Add(kFire, 9 + gap, 2);
    EXPECT_EQ(box.window.Sum(kFire, 9 + gap), 2u) << gap;
  }
}

TEST(TimeWindow, NorAfterHalfTheRangeOfEpochsAndMore) {
  // 2^31 buckets of a millisecond are 25 days.
  for (const uint32_t gap : {1U << 31, (1U << 31) + 5, 3U << 30, UINT32_MAX - (1U << 21)}) {
    WindowBox box(10);
    for (uint32_t epoch = 0; epoch < 10; ++epoch) box.window.Add(kFire, epoch, 1);
    EXPECT_EQ(box.window.Sum(kFire, 9 + gap), 0u) << gap;
    box.window.Add(kFire, 9 + gap, 2);
    EXPECT_EQ(box.window.Bucket(kFire, 9 + gap, 0), 2u) << gap;
    EXPECT_EQ(box.window.Sum(kFire, 9 + gap), 2u) << gap;
    EXPECT_EQ(box.window.Sum(kFire, 9 + gap + 10), 0u) << gap;
  }
}

TEST(TimeWindow, AFirstCountLate) {
  // A cell that was never used says epoch 0; that must not pass for a newer one.
  for (const uint32_t epoch : {1U << 31, (1U << 31) + 1, 3U << 30, UINT32_MAX, UINT32_MAX - 9}) {
    WindowBox box(10);
    box.window.Add(kFail, epoch, 7);
    EXPECT_EQ(box.window.Bucket(kFail, epoch, 0), 7u) << epoch;
    EXPECT_EQ(box.window.Sum(kFail, epoch + 10), 0u) << epoch;
  }
}

TEST(TimeWindow, EpochsWrapAround) {
  for (const uint32_t buckets : {1U, 2U, 8U, 64U, 512U}) {  // Divisors of 2^32.
    WindowBox box(buckets);
    for (int64_t epoch = kEpochs - 600; epoch < kEpochs + 600; ++epoch) {
      box.window.Add(kFire, static_cast<uint32_t>(epoch), 1);
      const int64_t expected = std::min<int64_t>(buckets, epoch - (kEpochs - 600) + 1);
      ASSERT_EQ(box.window.Sum(kFire, static_cast<uint32_t>(epoch)), expected) << epoch - kEpochs;
    }
  }
}

TEST(TimeWindow, AWrapMayCostAWindowButAddsNothing) {
  // Where the number of buckets does not divide 2^32, places are reused early at the wrap, once.
  WindowBox box(10);
  const auto add = [&box](int64_t epoch) {
    box.window.Add(kFire, static_cast<uint32_t>(epoch), 1);
    return box.window.Sum(kFire, static_cast<uint32_t>(epoch));
  };
  for (int64_t epoch = kEpochs - 30; epoch < kEpochs; ++epoch) add(epoch);
  for (int64_t epoch = kEpochs; epoch < kEpochs + 9; ++epoch) {
    const uint64_t sum = add(epoch);
    EXPECT_LE(sum, 10u);
    EXPECT_GE(sum, static_cast<uint64_t>(epoch - kEpochs + 1));
  }
  for (int64_t epoch = kEpochs + 9; epoch < kEpochs + 30; ++epoch) EXPECT_EQ(add(epoch), 10u);
}

TEST(TimeWindow, CountersSaturate) {
  for (const bool shared : {false, true}) {
    WindowBox box(2, shared);
    box.window.Add(kFire, 1, UINT32_MAX - 1);
    for (const uint32_t more : {1U, 1U, 7U, UINT32_MAX}) {
      box.window.Add(kFire, 1, more);
      EXPECT_EQ(box.window.Bucket(kFire, 1, 0), UINT32_MAX);
    }
    box.window.Add(kFire, 2, UINT32_MAX);
    EXPECT_EQ(box.window.Sum(kFire, 2), uint64_t{UINT32_MAX} * 2) << "a sum has 64 bits";
    EXPECT_EQ(box.window.Sum(kFire, 3), UINT32_MAX);
  }
}

TEST(TimeWindow, ALateWriterIsCountedWhereItIsNotLost) {
  WindowBox box(10);
  box.window.Add(kFire, 25, 1);
  box.window.Add(kFire, 24, 1);  // A bucket behind: it has a place of its own.
  EXPECT_EQ(box.window.Bucket(kFire, 25, 1), 1u);
  box.window.Add(kFire, 15, 1);  // A window behind: its place belongs to 25 by now.
  box.window.Add(kFire, 5, 1);
  EXPECT_EQ(box.window.Bucket(kFire, 25, 0), 3u);
  EXPECT_EQ(box.window.Sum(kFire, 25), 4u);
}

TEST(TimeWindow, ALateReaderSeesTheNewerCounts) {
  WindowBox box(10);
  box.window.Add(kFire, 25, 1);
  EXPECT_EQ(box.window.Sum(kFire, 24), 1u);
  EXPECT_EQ(box.window.Sum(kFire, 20), 1u);
  EXPECT_EQ(box.window.Bucket(kFire, 24, 0), 0u);
}

TEST(TimeWindow, ManualRotation) {
  WindowBox box(3);
  uint32_t rotations = 0;
  for (; rotations < 5; ++rotations) box.window.Add(kFire, rotations, 1U << rotations);
  EXPECT_EQ(box.window.Sum(kFire, 4), 4u + 8 + 16);
  EXPECT_EQ(box.window.Sum(kFire, 5), 8u + 16);
  EXPECT_EQ(box.window.Bucket(kFire, 5, 0), 0u);
  EXPECT_EQ(box.window.Sum(kFire, 7), 0u);
}

TEST(TimeWindow, LatenciesOfTheWindowAndOfABucket) {
  WindowBox box(4);
  for (const uint32_t ms : {0U, 7U, 8U, 63U, 64U, 1000U, kLatencyMsMax, UINT32_MAX}) {
    box.window.AddLatency(ms, 10, 2);
    box.window.AddLatency(ms, 12, 1);
  }
  const auto two = BucketLatencies(box.window, 12, 2);
  EXPECT_EQ(two.size(), 7u) << "the last two share a cell";
  EXPECT_EQ(two.at(7), 2u);
  EXPECT_EQ(two.at(8), 2u);
  EXPECT_EQ(two.at(LatencyOfCell(kLatencyCells - 1).value()), 4u);
  EXPECT_TRUE(BucketLatencies(box.window, 12, 1).empty());
  EXPECT_EQ(Latencies(box.window, 12).at(63), 3u);
  EXPECT_EQ(Latencies(box.window, 14).at(63), 1u);
  EXPECT_TRUE(Latencies(box.window, 16).empty());
}

TEST(TimeWindow, ThereIsRoomForEveryLatency) {
  WindowBox box(kBucketsMax);
  for (uint32_t cell = 0; cell < kLatencyCells; ++cell) {
    for (const uint32_t epoch : {0U, kBucketsMax - 1}) {
      box.window.AddLatency(LatencyOfCell(cell).value(), epoch, cell + 1);
    }
  }
  const auto found = Latencies(box.window, kBucketsMax - 1);
  ASSERT_EQ(found.size(), kLatencyCells);
  for (uint32_t cell = 0; cell < kLatencyCells; ++cell) {
    EXPECT_EQ(found.at(LatencyOfCell(cell).value()), 2u * (cell + 1));
  }
  for (uint32_t i = 0; i < kCounters; ++i) {
    if (CounterAt(i) == Counter::kLatencies) continue;
    EXPECT_EQ(box.window.Sum(CounterAt(i), kBucketsMax - 1), 0u) << "the counters are apart";
  }
}

TEST(TimeWindow, AShortSpanGetsWhatFitsIn) {
  WindowBox box(1);
  for (uint32_t ms = 0; ms < 10; ++ms) box.window.AddLatency(ms, 0, 1);
  std::array<LatencyCount, 3> out;
  EXPECT_EQ(box.window.Latencies(0, out), 3u);
  EXPECT_EQ(out[2].latency, Millis(2));
  EXPECT_EQ(box.window.Latencies(0, {}), 0u);
}

void FillWindow(PlainWindow& window) {
  for (uint32_t epoch = 0; epoch < 30; ++epoch) {
    for (uint32_t i = 0; i < kCounters; ++i) window.Add(CounterAt(i), epoch, 5);
    for (uint32_t ms = 0; ms < 1U << 22; ms = ms * 2 + 1) window.AddLatency(ms, epoch, 1);
  }
}

TEST(TimeWindow, ZeroForgetsEverything) {
  WindowBox box(10);
  FillWindow(box.window);
  box.window.Zero();
  for (uint32_t i = 0; i < kCounters; ++i) EXPECT_EQ(box.window.Sum(CounterAt(i), 29), 0u);
  EXPECT_TRUE(Latencies(box.window, 29).empty());
  EXPECT_TRUE(box.hot.AllZero());
  EXPECT_TRUE(box.cold.AllZero());
  FillWindow(box.window);
  EXPECT_EQ(box.window.Sum(kFire, 29), 50u);
}

TEST(TimeWindow, ClearLeavesZeroedMemory) {
  for (const uint32_t buckets : {1U, 10U, kBucketsMax}) {
    WindowBox box(buckets);
    FillWindow(box.window);
    EXPECT_FALSE(box.AllZero());
    box.window.Clear();
    EXPECT_TRUE(box.AllZero());
  }
}

/// One random run: a window and its model see the same, by writers and readers whose clocks
/// differ a little.
void RunAgainstModel(std::mt19937& random) {
  const auto upto = [&random](uint32_t n) { return static_cast<uint32_t>(random() % (n + 1)); };
  const uint32_t sizes[] = {1, 2, 3, 8, 10, 1 + upto(40)};
  const uint32_t buckets = sizes[upto(5)];
  WindowBox box(buckets, upto(1) == 1);
  WindowModel model(buckets);
  // Across the wrap too, where the number of buckets divides it.
  const bool wraps = upto(3) == 0 && kEpochs % buckets == 0;
  int64_t epoch = wraps ? kEpochs - upto(2 * buckets) : upto(1000);
  for (int step = 0; step < 80; ++step) {
    if (upto(3) == 0) epoch += upto(9) == 0 ? upto(4 * buckets) : upto(2);
    const int64_t at = upto(4) == 0 ? epoch - upto(upto(9) == 0 ? 3 * buckets : 2) : epoch;
    const int64_t seen = wraps ? at : std::max<int64_t>(at, 0);
    const auto low = static_cast<uint32_t>(seen);
    const Counter counter = CounterAt(upto(1) == 0 ? 0 : upto(kPlainCounters - 1));
    const uint32_t ms = upto(1) == 0 ? upto(9) : random() >> upto(31);
    const uint32_t count = 1 + upto(4);
    if (upto(1) == 0) {
      box.window.Add(counter, low, count);
      model.Add(counter, seen, count);
    } else {
      // Latencies agree among themselves as long as nobody is a whole window behind.
      const int64_t late = std::max(seen, epoch - buckets + 1);
      box.window.AddLatency(ms, static_cast<uint32_t>(late), count);
      model.AddLatency(ms, late, count);
    }
    if (upto(60) == 0) {
      box.window.Zero();
      model.Zero();
    }
    const uint32_t age = upto(buckets - 1);
    ASSERT_EQ(box.window.Sum(counter, low), model.Sum(counter, seen)) << "step " << step;
    ASSERT_EQ(box.window.Bucket(counter, low, age), model.Bucket(counter, seen, age));
    const auto last = static_cast<uint32_t>(epoch);
    ASSERT_EQ(Latencies(box.window, last), model.Latencies(epoch)) << "step " << step;
    ASSERT_EQ(BucketLatencies(box.window, last, age), model.BucketLatencies(epoch, age));
  }
  box.window.Clear();
  ASSERT_TRUE(box.AllZero());
}

TEST(TimeWindowRandom, AnswersAsItsModel) {
  for (uint32_t seed = 0; seed < Seeds(3000) && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    RunAgainstModel(random);
  }
}

}  // namespace
}  // namespace sekering

#include "core/shared_regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/breaker.h"
#include "support/breaker_box.h"
#include "support/processes.h"
#include "support/regions.h"

#ifdef __linux__

namespace sekering {
namespace {

constexpr Micros kStart = 1000 * kSecond;

RecordKey BreakerKey(const BreakerConfig& config, std::string name = "breaker") {
  return {static_cast<uint32_t>(RecordKind::kBreaker), std::move(name), Description{1, 2, 3},
          Breaker::HotCells(config), Breaker::ColdCells(config)};
}

BreakerConfig RegionBreaker() {
  BreakerConfig config = TwoInARow();
  config.shared = true;
  return config;
}

TEST(SharedRegion, FindsOrCreatesRecords) {
  const TemporaryPath path;
  SharedRegion one;
  SharedRegion other;
  ASSERT_EQ(one.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  const auto a = one.Attach(BreakerKey(RegionBreaker()));
  const auto b = other.Attach(BreakerKey(RegionBreaker()));
  ASSERT_EQ(a.error, RegionError::kNone);
  ASSERT_EQ(b.error, RegionError::kNone);
  a.record->hot()[0].store(StateWord(Generation(1), 1));
  EXPECT_EQ(b.record->hot()[0].load(), StateWord(Generation(1), 1));
  EXPECT_EQ(a.record->name(), "breaker");
  EXPECT_FALSE(a.record->Follow());
  a.record->Leave();
  b.record->Leave();
}

TEST(SharedRegion, KnowsOfWhichBreakersThereMayBeNews) {
  const TemporaryPath path;
  SharedRegion one;
  SharedRegion other;
  ASSERT_EQ(one.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  constexpr uint32_t kBreakers = 1000;
  std::vector<SharedRecord*> records;
  for (uint32_t i = 0; i < kBreakers; ++i) {
    const RecordKey key = BreakerKey(RegionBreaker(), "breaker " + std::to_string(i));
    records.push_back(one.Attach(key).record);
    SharedRecord* const same = other.Attach(key).record;
    ASSERT_NE(same, nullptr);
    same->id = i;
  }
  const auto changed = [&] { return other.BreakersIn(other.region().TakeNews()); };
  EXPECT_TRUE(changed().empty());
  for (const uint32_t i : {0u, 17u, 999u}) {
    records[i]->Announce();
    const std::vector<uint32_t> ids = changed();
    EXPECT_EQ(std::count(ids.begin(), ids.end(), i), 1);
    EXPECT_LT(ids.size(), 30u) << "it looks at what has not changed";
    EXPECT_TRUE(changed().empty());
  }
  for (SharedRecord* const record : records) record->Announce();
  EXPECT_EQ(changed().size(), kBreakers);
  // A use that nobody has made a breaker of, and one that is over.
  const RecordKey key = BreakerKey(RegionBreaker(), "breaker 0");
  SharedRecord* const unused = other.Attach(key).record;
  records[0]->Announce();
  std::vector<uint32_t> ids = changed();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), SharedMemory::kNoId), 0);
  unused->id = kBreakers;
  unused->Announce();
  ids = changed();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kBreakers), 1);
  unused->Leave();
  records[0]->Announce();
  ids = changed();
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kBreakers), 0);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0u), 1);
}

TEST(SharedRegion, RefusesAnotherDescriptionAndTellsWhatThereIs) {
  const TemporaryPath path;
  SharedRegion region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  region.Attach(BreakerKey(RegionBreaker()));
  RecordKey key = BreakerKey(RegionBreaker());
  key.description[1] = 5;
  const auto refused = region.Attach(key);
  EXPECT_EQ(refused.error, RegionError::kOtherDescription);
  EXPECT_EQ(refused.record, nullptr);
  EXPECT_EQ((*refused.description)[1], 2);
  key.kind = static_cast<uint32_t>(RecordKind::kBulkhead);
  EXPECT_EQ(region.Attach(key).error, RegionError::kOtherKind);
}

TEST(SharedRegion, AUseOfADamagedRecordFollows) {
  const TemporaryPath path;
  SharedRegion one;
  SharedRegion other;
  ASSERT_EQ(one.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  SharedRecord& a = *one.Attach(BreakerKey(RegionBreaker())).record;
  const Cell* const before = a.hot();
  const_cast<Cell*>(before - 3)->store(99);  // Of the record's header.
  SharedRecord& b = *other.Attach(BreakerKey(RegionBreaker())).record;
  EXPECT_TRUE(a.Follow());
  EXPECT_NE(a.hot(), before);
  b.hot()[0].store(StateWord(Generation(1), 1));
  EXPECT_EQ(a.hot()[0].load(), StateWord(Generation(1), 1));
  EXPECT_FALSE(a.Follow());
}

TEST(SharedRegion, RingsHereToo) {
  const TemporaryPath path;
  SharedRegion region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  SharedRecord& one = *region.Attach(BreakerKey(RegionBreaker())).record;
  one.Announce();
  EXPECT_FALSE(IsRung(region.region())) << "this is its only use here";
  SharedRecord& two = *region.Attach(BreakerKey(RegionBreaker())).record;
  one.Announce();
  EXPECT_TRUE(IsRung(region.region()));
  region.region().Silence();
  two.Leave();
  one.Announce();
  EXPECT_FALSE(IsRung(region.region()));
}

TEST(SharedRegion, ANewParticipantEndsTheLeasesOfItsPredecessor) {
  const TemporaryPath path;
  SharedRegion first;
  ASSERT_EQ(first.Open(path.c_str()), RegionError::kNone);
  const BreakerConfig config = RegionBreaker();
  SharedRecord& record = *first.Attach(BreakerKey(config)).record;
  Breaker breaker(config, record.hot(), record.cold());
  breaker.Initialize(kStart);
  breaker.HalfOpen();
  {
    SharedRegion predecessor;
    ASSERT_EQ(predecessor.Open(path.c_str()), RegionError::kNone);
    EXPECT_TRUE(breaker.Admit(kStart, 0.5, predecessor.region().self()).admitted);
  }
  EXPECT_FALSE(breaker.Admit(kStart, 0.5).admitted);
  SharedRegion successor;
  ASSERT_EQ(successor.Open(path.c_str()), RegionError::kNone);
  EXPECT_TRUE(breaker.Admit(kStart, 0.5).admitted);
}

TEST(SharedRegion, HasANameForItsLayout) {
  EXPECT_EQ(SharedRegion::LayoutName(), SharedRegion::LayoutName());
  EXPECT_EQ(SharedRegion::LayoutName().substr(0, 3), "v1.");
}

}  // namespace
}  // namespace sekering

#endif

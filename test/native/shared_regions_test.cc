#include "core/shared_regions.h"

#include <gtest/gtest.h>

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
  EXPECT_TRUE(one.BreakerIds().empty()) << "nobody has made a breaker of it";
  a.record->id = 7;
  EXPECT_EQ(one.BreakerIds(), std::vector<uint32_t>{7});
  a.record->Leave();
  EXPECT_TRUE(one.BreakerIds().empty());
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

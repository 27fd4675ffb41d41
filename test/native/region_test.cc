// The records of a region: found, made once, and refused when there is no room.

#include "core/region.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "core/breaker.h"
#include "support/processes.h"
#include "support/regions.h"

namespace sekering {
namespace {

TEST(RegionRecords, AreFoundByKindAndName) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  Description description{};
  description[3] = 1.5;
  const Attachment made = region.Attach({kKind, "name", description, 10, 2000});
  ASSERT_EQ(made.error, RegionError::kNone);
  EXPECT_TRUE(made.created);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(made.hot[i].load(), 0u);
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(made.cold[i].load(), 0u);
  made.cold[1999].store(5);
  Region other;
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  const Attachment found = Attach(other, "name", 10, 2000);
  EXPECT_FALSE(found.created);
  EXPECT_EQ(*found.description, description);
  EXPECT_EQ(found.cold[1999].load(), 5u);
  EXPECT_EQ(Attach(other, std::string(kRecordNameMax, 'x')).error, RegionError::kNone);
  EXPECT_EQ(other.Attach({2, "name", Description{}, 10, 10}).error, RegionError::kOtherKind);
  EXPECT_EQ(other.Records().size(), 2u);
}

TEST(RegionRecords, AFullTableSaysSo) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  for (uint32_t i = 0; i < kRecordsMax; ++i) {
    ASSERT_EQ(Attach(region, std::to_string(i), 1, 0).error, RegionError::kNone);
  }
  EXPECT_EQ(Attach(region, "one more").error, RegionError::kFull);
  EXPECT_FALSE(Attach(region, "77").created);
  EXPECT_EQ(region.Records().size(), kRecordsMax);
}

TEST(RegionRecords, FullMemorySaysSo) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  for (const size_t cells : {size_t{8} << 20, SIZE_MAX / 8 - 100, SIZE_MAX}) {
    EXPECT_EQ(Attach(region, "hot", cells, 0).error, RegionError::kFull);
  }
  for (const size_t cells : {size_t{65} << 20, SIZE_MAX / 8 - 600, SIZE_MAX}) {
    EXPECT_EQ(Attach(region, "cold", 1, cells).error, RegionError::kFull);
  }
  constexpr size_t kMegabyte = (1 << 20) / sizeof(Cell);
  int made = 0;
  while (Attach(region, std::to_string(made), kMegabyte, 0).error == RegionError::kNone) {
    ASSERT_LT(++made, 100);
  }
  EXPECT_GT(made, 40);
  EXPECT_EQ(Attach(region, "x", kMegabyte, 0).error, RegionError::kFull);
}

/// As cluster workers do: all begin with the same names at once.
TEST(RegionRecords, RacingForManyNamesLeavesRoomForAll) {
  constexpr unsigned kProcesses = 8;
  constexpr uint32_t kNames = 4096;
  BreakerConfig config;
  const size_t hot = Breaker::HotCells(config);
  const size_t cold = Breaker::ColdCells(config);
  const TemporaryPath path;
  Gate gate(kProcesses);
  Children children;
  for (unsigned i = 0; i < kProcesses; ++i) {
    children.Start([&] {
      Region region;
      if (region.Open(path.c_str()) != RegionError::kNone) return false;
      gate.Pass();
      for (uint32_t name = 0; name < kNames; ++name) {
        const Attachment found = Attach(region, std::to_string(name), hot, cold);
        if (found.error != RegionError::kNone) return false;
      }
      return true;
    });
  }
  children.ExpectAllWell();
}

}  // namespace
}  // namespace sekering

// Regions: files that are made, refused and healed, records, and who takes part.

#include "core/region.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <random>
#include <set>
#include <string>

#include "core/breaker.h"
#include "support/processes.h"

namespace sekering {
namespace {

constexpr uint32_t kKind = 1;

Attachment Attach(Region& region, std::string_view name, size_t hot_cells = 8) {
  return region.Attach(kKind, name, Description{}, hot_cells, 8);
}

ino_t InodeOf(const TemporaryPath& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return status.st_ino;
}

TEST(RegionFile, IsOursAlone) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(status.st_uid, geteuid());
  EXPECT_FALSE(region.replaced());
  // The tables, and not the half gigabyte that they can lead to.
  EXPECT_LT(status.st_blocks * 512, 256 << 10);
}

TEST(RegionFile, FiftyProcessesMakeOne) {
  constexpr unsigned kProcesses = 50;
  const TemporaryPath path;
  Gate gate(kProcesses);
  SharedWithChildren<std::array<std::atomic<uint32_t>, kParticipantsMax>> places;
  Children children;
  for (unsigned i = 0; i < kProcesses; ++i) {
    children.Start([&] {
      gate.Pass();
      Region region;
      if (region.Open(path.c_str()) != RegionError::kNone) return false;
      (*places)[region.index()].fetch_add(1);
      for (int name = 0; name < 20; ++name) {
        const Attachment found = Attach(region, "name " + std::to_string(name));
        if (found.error != RegionError::kNone) return false;
        found.hot[0].fetch_add(1);
        if (found.created) found.cold[0].fetch_add(1);
      }
      gate.Pass();  // Everybody lives until everybody has come.
      return true;
    });
  }
  children.ExpectAllWell();
  for (unsigned i = 0; i < kProcesses; ++i) EXPECT_EQ((*places)[i].load(), 1u) << i;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  EXPECT_EQ(region.Records().size(), 20u);
  for (int name = 0; name < 20; ++name) {
    const Attachment found = Attach(region, "name " + std::to_string(name));
    EXPECT_FALSE(found.created);
    EXPECT_EQ(found.hot[0].load(), kProcesses);
    EXPECT_EQ(found.cold[0].load(), 1u);
  }
}

TEST(RegionFile, LinksAndForeignFilesAreRefused) {
  const TemporaryPath path;
  const TemporaryPath other;
  {
    Region region;
    ASSERT_EQ(region.Open(other.c_str()), RegionError::kNone);
  }
  ASSERT_EQ(symlink(other.c_str(), path.c_str()), 0);
  EXPECT_EQ(Region().Open(path.c_str()), RegionError::kForeign);
  for (const mode_t mode : {0644, 0660, 0601}) {
    ASSERT_EQ(chmod(other.c_str(), mode), 0);
    EXPECT_EQ(Region().Open(other.c_str()), RegionError::kForeign) << mode;
  }
  const ino_t before = InodeOf(other);
  ASSERT_EQ(chmod(other.c_str(), 0600), 0);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(other.c_str(), 12345, 12345), 0);
    EXPECT_EQ(Region().Open(other.c_str()), RegionError::kForeign);
    ASSERT_EQ(chown(other.c_str(), 0, 0), 0);
  }
  EXPECT_EQ(Region().Open(other.c_str()), RegionError::kNone);
  EXPECT_EQ(InodeOf(other), before);
}

TEST(RegionFile, WhatIsNoFileIsRefused) {
  EXPECT_NE(Region().Open("/dev/shm"), RegionError::kNone);
  EXPECT_NE(Region().Open("/dev/null"), RegionError::kNone);
  EXPECT_EQ(Region().Open("/dev/shm/no such folder/region"), RegionError::kSystem);
  const TemporaryPath path;
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(Region().Open(path.c_str()), RegionError::kForeign);
}

/// Ten processes open a damaged file at once, and meet in one region.
void ExpectHealed(const TemporaryPath& path) {
  constexpr unsigned kProcesses = 10;
  Gate gate(kProcesses);
  SharedWithChildren<std::atomic<uint32_t>> replaced;
  Children children;
  for (unsigned i = 0; i < kProcesses; ++i) {
    children.Start([&] {
      gate.Pass();
      Region region;
      if (region.Open(path.c_str()) != RegionError::kNone) return false;
      replaced->fetch_add(region.replaced());
      Attach(region, "met").hot[0].fetch_add(1);
      gate.Pass();
      return true;
    });
  }
  children.ExpectAllWell();
  EXPECT_EQ(replaced->load(), 1u);
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  EXPECT_EQ(Attach(region, "met").hot[0].load(), kProcesses);
}

TEST(RegionDamage, ATruncatedFileIsReplaced) {
  for (const off_t size : {0, 100, 4096, 1 << 20}) {
    const TemporaryPath path;
    ASSERT_EQ(Region().Open(path.c_str()), RegionError::kNone);
    ASSERT_EQ(truncate(path.c_str(), size), 0);
    ExpectHealed(path);
  }
}

TEST(RegionDamage, RandomBytesAndAWrongMagicAreReplaced) {
  std::mt19937 random(1);
  for (const size_t count : {8, 200'000}) {
    const TemporaryPath path;
    ASSERT_EQ(Region().Open(path.c_str()), RegionError::kNone);
    std::fstream file(path.c_str(), std::ios::in | std::ios::out | std::ios::binary);
    for (size_t i = 0; i < count; ++i) file.put(static_cast<char>(random()));
    file.close();
    ExpectHealed(path);
  }
}

TEST(RegionDamage, ADamagedRecordIsReplaced) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  std::mt19937_64 random(2);
  std::set<Cell*> memories;
  for (uint32_t round = 0; round < 50; ++round) {
    const Attachment found = Attach(region, "name");
    ASSERT_EQ(found.error, RegionError::kNone);
    EXPECT_TRUE(found.created);
    EXPECT_TRUE(memories.insert(found.hot).second);
    EXPECT_EQ(region.repaired(), round);
    EXPECT_EQ(region.Records().size(), 1u);
    // Any word of the record, which lies before its cells.
    Cell& word = *(found.hot - 1 - random() % 40);
    word.store(word.load() ^ (random() | 1));
    EXPECT_EQ(region.Records().size(), 0u);
  }
}

/// Whatever the tables hold, attaching answers, and what it gives is memory of the region.
TEST(RegionDamage, RandomBytesInTheTables) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20; ++round) {
    const TemporaryPath path;
    Region region;
    ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
    Attach(region, "before");
    std::fstream file(path.c_str(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(16);  // Behind the magic.
    for (int i = 0; i < 130'000; ++i) {
      if (random() % 4 == 0) {
        file.put(static_cast<char>(random()));
      } else {
        file.seekp(1, std::ios::cur);
      }
    }
    file.close();
    Region late;
    ASSERT_EQ(late.Open(path.c_str()), RegionError::kNone);
    for (Region* one : {&region, &late}) {
      for (int i = 0; i < 20; ++i) {
        const Attachment found = Attach(*one, "after " + std::to_string(i));
        if (found.error == RegionError::kNone) {
          found.hot[7].fetch_add(1);
          found.cold[7].fetch_add(1);
        }
      }
      one->Records();
      one->LiveParticipants();
    }
  }
}

TEST(RegionRecords, AreFoundByKindAndName) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  Description description{};
  description[3] = 1.5;
  const Attachment made = region.Attach(kKind, "name", description, 10, 2000);
  ASSERT_EQ(made.error, RegionError::kNone);
  EXPECT_TRUE(made.created);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(made.hot[i].load(), 0u);
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(made.cold[i].load(), 0u);
  made.cold[1999].store(5);
  Region other;
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  const Attachment found = other.Attach(kKind, "name", Description{}, 10, 2000);
  EXPECT_FALSE(found.created);
  EXPECT_EQ(*found.description, description);
  EXPECT_EQ(found.cold[1999].load(), 5u);
  EXPECT_EQ(Attach(other, std::string(kRecordNameMax, 'x')).error, RegionError::kNone);
  EXPECT_EQ(other.Attach(2, "name", Description{}, 10, 10).error, RegionError::kOtherKind);
  EXPECT_EQ(other.Records().size(), 2u);
}

TEST(RegionRecords, AFullTableSaysSo) {
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  for (uint32_t i = 0; i < kRecordsMax; ++i) {
    ASSERT_EQ(region.Attach(kKind, std::to_string(i), Description{}, 1, 0).error,
              RegionError::kNone);
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
    EXPECT_EQ(region.Attach(kKind, "hot", Description{}, cells, 0).error, RegionError::kFull);
  }
  for (const size_t cells : {size_t{65} << 20, SIZE_MAX / 8 - 600, SIZE_MAX}) {
    EXPECT_EQ(region.Attach(kKind, "cold", Description{}, 1, cells).error, RegionError::kFull);
  }
  constexpr size_t kMegabyte = (1 << 20) / sizeof(Cell);
  int made = 0;
  while (region.Attach(kKind, std::to_string(made), Description{}, kMegabyte, 0).error ==
         RegionError::kNone) {
    ASSERT_LT(++made, 100);
  }
  EXPECT_GT(made, 40);
  EXPECT_EQ(region.Attach(kKind, "x", Description{}, kMegabyte, 0).error, RegionError::kFull);
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
        const Attachment found =
            region.Attach(kKind, std::to_string(name), Description{}, hot, cold);
        if (found.error != RegionError::kNone) return false;
      }
      return true;
    });
  }
  children.ExpectAllWell();
}

}  // namespace
}  // namespace sekering

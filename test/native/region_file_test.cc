// Files of regions: made once by many, refused, replaced when damaged.

#include "core/region_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>

#include "core/region.h"
#include "support/processes.h"
#include "support/regions.h"

namespace sekering {
namespace {

ino_t InodeOf(const TemporaryPath& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return status.st_ino;
}

TEST(RegionFile, IsNamedAfterAllThatItsLayoutDependsOn) {
  std::array<uint64_t, 3> shapes{1, 2, 3};
  const std::string name = Region::LayoutName(shapes);
  EXPECT_EQ(name, Region::LayoutName(shapes));
  EXPECT_EQ(name.size(), std::string("v1.00000000").size());
  for (uint64_t& shape : shapes) {
    ++shape;
    EXPECT_NE(name, Region::LayoutName(shapes));
    --shape;
  }
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
      (*places)[region.self().value()].fetch_add(1);
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

// Not all systems have files without names, nor ways to fill the holes of one.
#ifndef SEKERING_PORTABLE

/// Those who make a file are killed at some moment of that.
TEST(RegionFile, WhoIsKilledWhileMakingOneLeavesNoPartOfIt) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path("/dev/shm") / ("sekering-made-" + std::to_string(getpid()));
  fs::create_directory(folder);
  const std::string path = folder / "region";
  for (int round = 0; round < 100; ++round) {
    Children children;
    Gate gate(2);
    const pid_t child = children.Start([&] {
      gate.Pass();
      for (;;) {
        if (Region().Open(path.c_str()) != RegionError::kNone) return false;
        unlink(path.c_str());
      }
    });
    gate.Pass();
    usleep(static_cast<useconds_t>(200 + 37 * round));
    children.Kill(child);
    for (const fs::directory_entry& left : fs::directory_iterator(folder)) {
      EXPECT_TRUE(left.path() == path || left.is_socket()) << left.path();
    }
  }
  fs::remove_all(folder);
}

TEST(RegionFile, HolesInItsTablesAreFilledBeforeTheyAreUsed) {
  const TemporaryPath path;
  ASSERT_EQ(Region().Open(path.c_str()), RegionError::kNone);
  const int fd = open(path.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 65'536), 0);
  struct stat holes {};
  ASSERT_EQ(fstat(fd, &holes), 0);
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  EXPECT_FALSE(region.replaced());
  struct stat filled {};
  ASSERT_EQ(fstat(fd, &filled), 0);
  EXPECT_GE((filled.st_blocks - holes.st_blocks) * 512, 65'536);
  EXPECT_EQ(Attach(region, "name").error, RegionError::kNone);
  close(fd);
}

#endif

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

TEST(RegionFile, IsRemovedWhenNobodyTakesPart) {
  const TemporaryPath path;
  EXPECT_FALSE(RegionFile::RemoveUnused(path.c_str()));
  Gate gate(2);
  Children children;
  const pid_t child = children.Start([&] {
    Region region;
    if (region.Open(path.c_str()) != RegionError::kNone) return false;
    gate.Pass();
    for (;;) pause();
  });
  gate.Pass();
  EXPECT_FALSE(RegionFile::RemoveUnused(path.c_str()));
  kill(child, SIGSTOP);
  EXPECT_FALSE(RegionFile::RemoveUnused(path.c_str()));
  children.Kill(child);
  EXPECT_TRUE(RegionFile::RemoveUnused(path.c_str()));
  EXPECT_FALSE(RegionFile::RemoveUnused(path.c_str()));
}

TEST(RegionFile, TellsWhetherSomebodyTakesPart) {
  const TemporaryPath path;
  EXPECT_FALSE(RegionFile::IsUsed(path.c_str()));
  {
    Region region;
    ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
    EXPECT_TRUE(RegionFile::IsUsed(path.c_str()));
    // Asking disturbs nobody.
    Region other;
    EXPECT_EQ(other.Open(path.c_str()), RegionError::kNone);
    EXPECT_EQ(other.self(), Participant(1));
  }
  EXPECT_FALSE(RegionFile::IsUsed(path.c_str()));
  EXPECT_NE(InodeOf(path), 0u);
}

TEST(RegionFile, WhatIsNotOursIsNotRemoved) {
  const TemporaryPath path;
  const TemporaryPath other;
  ASSERT_EQ(Region().Open(other.c_str()), RegionError::kNone);
  ASSERT_EQ(symlink(other.c_str(), path.c_str()), 0);
  EXPECT_FALSE(RegionFile::RemoveUnused(path.c_str()));
  ASSERT_EQ(chmod(other.c_str(), 0644), 0);
  EXPECT_FALSE(RegionFile::RemoveUnused(other.c_str()));
  EXPECT_NE(InodeOf(other), 0u);
}

/// Whoever has joined takes part in the region that others find, whenever files are removed.
TEST(RegionFile, IsNotRemovedFromThoseWhoJoin) {
  constexpr unsigned kProcesses = 4;
  const TemporaryPath path;
  SharedWithChildren<std::atomic<bool>> is_over;
  Children children;
  for (unsigned i = 0; i < kProcesses; ++i) {
    children.Start([&] {
      for (unsigned round = 0; round < 200; ++round) {
        Region region;
        if (region.Open(path.c_str()) != RegionError::kNone) return false;
        if (RegionFile::RemoveUnused(path.c_str())) return false;
        Region second;
        if (second.Open(path.c_str()) != RegionError::kNone) return false;
        Attach(region, "met").hot[0].fetch_add(1);
        if (Attach(second, "met").hot[0].load() == 0) return false;
      }
      return true;
    });
  }
  Children sweepers;
  for (unsigned i = 0; i < 2; ++i) {
    sweepers.Start([&] {
      while (!is_over->load()) {
        RegionFile::RemoveUnused(path.c_str());
        sched_yield();
      }
      return true;
    });
  }
  children.ExpectAllWell();
  is_over->store(true);
  sweepers.ExpectAllWell();
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

}  // namespace
}  // namespace sekering

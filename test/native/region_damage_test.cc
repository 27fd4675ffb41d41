// Damaged regions are replaced or put right, and those who take part follow.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/region.h"
#include "support/processes.h"
#include "support/regions.h"

namespace sekering {
namespace {

void Overwrite(const Cell* cell, uint64_t word) {
  const_cast<Cell*>(cell)->store(word);
}
/// Any word of a record, which lies before its cells.
void DamageRecord(const Attachment& record, std::mt19937_64& random) {
  Cell& word = *(record.hot - 1 - random() % 40);
  word.store(word.load() ^ (random() | 1));
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
    DamageRecord(found, random);
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

// ---- Those who take part follow --------------------------------------------------------------

TEST(RegionFollowing, WhoHasADamagedRecordGoesOverToTheNewOne) {
  std::mt19937_64 random(4);
  const TemporaryPath path;
  Region first;
  Region second;
  Region late;
  for (Region* region : {&first, &second, &late}) {
    ASSERT_EQ(region->Open(path.c_str()), RegionError::kNone);
  }
  Attachment a = Attach(first, "name");
  Attachment b = Attach(second, "name");
  for (int round = 0; round < 20; ++round) {
    first.Silence();
    second.Silence();
    DamageRecord(a, random);
    EXPECT_TRUE(a.IsInPlace());
    const Attachment made = Attach(late, "name");
    ASSERT_EQ(made.error, RegionError::kNone);
    EXPECT_TRUE(made.created);
    EXPECT_NE(made.hot, a.hot);
    // They are told, and find it.
    EXPECT_TRUE(IsRung(first) && IsRung(second));
    const News news = first.TakeNews();
    EXPECT_TRUE(news.moved && news.groups.all());
    EXPECT_FALSE(a.IsInPlace() || b.IsInPlace());
    a = first.Reattach(Key("name"), a);
    b = second.Reattach(Key("name"), b);
    EXPECT_TRUE(a.IsInPlace() && b.IsInPlace());
    a.hot[0].fetch_add(1);
    b.hot[0].fetch_add(1);
    EXPECT_EQ(made.hot[0].load(), 2u);
  }
}

TEST(RegionFollowing, ADamagedPlaceOfTheTableIsPutBackByWhoUsesIt) {
  std::mt19937_64 random(5);
  const TemporaryPath path;
  Region region;
  Region late;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(late.Open(path.c_str()), RegionError::kNone);
  const Attachment made = Attach(region, "name");
  for (uint32_t round = 0; round < 50; ++round) {
    Overwrite(made.place, round == 0 ? 0 : random());
    EXPECT_FALSE(made.IsInPlace());
    const Attachment after = region.Reattach(Key("name"), made);
    EXPECT_EQ(after.hot, made.hot);
    EXPECT_TRUE(made.IsInPlace());
    EXPECT_EQ(region.repaired(), round + 1);
    const Attachment found = Attach(late, "name");
    EXPECT_FALSE(found.created);
    EXPECT_EQ(found.hot - reinterpret_cast<const Cell*>(found.place),
              made.hot - reinterpret_cast<const Cell*>(made.place));
  }
}

TEST(RegionFollowing, WhoComesBeforeThatGetsANewRecordAndTheOthersFollow) {
  const TemporaryPath path;
  Region region;
  Region late;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(late.Open(path.c_str()), RegionError::kNone);
  Attachment made = Attach(region, "name");
  Overwrite(made.place, 0);
  const Attachment anew = Attach(late, "name");
  EXPECT_TRUE(anew.created);
  EXPECT_TRUE(IsRung(region));
  made = region.Reattach(Key("name"), made);
  made.hot[3].store(77);
  EXPECT_EQ(anew.hot[3].load(), 77u);
}

TEST(RegionFollowing, WhoseDamagedPlaceAnotherNameGotFindsAPlaceOfItsOwn) {
  std::mt19937_64 random(6);
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  constexpr int kNames = 1000;
  std::vector<Attachment> records;
  records.reserve(kNames);
  for (int i = 0; i < kNames; ++i) records.push_back(Attach(region, std::to_string(i)));
  for (const Attachment& record : records) DamageRecord(record, random);
  // Other names take some of the places.
  for (int i = 0; i < 3 * kNames; ++i) {
    EXPECT_TRUE(Attach(region, "other " + std::to_string(i)).created);
  }
  int displaced = 0;
  for (int i = 0; i < kNames; ++i) {
    if (records[i].IsInPlace()) continue;
    ++displaced;
    records[i] = region.Reattach(Key(std::to_string(i)), records[i]);
    EXPECT_EQ(records[i].error, RegionError::kNone);
  }
  EXPECT_GT(displaced, 50);
  std::set<Cell*> memories;
  for (const Attachment& record : records) EXPECT_TRUE(memories.insert(record.hot).second);
}

TEST(RegionFollowing, RecordsBehindDamagedPlacesAreFound) {
  std::mt19937_64 random(7);
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  constexpr int kNames = 4000;
  std::vector<Attachment> records;
  records.reserve(kNames);
  for (int i = 0; i < kNames; ++i) records.push_back(Attach(region, std::to_string(i)));
  for (int i = 0; i < kNames; i += 2) Overwrite(records[i].place, i % 4 == 0 ? 0 : random());
  for (int i = 1; i < kNames; i += 2) {
    const Attachment found = Attach(region, std::to_string(i));
    EXPECT_FALSE(found.created);
    EXPECT_EQ(found.hot, records[i].hot);
  }
}

TEST(RegionFollowing, WhatIsKnownOfAParticipantIsPutBack) {
  const TemporaryPath path;
  Region region;
  Region other;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  ASSERT_EQ(other.Open(path.c_str()), RegionError::kNone);
  const uint32_t incarnation = region.incarnation();
  std::fstream file(path.c_str(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(16);
  for (uint32_t i = 0; i < 3 * kParticipantsMax * sizeof(Cell); ++i) file.put('\x5A');
  file.close();
  EXPECT_NE(other.IncarnationOf(region.self()), incarnation);
  region.Announce(0, true);
  EXPECT_EQ(other.IncarnationOf(region.self()), incarnation);
  EXPECT_EQ(other.ProcessOf(region.self()), Process(static_cast<uint32_t>(getpid())));
  // It rings, whatever the word beside its bell said.
  EXPECT_TRUE(IsRung(region));
  region.Silence();
  other.Announce(0, true);
  EXPECT_TRUE(IsRung(region));
}

// ---- The count of memory -----------------------------------------------------------------------

/// Whatever the count is, those who come get memory that nobody else has.
TEST(RegionDamage, TheCountOfMemoryIsFoundAgain) {
  std::mt19937_64 random(8);
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  constexpr size_t kHotCells = 300;
  std::vector<Cell*> memories;
  const auto add = [&] {
    const Attachment made = region.Attach(Key(std::to_string(memories.size()), kHotCells));
    EXPECT_EQ(made.error, RegionError::kNone);
    EXPECT_TRUE(made.created);
    memories.push_back(made.hot);
  };
  for (int i = 0; i < 100; ++i) add();
  for (uint32_t round = 0; round < 20; ++round) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    const uint64_t word = round == 0 ? 0 : round == 1 ? UINT64_MAX : random();
    ASSERT_EQ(pwrite(fd, &word, sizeof word, 8), 8);
    close(fd);
    for (int i = 0; i < 5; ++i) add();
    EXPECT_EQ(region.repaired(), round + 1);
  }
  std::sort(memories.begin(), memories.end());
  for (size_t i = 1; i < memories.size(); ++i) {
    EXPECT_GE(memories[i] - memories[i - 1], static_cast<ptrdiff_t>(kHotCells));
  }
  EXPECT_EQ(region.Records().size(), memories.size());
}

TEST(RegionDamage, ProcessesThatFindTheCountDamagedAtOnceDoNotMeetInMemory) {
  constexpr unsigned kProcesses = 8;
  constexpr int kNames = 50;
  const TemporaryPath path;
  Region region;
  ASSERT_EQ(region.Open(path.c_str()), RegionError::kNone);
  for (int i = 0; i < 20; ++i) Attach(region, "before " + std::to_string(i));
  Gate gate(kProcesses);
  Children children;
  for (unsigned i = 0; i < kProcesses; ++i) {
    children.Start([&, i] {
      Region own;
      if (own.Open(path.c_str()) != RegionError::kNone) return false;
      const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
      gate.Pass();
      std::vector<Attachment> made;
      for (int name = 0; name < kNames; ++name) {
        const uint64_t word = name;
        if (i == 0 && name % 10 == 0 && pwrite(fd, &word, sizeof word, 8) != 8) return false;
        made.push_back(Attach(own, std::to_string(i) + "/" + std::to_string(name)));
        if (made.back().error != RegionError::kNone) return false;
        made.back().hot[0].fetch_add(i * kNames + name + 1);
      }
      gate.Pass();
      for (int name = 0; name < kNames; ++name) {
        if (made[name].hot[0].load() != i * kNames + name + 1) return false;
      }
      return true;
    });
  }
  children.ExpectAllWell();
  EXPECT_EQ(region.Records().size(), 20 + kProcesses * kNames);
}

}  // namespace
}  // namespace sekering

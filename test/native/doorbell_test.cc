// Bells: who rings is heard by those who are there, and held up by nobody.

#include "core/doorbell.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/processes.h"

namespace sekering {
namespace {

bool IsRung(const Doorbell& bell) {
  pollfd poll_of{bell.handle(), POLLIN, 0};
  return poll(&poll_of, 1, 0) == 1;
}

std::string FileOf(const TemporaryPath& path, uint64_t name) {
  char number[17];
  std::snprintf(number, sizeof number, "%016llx", static_cast<unsigned long long>(name));
  return path.folder() + "/" + Doorbell::kPrefix + number;
}

bool IsEmpty(const TemporaryPath& path) {
  return std::filesystem::is_empty(path.folder());
}

/// As if the file had been there for two minutes.
void MakeOld(const std::string& file) {
  const time_t then = time(nullptr) - 120;
  const timespec times[] = {{then, 0}, {then, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

TEST(Doorbell, RingsUntilItIsSilenced) {
  const TemporaryPath path;
  Doorbell one;
  Doorbell other;
  ASSERT_TRUE(one.Open(path.folder()) && other.Open(path.folder()));
  EXPECT_NE(one.name(), other.name());
  EXPECT_FALSE(IsRung(one));
  other.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
  EXPECT_FALSE(IsRung(other));
  one.Silence();
  EXPECT_FALSE(IsRung(one));
  one.Silence();
  one.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
}

TEST(Doorbell, OneThatIsRungOftenIsSilencedAsWell) {
  const TemporaryPath path;
  Doorbell one;
  Doorbell other;
  ASSERT_TRUE(one.Open(path.folder()) && other.Open(path.folder()));
  for (int i = 0; i < 10'000; ++i) other.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
  // A queue may be longer than what is taken at once.
  for (int i = 0; i < 1000 && IsRung(one); ++i) one.Silence();
  EXPECT_FALSE(IsRung(one));
  other.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
}

TEST(Doorbell, ThoseThatNobodyAnswersHoldUpNoOther) {
  const TemporaryPath path;
  Doorbell own;
  ASSERT_TRUE(own.Open(path.folder()));
  std::vector<Doorbell> deaf(100);
  for (Doorbell& bell : deaf) {
    ASSERT_TRUE(bell.Open(path.folder()));
    for (int i = 0; i < 1000; ++i) own.Ring(bell.name());
  }
  Doorbell last;
  ASSERT_TRUE(last.Open(path.folder()));
  own.Ring(last.name());
  EXPECT_TRUE(IsRung(last));
}

TEST(Doorbell, HasANameThatOnlyItsUserCanRing) {
  const TemporaryPath path;
  const mode_t before = umask(0);
  Doorbell bell;
  ASSERT_TRUE(bell.Open(path.folder()));
  umask(before);
  struct stat status {};
  ASSERT_EQ(lstat(FileOf(path, bell.name()).c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  bell.Close();
  EXPECT_TRUE(IsEmpty(path));
}

TEST(Doorbell, ThatIsHiddenCanStillRing) {
  const TemporaryPath path;
  Doorbell one;
  Doorbell other;
  ASSERT_TRUE(one.Open(path.folder()) && other.Open(path.folder()));
  one.Hide();
  EXPECT_FALSE(std::filesystem::exists(FileOf(path, one.name())));
  other.Ring(one.name());
  EXPECT_FALSE(IsRung(one));
  one.Ring(other.name());
  EXPECT_TRUE(IsRung(other));
}

TEST(Doorbell, CannotBeWhereItsPathIsTooLongOrNoFolderIs) {
  const TemporaryPath path;
  Doorbell bell;
  EXPECT_FALSE(bell.Open(path.folder() + "/" + std::string(100, 'x')));
  EXPECT_EQ(errno, ENAMETOOLONG);
  EXPECT_FALSE(Doorbell().Open("/no/such/folder"));
  EXPECT_EQ(errno, ENOENT);
}

TEST(Doorbell, ThatOfADeadProcessIsRemovedAndNoOther) {
  const TemporaryPath path;
  SharedWithChildren<uint64_t> name;
  Gate gate(2);
  Children children;
  const pid_t child = children.Start([&] {
    Doorbell own;
    if (!own.Open(path.folder())) return false;
    *name = own.name();
    gate.Pass();
    return pause() == 0;
  });
  gate.Pass();
  const std::string file = FileOf(path, *name);
  MakeOld(file);
  kill(child, SIGSTOP);
  EXPECT_FALSE(Doorbell::RemoveDead(file.c_str()));
  children.Kill(child);
  Doorbell own;
  ASSERT_TRUE(own.Open(path.folder()));
  own.Ring(*name);
  own.Ring(own.name());
  EXPECT_TRUE(IsRung(own));

  MakeOld(FileOf(path, own.name()));
  EXPECT_FALSE(Doorbell::RemoveDead(FileOf(path, own.name()).c_str()));
  EXPECT_TRUE(Doorbell::RemoveDead(file.c_str()));
  EXPECT_FALSE(Doorbell::RemoveDead(file.c_str()));
  EXPECT_TRUE(std::filesystem::exists(FileOf(path, own.name())));
}

TEST(Doorbell, AYoungOneIsNotRemovedNorWhatIsNoBell) {
  const TemporaryPath path;
  uint64_t name = 0;
  Children children;
  SharedWithChildren<uint64_t> shared;
  children.Start([&] {
    Doorbell own;
    const bool is_open = own.Open(path.folder());
    *shared = own.name();
    kill(getpid(), is_open ? SIGKILL : SIGABRT);
    return false;
  });
  children.Await();
  name = *shared;
  // Its process may be between the two steps of naming it.
  EXPECT_FALSE(Doorbell::RemoveDead(FileOf(path, name).c_str()));
  MakeOld(FileOf(path, name));
  EXPECT_TRUE(Doorbell::RemoveDead(FileOf(path, name).c_str()));

  std::ofstream(path.c_str()) << "a file";
  MakeOld(path.c_str());
  EXPECT_FALSE(Doorbell::RemoveDead(path.c_str()));
  EXPECT_TRUE(std::filesystem::exists(path.c_str()));
}

}  // namespace
}  // namespace sekering

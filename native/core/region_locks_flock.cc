// Systems that have no locks of bytes that belong to an open file, such as macOS: locks of whole
// files. All who
// take part share a lock of the region's file, so that one who gets it alone has closed the door. A
// place has a file of its own, which its participant removes when it leaves.

#if !defined(_WIN32) && (!defined(__linux__) || defined(SEKERING_PORTABLE))

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/region_locks.h"

namespace sekering {

namespace {

bool Lock(int fd, int how) {
  return flock(fd, how | LOCK_NB) == 0;
}

/// Beside the region's file. lib/base/regions.js does not take it for a region.
std::string PlaceOf(const std::string& path, Participant participant) {
  char name[8];
  std::snprintf(name, sizeof name, "~p%03u", participant.value() % 1000);
  return path + name;
}

int OpenPlace(const std::string& path, int flags) {
  return open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, S_IRUSR | S_IWUSR);
}

/// Locks an open place. False if another one has it, or has removed its file meanwhile.
bool LockPlace(int fd, const std::string& path) {
  struct stat locked {};
  struct stat named {};
  return Lock(fd, LOCK_EX) && fstat(fd, &locked) == 0 && lstat(path.c_str(), &named) == 0 &&
         locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

}  // namespace

void RegionLocks::Use(int fd, const char* path) {
  fd_ = fd;
  path_ = path;
}

void RegionLocks::Hide() noexcept {
  if (place_ >= 0) unlink(PlaceOf(path_, taken_).c_str());
}

void RegionLocks::Release() noexcept {
  Hide();
  if (place_ >= 0) close(place_);
  if (folder_ >= 0) close(folder_);
  fd_ = place_ = folder_ = -1;
}

bool RegionLocks::TryTake(Participant participant) noexcept {
  if (!Lock(fd_, LOCK_SH)) return false;
  const std::string path = PlaceOf(path_, participant);
  const int fd = OpenPlace(path, O_CREAT);
  if (fd < 0) return false;
  if (!LockPlace(fd, path)) {
    close(fd);
    return false;
  }
  place_ = fd;
  taken_ = participant;
  return true;
}

bool RegionLocks::IsTakenByOther(Participant participant) const noexcept {
  const int fd = OpenPlace(PlaceOf(path_, participant), 0);
  if (fd < 0) return errno != ENOENT;
  // Shared, so that those who ask at the same time do not take each other for its participant.
  const bool is_taken = !Lock(fd, LOCK_SH);
  close(fd);
  return is_taken;
}

bool RegionLocks::IsAnyTaken() const noexcept {
  if (!Lock(fd_, LOCK_EX)) return true;
  Lock(fd_, LOCK_UN);
  return false;
}

bool RegionLocks::TryCloseDoor() noexcept {
  return Lock(fd_, LOCK_EX) && AwaitRemoval();
}

bool RegionLocks::IsDoorClosed() const noexcept {
  return !Lock(fd_, LOCK_SH);
}

bool RegionLocks::AwaitRemoval() noexcept {
  const std::string folder = path_.substr(0, path_.rfind('/') + 1);
  folder_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return folder_ >= 0 && flock(folder_, LOCK_EX) == 0;
}

void RegionLocks::RemoveRest(const char* path, bool of_all) noexcept {
  for (uint32_t i = 0; i < kParticipantsMax; ++i) {
    const std::string place = PlaceOf(path, Participant(i));
    const int fd = OpenPlace(place, 0);
    if (fd < 0) continue;
    if (of_all || LockPlace(fd, place)) unlink(place.c_str());
    close(fd);
  }
}

}  // namespace sekering

#endif

// Linux: locks of bytes far beyond the end of the file, owned by the open file. One byte is a
// place; one more is the door.

#if defined(__linux__) && !defined(SEKERING_PORTABLE)

#include <fcntl.h>
#include <unistd.h>

#include "core/region_locks.h"

namespace sekering {

namespace {

constexpr off_t kLocksAt = off_t{1} << 40;
constexpr uint32_t kDoor = kParticipantsMax;

struct flock LockOf(uint32_t place, off_t places = 1) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kLocksAt + place;
  lock.l_len = places;
  return lock;
}

bool IsLocked(int fd, struct flock lock) {
  return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace

void RegionLocks::Use(int fd, const char* path) {
  fd_ = fd;
  path_ = path;
}

void RegionLocks::Release() noexcept {
  fd_ = -1;  // The kernel drops them with the file.
}

bool RegionLocks::TryTake(Participant participant) noexcept {
  struct flock lock = LockOf(participant.value());
  return fcntl(fd_, F_OFD_SETLK, &lock) == 0;
}

bool RegionLocks::IsTakenByOther(Participant participant) const noexcept {
  return IsLocked(fd_, LockOf(participant.value()));
}

bool RegionLocks::IsAnyTaken() const noexcept {
  return IsLocked(fd_, LockOf(0, kParticipantsMax));
}

bool RegionLocks::TryCloseDoor() noexcept {
  struct flock lock = LockOf(0, kDoor + 1);
  return fcntl(fd_, F_OFD_SETLK, &lock) == 0;
}

bool RegionLocks::IsDoorClosed() const noexcept {
  return IsLocked(fd_, LockOf(kDoor));
}

bool RegionLocks::AwaitRemoval() noexcept {
  struct flock lock = LockOf(kDoor);
  return fcntl(fd_, F_OFD_SETLKW, &lock) == 0;
}

void RegionLocks::Hide() noexcept {}

void RegionLocks::RemoveRest(const char*, bool) noexcept {}

}  // namespace sekering

#endif

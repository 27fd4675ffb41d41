// Linux and macOS.

#ifndef _WIN32

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/region_file.h"
#include "core/region_layout.h"

namespace sekering {

namespace {

constexpr mode_t kMode = S_IRUSR | S_IWUSR;

bool IsOurs(const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 077) == 0;
}

#if defined(__linux__) && !defined(SEKERING_PORTABLE)

/// Backs a part of the file with storage: then writing to it cannot fail. False, with errno.
bool Back(int fd, size_t from, size_t bytes) {
  return fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(bytes)) == 0;
}

#else

/// The system cannot fill the holes of a file. So this only looks whether there is space for much
/// more than a part of the file.
bool Back(int fd, size_t, size_t bytes) {
  constexpr size_t kSpare = size_t{1} << 20;
  struct statvfs system {};
  if (fstatvfs(fd, &system) != 0) return false;
  if (system.f_bavail >= (bytes + kSpare) / system.f_frsize) return true;
  errno = ENOSPC;
  return false;
}

#endif

/// The bytes of a new region's header.
std::vector<uint64_t> EmptyHeader() {
  std::vector<uint64_t> words(kHotAt / sizeof(uint64_t));
  for (size_t i = 0; i < sizeof(RegionHeader) / sizeof(uint64_t); ++i) words[i] = FirstWord(i);
  return words;
}

bool Fill(int fd) {
  if (fchmod(fd, kMode) != 0 || ftruncate(fd, kFileBytes) != 0) return false;
  // Backed first: then writing cannot stop halfway.
  if (!Back(fd, 0, kHotAt)) return false;
  const std::vector<uint64_t> header = EmptyHeader();
  return pwrite(fd, header.data(), kHotAt, 0) == static_cast<ssize_t>(kHotAt);
}

#if defined(__linux__) && !defined(SEKERING_PORTABLE)

/// Creates a file without a name, and gives it `path` unless another process was faster. A process
/// that dies in between leaves nothing. False, with errno, if that fails or is not supported.
bool MakeNameless(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kMode);
  if (fd < 0) return false;
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  const bool made =
      Fill(fd) && (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0 ||
                   errno == EEXIST);
  const int error = errno;
  close(fd);
  errno = error;
  return made;
}

#else

bool MakeNameless(const std::string&) {
  errno = ENOTSUP;
  return false;
}

#endif

/// The same by way of a temporary name, for file systems where a file must have one.
bool MakeNamed(const std::string& path) {
  std::string temporary = path + "~XXXXXX";
  const int fd = mkstemp(temporary.data());
  if (fd < 0) return false;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  // link() does not replace a file: of all processes that race here, one gives its file the name.
  const bool made = Fill(fd) && (link(temporary.c_str(), path.c_str()) == 0 || errno == EEXIST);
  const int error = errno;
  unlink(temporary.c_str());
  close(fd);
  errno = error;
  return made;
}

RegionError Make(const char* path) {
  if (MakeNameless(path)) return RegionError::kNone;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) return RegionFile::SystemError();
  return MakeNamed(path) ? RegionError::kNone : RegionFile::SystemError();
}

}  // namespace

void RegionFile::Close() noexcept {
  if (base_ != nullptr) munmap(base_, kFileBytes);
  locks_.Release();
  if (fd_ >= 0) close(fd_);
  base_ = nullptr;
  fd_ = -1;
}

RegionError RegionFile::Map() noexcept {
  struct stat status {};
  if (fstat(fd_, &status) != 0) return SystemError();
  if (!IsOurs(status)) return RegionError::kForeign;
  if (static_cast<size_t>(status.st_size) != kFileBytes) return RegionError::kCorrupt;
  // Whoever has made holes in it, or copied it without its zeroes: no write may meet a full disk.
  if (!Back(fd_, 0, kHotAt)) return SystemError();
  void* const memory =
      mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (memory == MAP_FAILED) return SystemError();
  base_ = static_cast<std::byte*>(memory);
  return header()->magic.load() == kMagic ? RegionError::kNone : RegionError::kCorrupt;
}

RegionError RegionFile::Open(const char* path) noexcept {
  // The file may be removed between creating and opening it. Give up if that goes on for ever.
  for (int tries = 0; tries < 16; ++tries) {
    fd_ = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd_ < 0 && errno != ENOENT) return SystemError();
    if (fd_ < 0) {
      const RegionError error = Make(path);
      if (error != RegionError::kNone) return error;
      continue;
    }
    locks_.Use(fd_, path);
    const RegionError error = Map();
    if (error != RegionError::kCorrupt) return error;
    Unlink(path);
    Close();
  }
  return RegionError::kSystem;
}

/// Removes the damaged file that is open, if the path still leads to it. Every process that does so
/// waits for its turn first, so none removes the new file that another has put in its place.
void RegionFile::Unlink(const char* path) noexcept {
  if (locks_.AwaitRemoval() && IsNamed(path) && unlink(path) == 0) replaced_ = true;
}

bool RegionFile::IsNamed(const char* path) const noexcept {
  struct stat open_file {};
  struct stat named {};
  return fstat(fd_, &open_file) == 0 && lstat(path, &named) == 0 &&
         named.st_dev == open_file.st_dev && named.st_ino == open_file.st_ino;
}

bool RegionFile::OpenOurs(const char* path) noexcept {
  fd_ = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) return false;
  locks_.Use(fd_, path);
  struct stat status {};
  return fstat(fd_, &status) == 0 && IsOurs(status);
}

bool RegionFile::IsUsed(const char* path) noexcept {
  RegionFile file;
  return file.OpenOurs(path) && file.locks_.IsAnyTaken();
}

bool RegionFile::Remove(const char* path, bool is_over) noexcept {
  const bool existed = unlink(path) == 0;
  RegionLocks::RemoveRest(path, is_over);
  return existed;
}

bool RegionFile::RemoveUnused(const char* path) noexcept {
  RegionFile file;
  if (!file.OpenOurs(path) || !file.locks_.TryCloseDoor() || !file.IsNamed(path)) return false;
  RegionLocks::RemoveRest(path, false);
  return unlink(path) == 0;
}

bool RegionFile::IsBeingRemoved() const noexcept {
  return locks_.IsDoorClosed();
}

RegionError RegionFile::SystemError() noexcept {
  if (errno == ENOSPC || errno == EDQUOT) return RegionError::kNoSpace;
  return errno == ELOOP ? RegionError::kForeign : RegionError::kSystem;
}

bool RegionFile::TryLock(Participant participant) noexcept {
  return locks_.TryTake(participant);
}

bool RegionFile::IsLockedByOther(Participant participant) const noexcept {
  return locks_.IsTakenByOther(participant);
}

void RegionFile::Hide() noexcept {
  locks_.Hide();
}

bool RegionFile::Commit(const void* memory, size_t bytes) const noexcept {
  return Back(fd_, static_cast<size_t>(static_cast<const std::byte*>(memory) - base_), bytes);
}

}  // namespace sekering

#endif  // !_WIN32

#include "core/region_file.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/region_layout.h"

#ifdef __linux__
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace sekering {

#ifdef __linux__

namespace {

constexpr mode_t kMode = S_IRUSR | S_IWUSR;
constexpr off_t kLocksAt = off_t{1} << 40;  // Beyond the file: locks need no bytes.

struct flock LockOf(uint32_t place, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = kLocksAt + place;
  lock.l_len = 1;
  return lock;
}

bool IsOurs(const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 077) == 0;
}

/// The bytes of a new region's header.
std::vector<uint64_t> EmptyHeader() {
  std::vector<uint64_t> words(sizeof(RegionHeader) / sizeof(uint64_t));
  words[offsetof(RegionHeader, magic) / sizeof(uint64_t)] = kMagic;
  words[offsetof(RegionHeader, used) / sizeof(uint64_t)] = Used{0, 0, 0}.Word();
  uint64_t* const table = &words[offsetof(RegionHeader, table) / sizeof(uint64_t)];
  for (uint32_t slot = 0; slot < kTableSize; ++slot) table[slot] = SlotWord(slot, 0);
  return words;
}

bool Fill(int fd) {
  if (fchmod(fd, kMode) != 0 || ftruncate(fd, kFileBytes) != 0) return false;
  // Backed first: then writing cannot stop halfway.
  if (fallocate(fd, 0, 0, kHotAt) != 0) return false;
  const std::vector<uint64_t> header = EmptyHeader();
  const size_t bytes = header.size() * sizeof(uint64_t);
  return pwrite(fd, header.data(), bytes, 0) == static_cast<ssize_t>(bytes);
}

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

/// The same by way of a temporary name, for file systems where a file must have one.
bool MakeNamed(const std::string& path) {
  std::string temporary = path + "~XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return false;
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

RegionFile::~RegionFile() {
  Close();
}

void RegionFile::Close() noexcept {
  if (base_ != nullptr) munmap(base_, kFileBytes);
  if (fd_ >= 0) close(fd_);  // The kernel drops the lock with it.
  base_ = nullptr;
  fd_ = -1;
}

RegionHeader* RegionFile::header() const {
  return reinterpret_cast<RegionHeader*>(base_);
}

RegionError RegionFile::Map() noexcept {
  struct stat status {};
  if (fstat(fd_, &status) != 0) return SystemError();
  if (!IsOurs(status)) return RegionError::kForeign;
  if (static_cast<size_t>(status.st_size) != kFileBytes) return RegionError::kCorrupt;
  // Whoever has made holes in it, or copied it without its zeroes: no write may meet a full disk.
  if (fallocate(fd_, 0, 0, kHotAt) != 0) return SystemError();
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
    const RegionError error = Map();
    if (error != RegionError::kCorrupt) return error;
    Unlink(path);
    Close();
  }
  return RegionError::kSystem;
}

/// Removes the damaged file that is open, if the path still leads to it. Every process that does so
/// locks the file first, so none removes the new file that another has put in its place.
void RegionFile::Unlink(const char* path) noexcept {
  struct flock lock = LockOf(kDoor.value(), F_WRLCK);
  if (fcntl(fd_, F_OFD_SETLKW, &lock) != 0 || !IsNamed(path)) return;
  if (unlink(path) == 0) replaced_ = true;
}

bool RegionFile::IsNamed(const char* path) const noexcept {
  struct stat open_file {};
  struct stat named {};
  return fstat(fd_, &open_file) == 0 && lstat(path, &named) == 0 &&
         named.st_dev == open_file.st_dev && named.st_ino == open_file.st_ino;
}

bool RegionFile::OpenOurs(const char* path) noexcept {
  fd_ = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat status {};
  return fd_ >= 0 && fstat(fd_, &status) == 0 && IsOurs(status);
}

bool RegionFile::IsUsed(const char* path) noexcept {
  RegionFile file;
  if (!file.OpenOurs(path)) return false;
  struct flock lock = LockOf(0, F_WRLCK);
  lock.l_len = kParticipantsMax;
  return fcntl(file.fd_, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool RegionFile::RemoveUnused(const char* path) noexcept {
  RegionFile file;
  if (!file.OpenOurs(path)) return false;
  // One lock on the places of all participants and on kDoor: it fails if anybody takes part, and
  // while it is held, nobody can join.
  struct flock lock = LockOf(0, F_WRLCK);
  lock.l_len = kParticipantsMax + 1;
  if (fcntl(file.fd_, F_OFD_SETLK, &lock) != 0) return false;
  return file.IsNamed(path) && unlink(path) == 0;
}

Process RegionFile::CurrentProcess() {
  return Process(static_cast<uint32_t>(getpid()));
}

RegionError RegionFile::SystemError() noexcept {
  if (errno == ENOSPC || errno == EDQUOT) return RegionError::kNoSpace;
  return errno == ELOOP ? RegionError::kForeign : RegionError::kSystem;
}

bool RegionFile::TryLock(Participant participant) noexcept {
  struct flock lock = LockOf(participant.value(), F_WRLCK);
  return fcntl(fd_, F_OFD_SETLK, &lock) == 0;
}

bool RegionFile::IsLockedByOther(Participant participant) const noexcept {
  struct flock lock = LockOf(participant.value(), F_WRLCK);
  if (fcntl(fd_, F_OFD_GETLK, &lock) != 0) return true;
  return lock.l_type != F_UNLCK;
}

bool RegionFile::Commit(const void* memory, size_t bytes) noexcept {
  const auto from = static_cast<const std::byte*>(memory) - base_;
  return fallocate(fd_, 0, from, static_cast<off_t>(bytes)) == 0;
}

#else

RegionFile::~RegionFile() = default;
void RegionFile::Close() noexcept {}
RegionHeader* RegionFile::header() const {
  return nullptr;
}
RegionError RegionFile::Open(const char*) noexcept {
  return RegionError::kUnsupported;
}
bool RegionFile::IsNamed(const char*) const noexcept {
  return true;
}
bool RegionFile::RemoveUnused(const char*) noexcept {
  return false;
}
bool RegionFile::IsUsed(const char*) noexcept {
  return false;
}
Process RegionFile::CurrentProcess() {
  return Process();
}
RegionError RegionFile::SystemError() noexcept {
  return RegionError::kUnsupported;
}
bool RegionFile::TryLock(Participant) noexcept {
  return false;
}
bool RegionFile::IsLockedByOther(Participant) const noexcept {
  return true;
}
bool RegionFile::Commit(const void*, size_t) noexcept {
  return true;
}

#endif

}  // namespace sekering

#ifdef _WIN32

#include <cerrno>
#include <cstdio>

#include "core/region_file.h"
#include "core/region_layout.h"
#include "core/windows_user.h"

namespace sekering {

namespace {

constexpr char kSession[] = "Local\\";  // Names in this session; those of all sessions need rights.

/// Sets errno.
RegionError ErrorOf(DWORD code) {
  switch (code) {
    case ERROR_ACCESS_DENIED:
    case ERROR_INVALID_HANDLE:  // The name is that of something else.
      errno = EACCES;
      return RegionError::kForeign;
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_NOT_ENOUGH_MEMORY:
      errno = ENOSPC;
      return RegionError::kNoSpace;
    default:
      errno = EIO;
      return RegionError::kSystem;
  }
}

/// The event that says that a participant is alive: the system ends it with its last handle.
std::string PlaceOf(const std::string& name, Participant participant) {
  char place[8];
  std::snprintf(place, sizeof place, "~p%03u", participant.value() % 1000);
  return name + place;
}

}  // namespace

void RegionFile::Close() noexcept {
  if (base_ != nullptr) UnmapViewOfFile(base_);
  if (place_ != nullptr) CloseHandle(place_);
  if (section_ != nullptr) CloseHandle(section_);
  base_ = nullptr;
  place_ = section_ = nullptr;
}

RegionError RegionFile::Open(const char* path) noexcept {
  WindowsUser user;
  name_ = std::string(kSession) + path;
  section_ =
      CreateFileMappingA(INVALID_HANDLE_VALUE, user.attributes(), PAGE_READWRITE | SEC_RESERVE,
                         static_cast<DWORD>(uint64_t{kFileBytes} >> 32),
                         static_cast<DWORD>(kFileBytes), name_.c_str());
  if (section_ == nullptr) return ErrorOf(GetLastError());
  if (GetLastError() == ERROR_ALREADY_EXISTS && !user.Owns(section_)) {
    return RegionError::kForeign;
  }
  base_ = static_cast<std::byte*>(MapViewOfFile(section_, FILE_MAP_ALL_ACCESS, 0, 0, 0));
  if (base_ == nullptr) return ErrorOf(GetLastError());
  if (!Commit(base_, kHotAt)) return ErrorOf(GetLastError());
  // Nobody can be the first here. So everybody writes what a new region begins with, in place of
  // zeroes, and the magic at last.
  Cell* const words = &header()->magic;
  for (size_t i = sizeof(RegionHeader) / sizeof(Cell); i-- > 0;) {
    uint64_t zero = 0;
    if (FirstWord(i) != 0) words[i].compare_exchange_strong(zero, FirstWord(i));
  }
  return header()->magic.load() == kMagic ? RegionError::kNone : RegionError::kCorrupt;
}

bool RegionFile::IsNamed(const char*) const noexcept {
  return true;
}

bool RegionFile::IsBeingRemoved() const noexcept {
  return false;
}

bool RegionFile::Remove(const char*, bool) noexcept {
  return false;
}

bool RegionFile::RemoveUnused(const char*) noexcept {
  return false;
}

bool RegionFile::IsUsed(const char* path) noexcept {
  const HANDLE section =
      OpenFileMappingA(FILE_MAP_READ, FALSE, (std::string(kSession) + path).c_str());
  if (section != nullptr) CloseHandle(section);
  return section != nullptr;
}

RegionError RegionFile::SystemError() noexcept {
  return ErrorOf(GetLastError());
}

bool RegionFile::TryLock(Participant participant) noexcept {
  WindowsUser user;
  const HANDLE place =
      CreateEventA(user.attributes(), TRUE, FALSE, PlaceOf(name_, participant).c_str());
  if (place != nullptr && GetLastError() != ERROR_ALREADY_EXISTS) {
    place_ = place;
    return true;
  }
  if (place != nullptr) CloseHandle(place);
  return false;
}

bool RegionFile::IsLockedByOther(Participant participant) const noexcept {
  const HANDLE place = OpenEventA(SYNCHRONIZE, FALSE, PlaceOf(name_, participant).c_str());
  if (place == nullptr) return GetLastError() != ERROR_FILE_NOT_FOUND;
  CloseHandle(place);
  return true;
}

void RegionFile::Hide() noexcept {}

bool RegionFile::Commit(const void* memory, size_t bytes) const noexcept {
  if (bytes == 0) return true;
  return VirtualAlloc(const_cast<void*>(memory), bytes, MEM_COMMIT, PAGE_READWRITE) != nullptr;
}

}  // namespace sekering

#endif  // _WIN32

// The file of a region: creating, opening, checking, repairing and mapping it. Locks tell which
// participants are alive.
//
// On Linux and macOS the memory is a file. A new file is complete before it gets its name, so a
// file that can be opened is whole. On Windows the memory is a section of the paging file, whose
// name is that of the file without its folder. It ends with its last participant.
//
// The system drops the lock of a process or thread whenever it dies. So the holder of a lock is
// alive, even if it is stopped, and a process number that is used again misleads nobody.

#ifndef SEKERING_CORE_REGION_FILE_H_
#define SEKERING_CORE_REGION_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/participants.h"

#ifndef _WIN32
#include "core/region_locks.h"
#endif

namespace sekering {

enum class RegionError : uint32_t {
  kNone,
  kSystem,     // errno says what
  kCorrupt,    // not a region; on Linux and macOS, Open never returns this
  kForeign,    // not ours: another owner, other rights, a link, not a file
  kNoPlace,    // there are kParticipantsMax participants already
  kFull,       // kRecordsMax, or the memory for records, is used up
  kNoSpace,    // the file system, or the paging file, is full
  kOtherKind,  // the name is taken by a record of another kind
  // JavaScript has the same numbers (lib/base/regions.js).
  kOtherDescription = 101,  // the record has another description than the caller's
};

struct RegionHeader;

class RegionFile {
 public:
  RegionFile() = default;
  ~RegionFile() { Close(); }
  RegionFile(const RegionFile&) = delete;
  RegionFile& operator=(const RegionFile&) = delete;

  /// Opens or creates the file, and maps it. A file of ours that is not a region is replaced.
  RegionError Open(const char* path) noexcept;
  void Close() noexcept;

  std::byte* base() const { return base_; }
  RegionHeader* header() const { return reinterpret_cast<RegionHeader*>(base_); }
  /// Whether a damaged file was replaced.
  bool replaced() const { return replaced_; }
  /// Whether the path leads to the file that is open.
  bool IsNamed(const char* path) const noexcept;
  /// Whether RemoveUnused is about to remove the file that is open.
  bool IsBeingRemoved() const noexcept;

  /// Takes the file's name away. Its participants keep using it together, unless `is_over`: then
  /// they are about to end. False if there is none.
  static bool Remove(const char* path, bool is_over) noexcept;
  /// Removes a file of ours in whose region nobody takes part, whatever process namespace its
  /// participants were in. False if there is no such file.
  static bool RemoveUnused(const char* path) noexcept;

  /// Whether anybody takes part in the region of a file of ours.
  static bool IsUsed(const char* path) noexcept;

  /// What errno means.
  static RegionError SystemError() noexcept;
  /// Takes the place of a participant, for as long as the file is open.
  bool TryLock(Participant participant) noexcept;
  bool IsLockedByOther(Participant participant) const noexcept;
  /// For a participant that is about to end: its lock leaves nothing behind.
  void Hide() noexcept;

  /// Whether memory may be read only once it is committed, by each participant for itself.
#ifdef _WIN32
  static constexpr bool kCommitsToRead = true;
#else
  static constexpr bool kCommitsToRead = false;
#endif
  /// Backs mapped memory with storage before the first write to it. A full file system then fails
  /// here, instead of killing the process with a signal later. On macOS this cannot be promised:
  /// there it only looks whether there is space.
  bool Commit(const void* memory, size_t bytes) const noexcept;

 private:
  std::byte* base_ = nullptr;
  bool replaced_ = false;

#ifdef _WIN32
  std::string name_;
  void* section_ = nullptr;
  void* place_ = nullptr;
#else
  bool OpenOurs(const char* path) noexcept;
  RegionError Map() noexcept;
  void Unlink(const char* path) noexcept;

  int fd_ = -1;
  RegionLocks locks_;
#endif
};

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_FILE_H_

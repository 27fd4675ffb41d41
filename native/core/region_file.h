// The file of a region: made, opened, refused, healed, and mapped. Locks on it tell who lives.
//
// A new file is made complete before it has its name, so a file that can be opened is whole. The
// kernel drops the lock of a process or thread at whatever instruction it dies: so who holds one is
// alive, stopped or not, and numbers of processes that were used again deceive nobody.

#ifndef SEKERING_CORE_REGION_FILE_H_
#define SEKERING_CORE_REGION_FILE_H_

#include <cstddef>
#include <cstdint>

namespace sekering {

inline constexpr uint32_t kParticipantsMax = 256;

enum class RegionError : uint32_t {
  kNone,
  kSystem,       // errno says what
  kCorrupt,      // not a region; Open never answers this
  kForeign,      // not ours: another owner, other rights, a link, not a file
  kNoPlace,      // kParticipantsMax live already
  kFull,         // kRecordsMax, or the memory for them, is used up
  kNoSpace,      // the file system is full
  kOtherKind,    // the name is taken by a record of another kind
  kUnsupported,  // this platform
};

struct RegionHeader;

class RegionFile {
 public:
  RegionFile() = default;
  ~RegionFile();
  RegionFile(const RegionFile&) = delete;
  RegionFile& operator=(const RegionFile&) = delete;

  /// Opens or makes the file, and maps it. A file of ours that is no region is replaced.
  RegionError Open(const char* path) noexcept;
  void Close() noexcept;

  std::byte* base() const { return base_; }
  RegionHeader* header() const;
  /// Whether a damaged file was replaced.
  bool replaced() const { return replaced_; }

  static uint32_t CurrentProcess();
  /// Takes the place of a participant, for as long as the file is open.
  bool TryLock(uint32_t participant) noexcept;
  bool IsLockedByOther(uint32_t participant) const noexcept;

  /// Backs mapped memory with storage before it is first written to: a full file system then
  /// refuses here, and does not kill the process with a signal later.
  bool Commit(const void* memory, size_t bytes) noexcept;

 private:
  RegionError Map() noexcept;
  void Unlink(const char* path) noexcept;

  int fd_ = -1;
  std::byte* base_ = nullptr;
  bool replaced_ = false;
};

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_FILE_H_

// A file that several processes map: who takes part, and named records in it.
//
// Nobody ever waits for anybody here. A new file is made complete under another name and then given
// its own, so a file that can be opened is whole. A record is written completely before one
// compare-and-swap puts its place into the table, so a record that can be found is whole; whoever
// loses that race uses the winner's. Memory is only ever handed out, never taken back: names stay
// until the region is removed.
//
// A participant is one JavaScript environment. It holds a lock on one byte of the file for as long
// as it lives, and the kernel drops the lock at whatever instruction it dies: so who holds the lock
// is alive, stopped or not, and numbers of processes that were used again deceive nobody.

#ifndef SEKERING_CORE_REGION_H_
#define SEKERING_CORE_REGION_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/window.h"

namespace sekering {

inline constexpr uint32_t kParticipantsMax = 256;
inline constexpr uint32_t kRecordsMax = 6144;
inline constexpr uint32_t kRecordNameMax = 255;
/// Values that describe a record, to be compared by those who attach to it.
inline constexpr uint32_t kDescriptionMax = 24;

using Description = std::array<double, kDescriptionMax>;

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

struct Record;
struct RegionHeader;

/// A record that a participant uses.
struct Attachment {
  RegionError error = RegionError::kNone;
  Cell* hot = nullptr;
  Cell* cold = nullptr;
  const Description* description = nullptr;
  /// This call made it: the cells are zero.
  bool created = false;
};

struct RecordView {
  uint32_t kind;
  Cell* hot;
};

class Region {
 public:
  /// The part of a region's file name that differs for every layout: releases with different
  /// layouts do not meet.
  static std::string LayoutName();

  Region() = default;
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  /// Opens or makes the file, and becomes a participant. A file of ours that is no region is
  /// replaced (replaced()).
  RegionError Open(const char* path) noexcept;

  /// Finds or makes the record of this kind and name.
  Attachment Attach(uint32_t kind, std::string_view name, const Description& description,
                    size_t hot_cells, size_t cold_cells) noexcept;

  /// This participant's place, and how often the place was taken.
  uint32_t index() const { return index_; }
  uint32_t incarnation() const { return incarnation_; }
  bool IsAlive(uint32_t participant) const noexcept;
  uint32_t IncarnationOf(uint32_t participant) const noexcept;
  uint32_t ProcessOf(uint32_t participant) const noexcept;
  /// This participant's process.
  uint32_t process() const noexcept { return ProcessOf(index_); }

  std::vector<RecordView> Records() const;
  uint32_t LiveParticipants() const noexcept;

  /// Backs memory of a record with storage before it is first written to: a full file system then
  /// refuses here, and does not kill the process with a signal later.
  bool Commit(const void* memory, size_t bytes) noexcept;

  /// Counts what was announced.
  uint32_t News() const noexcept;
  /// Sleeps while the count is `seen`.
  void AwaitNews(uint32_t seen) noexcept;
  /// Wakes all who sleep, in every process.
  void Announce() noexcept;

  /// Damaged records that this participant has replaced.
  uint32_t repaired() const { return repaired_; }
  /// Whether it has replaced a damaged file.
  bool replaced() const { return replaced_; }

 private:
  RegionError Make(const char* path) noexcept;
  RegionError Map() noexcept;
  RegionError Join() noexcept;
  void Unlink(const char* path) noexcept;
  void Close() noexcept;
  Record* At(uint64_t offset) const noexcept;
  Record* Write(uint32_t kind, std::string_view name, const Description& description,
                size_t hot_cells, size_t cold_cells, RegionError* error) noexcept;
  Attachment Found(Record* record, uint32_t kind, bool created) const noexcept;

  int fd_ = -1;
  std::byte* base_ = nullptr;
  RegionHeader* header_ = nullptr;
  uint32_t index_ = 0;
  uint32_t incarnation_ = 0;
  uint32_t repaired_ = 0;
  bool replaced_ = false;
};

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_H_

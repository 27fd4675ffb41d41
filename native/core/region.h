// A file that several processes map: who takes part, and named records in it.
//
// Nobody ever waits for anybody here. A record is written completely before one compare-and-swap
// puts its place into the table, so a record that can be found is whole; whoever loses that race
// uses the winner's. Memory is only ever handed out, never taken back: names stay until the region
// is removed.
//
// What leads to records (places of the table, their headers, the count of memory) carries checks,
// so damage shows, and is put right by whoever comes across it.
//
// A participant is one JavaScript environment. It holds a lock on the file for as long as it lives,
// and has a bell (Doorbell), by which the others wake it.

#ifndef SEKERING_CORE_REGION_H_
#define SEKERING_CORE_REGION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/doorbell.h"
#include "core/region_file.h"
#include "core/window.h"

namespace sekering {

inline constexpr uint32_t kRecordsMax = 6144;
inline constexpr uint32_t kRecordNameMax = 255;
/// Values that describe a record, to be compared by those who attach to it.
inline constexpr uint32_t kDescriptionMax = 24;

using Description = std::array<double, kDescriptionMax>;

struct Record;
struct Used;

/// What a record is called, and what it is to be where there is none of that name.
struct RecordKey {
  uint32_t kind = 0;
  std::string name;
  Description description{};
  size_t hot_cells = 0;
  size_t cold_cells = 0;
};

/// A record that a participant uses.
struct Attachment {
  RegionError error = RegionError::kNone;
  Cell* hot = nullptr;
  Cell* cold = nullptr;
  const Description* description = nullptr;
  /// This call made it: the cells are zero.
  bool created = false;
  /// Where the table leads to it, by which word.
  uint32_t slot = 0;
  uint64_t word = 0;
  const Cell* place = nullptr;

  /// Whether those who come now find the same record.
  bool IsInPlace() const noexcept { return place->load(std::memory_order_relaxed) == word; }
};

struct RecordView {
  uint32_t kind;
  Cell* hot;
};

class Region {
 public:
  /// The part of a region's file name that differs for every layout, as releases with different
  /// layouts do not meet. `shapes` are numbers that the contents of records depend on.
  static std::string LayoutName(std::span<const uint64_t> shapes);

  Region() = default;
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  /// Opens or makes the file, and becomes a participant. A damaged file is replaced (replaced()).
  RegionError Open(const char* path) noexcept;

  /// Finds or makes the record of that kind and name. A damaged one is replaced: the others who are
  /// attached to it are told, and follow.
  Attachment Attach(const RecordKey& key) noexcept;
  /// For an attachment that is no longer in place. Either the table was damaged and is put right
  /// (the answer is as before), or the record was replaced: then the new one is attached to.
  Attachment Reattach(const RecordKey& key, const Attachment& before) noexcept;

  /// This participant's place, and how often the place was taken.
  uint32_t index() const { return index_; }
  uint32_t incarnation() const { return incarnation_; }
  bool IsAlive(uint32_t participant) const noexcept;
  uint32_t IncarnationOf(uint32_t participant) const noexcept;
  uint32_t ProcessOf(uint32_t participant) const noexcept;
  /// This participant's process.
  uint32_t process() const { return process_; }

  std::vector<RecordView> Records() const;
  uint32_t LiveParticipants() const noexcept;

  /// Backs memory of a record with storage before it is first written to: a full file system then
  /// refuses here, and does not kill the process with a signal later.
  bool Commit(const void* memory, size_t bytes) noexcept { return file_.Commit(memory, bytes); }

  /// Wakes all other participants, in every process, and this one as well if it is `also_here`.
  void Announce(bool also_here) noexcept;
  /// Becomes readable when somebody has announced something, until Silence.
  int bell_fd() const { return bell_.fd(); }
  void Silence() noexcept { bell_.Silence(); }

  /// What damage to records, tables and counts this participant has put right.
  uint32_t repaired() const { return repaired_; }
  /// Whether it has replaced a damaged file.
  bool replaced() const { return file_.replaced(); }

 private:
  void KeepPlace() noexcept;
  Record* RecordIn(uint32_t slot, uint64_t word) const noexcept;
  Used Recount() const noexcept;
  bool Take(size_t hot_bytes, size_t cold_bytes, Used* before) noexcept;
  void GiveBackRecord() noexcept;
  Record* Write(const RecordKey& key, RegionError* error) noexcept;
  Attachment Found(uint32_t slot, uint64_t word, uint32_t kind, bool created) const noexcept;

  RegionFile file_;
  std::byte* base_ = nullptr;
  RegionHeader* header_ = nullptr;
  uint32_t index_ = 0;
  uint32_t incarnation_ = 0;
  uint32_t process_ = 0;
  Doorbell bell_;
  uint32_t repaired_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_H_

// A file that several processes map: its participants, and the named records in it.
//
// No process ever waits for another here. A record is written completely before one
// compare-and-swap puts its place into the table, so a record that can be found is whole. The loser
// of that race uses the winner's record. Memory is handed out and never taken back: names stay
// until the region is removed.
//
// What leads to records (the table, their headers, the count of memory) carries checks. So damage
// shows, and the first participant that sees it repairs it.
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
#include <string_view>
#include <vector>

#include "core/doorbell.h"
#include "core/news.h"
#include "core/participants.h"
#include "core/region_file.h"

namespace sekering {

inline constexpr uint32_t kRecordsMax = 6144;
inline constexpr uint32_t kRecordNameMax = 255;
/// Values that describe a record, to be compared by those who attach to it.
inline constexpr uint32_t kDescriptionMax = 24;

using Description = std::array<double, kDescriptionMax>;

struct Record;
struct Used;

/// A record's name, and what to create if there is none of that name.
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

  /// Whether the name still leads to this record. Relaxed: only the word is compared. Nothing that
  /// it leads to is read by this, as Region::Reattach loads the word once more.
  bool IsInPlace() const noexcept { return place->load(std::memory_order_relaxed) == word; }
};

struct RecordView {
  uint32_t kind;
  Cell* hot;
};

class Region final : public Participants {
 public:
  /// The part of a region's file name that differs for every layout, so that releases with
  /// different layouts do not meet. `shapes` are the numbers that the contents of records depend
  /// on.
  static std::string LayoutName(std::span<const uint64_t> shapes);

  Region() = default;
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  /// Opens or creates the file, and becomes a participant. A damaged file is replaced (replaced()).
  RegionError Open(const char* path) noexcept;

  /// Finds or creates the record of that kind and name. A damaged one is replaced: the other
  /// participants that are attached to it are told, and follow.
  Attachment Attach(const RecordKey& key) noexcept;
  /// For an attachment that is no longer in place. Either the table was damaged and is repaired
  /// (the result is as before), or the record was replaced: then this attaches to the new one.
  Attachment Reattach(const RecordKey& key, const Attachment& before) noexcept;

  Participant self() const noexcept override { return self_; }
  uint32_t incarnation() const noexcept override { return incarnation_; }
  Process process() const noexcept override { return process_; }
  bool IsAlive(Participant participant) const noexcept override;
  uint32_t IncarnationOf(Participant participant) const noexcept override;
  Process ProcessOf(Participant participant) const noexcept;

  std::vector<RecordView> Records() const;
  uint32_t LiveParticipants() const noexcept;

  /// RegionFile::Commit, of a record's memory.
  bool Commit(const void* memory, size_t bytes) noexcept { return file_.Commit(memory, bytes); }

  /// The group (below kNewsGroups) of the records of that name.
  static uint32_t NewsGroupOf(std::string_view name) noexcept;
  /// Tells that a record of that group has changed: wakes all other participants, in every process,
  /// and this one too if `also_here`.
  void Announce(uint32_t group, bool also_here) noexcept;
  /// Rings when another participant has announced something, until Silence.
  BellHandle bell() const { return bell_.handle(); }
  /// Call TakeNews afterwards: what was announced before does not ring again.
  void Silence() noexcept;
  /// What was announced since the last call, by this participant as well.
  News TakeNews() noexcept;
  /// For a participant that is about to end: its bell and its place leave nothing behind.
  void Hide() noexcept {
    bell_.Hide();
    file_.Hide();
  }

  /// How often this participant has repaired records, tables and counts.
  uint32_t repaired() const { return repaired_; }
  /// Whether it has replaced a damaged file.
  bool replaced() const { return file_.replaced(); }

 private:
  RegionError Join(const char* path) noexcept;
  void KeepPlace() noexcept;
  Record* RecordIn(uint32_t slot, uint64_t word) const noexcept;
  Used Recount() const noexcept;
  bool Take(size_t hot_bytes, size_t cold_bytes, Used* before) noexcept;
  void GiveBackRecord() noexcept;
  Record* Write(const RecordKey& key, RegionError* error) noexcept;
  bool CommitToRead(const void* memory, size_t bytes) const noexcept;
  Attachment Found(uint32_t slot, uint64_t word, uint32_t kind, bool created) const noexcept;
  void AnnounceMove() noexcept;
  void Wake(bool also_here) noexcept;

  RegionFile file_;
  std::byte* base_ = nullptr;
  RegionHeader* header_ = nullptr;
  Participant self_;
  uint32_t incarnation_ = 0;
  Process process_;
  Doorbell bell_;
  /// What TakeNews has found in the counters.
  uint64_t seen_moves_ = 0;
  std::array<uint64_t, kNewsGroups> seen_news_{};
  uint32_t repaired_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_H_

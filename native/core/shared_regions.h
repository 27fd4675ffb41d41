// The regions that one environment takes part in, and the records that it uses there.

#ifndef SEKERING_CORE_SHARED_REGIONS_H_
#define SEKERING_CORE_SHARED_REGIONS_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/participants.h"
#include "core/region.h"

namespace sekering {

enum class RecordKind : uint32_t { kBreaker = 1, kBulkhead, kTokenBucket, kRetryBudget };

class SharedRegion;

/// A record that this environment uses, wherever it is.
class SharedRecord final : public SharedMemory {
 public:
  /// `uses` counts the records of that name that this environment uses.
  SharedRecord(SharedRegion& home, RecordKey key, const Attachment& at, const uint32_t& uses)
      : home_(home),
        key_(std::move(key)),
        at_(at),
        uses_(uses),
        news_group_(Region::NewsGroupOf(key_.name)) {}

  bool Follow() noexcept override {
    if (at_.IsInPlace() || alone_) [[likely]] {
      return false;
    }
    return FollowMove();
  }
  Cell* hot() const noexcept override { return at_.hot; }
  Cell* cold() const noexcept override { return at_.cold; }
  const Participants& participants() const noexcept override;
  std::string_view name() const noexcept override { return key_.name; }
  void Announce() noexcept override;
  void Leave() noexcept override;
  bool Commit(const void* memory, size_t bytes) noexcept override;

  RecordKind kind() const { return static_cast<RecordKind>(key_.kind); }
  uint32_t news_group() const { return news_group_; }

 private:
  bool FollowMove() noexcept;

  SharedRegion& home_;
  RecordKey key_;
  Attachment at_;
  const uint32_t& uses_;
  uint32_t news_group_;
  /// Something else has this name now. The participants that have this record keep it.
  bool alone_ = false;
};

class SharedRegion {
 public:
  struct Attached {
    RegionError error = RegionError::kNone;
    /// Null if there is an error.
    SharedRecord* record = nullptr;
    /// What the record is like; null if none was found.
    const Description* description = nullptr;
  };

  /// The part of a region's file name that stands for the layout of regions and records.
  static std::string LayoutName();

  /// Becomes a participant of the region of this file.
  RegionError Open(const char* path);
  /// Finds or creates the record of that kind, name and description.
  Attached Attach(RecordKey key);
  void Leave(const SharedRecord* record);

  /// The numbers of the breakers in it that this environment uses, and of which there may be news.
  std::vector<uint32_t> BreakersIn(const News& news) const;
  Region& region() { return region_; }

 private:
  Region region_;
  /// By their group of news.
  std::array<std::vector<std::unique_ptr<SharedRecord>>, kNewsGroups> records_;
  /// How many of them have each name.
  std::map<std::string, uint32_t> uses_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_SHARED_REGIONS_H_

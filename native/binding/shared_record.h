// A record of a region that this environment uses, wherever it is.

#ifndef SEKERING_BINDING_SHARED_RECORD_H_
#define SEKERING_BINDING_SHARED_RECORD_H_

#include <cstdint>
#include <utility>

#include "core/region.h"

namespace sekering {

/// What a record is.
enum class RecordKind : uint32_t { kBreaker = 1, kBulkhead, kTokenBucket, kRetryBudget };

struct SharedRegion;

class SharedRecord {
 public:
  /// Called once the record is in another place.
  using OnMove = void (*)(void* user, const SharedRecord& record);
  static constexpr uint32_t kNoId = UINT32_MAX;

  /// `uses` counts the records of that name that this environment has.
  SharedRecord(SharedRegion& home, RecordKey key, const Attachment& at, const uint32_t& uses)
      : home_(home), key_(std::move(key)), at_(at), uses_(uses) {}

  /// To be called before each use. A damaged record is replaced by whoever comes next, and all who
  /// have it go over to the new one.
  void Follow() {
    if (!at_.IsInPlace() && !alone_) [[unlikely]]
      FollowMove();
  }
  /// Tells all others who have it that something has changed.
  void Announce() { region().Announce(uses_ > 1); }
  void SetOnMove(OnMove on_move, void* user) {
    on_move_ = on_move;
    user_ = user;
  }

  SharedRegion& home() const { return home_; }
  Region& region() const;
  RecordKind kind() const { return static_cast<RecordKind>(key_.kind); }
  const RecordKey& key() const { return key_; }
  Cell* hot() const { return at_.hot; }
  Cell* cold() const { return at_.cold; }

  /// The number of whatever this environment has made of it.
  uint32_t id = kNoId;

 private:
  void FollowMove();

  SharedRegion& home_;
  RecordKey key_;
  Attachment at_;
  const uint32_t& uses_;
  /// Something else has this name now. Those who have the record keep it.
  bool alone_ = false;
  OnMove on_move_ = nullptr;
  void* user_ = nullptr;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_SHARED_RECORD_H_

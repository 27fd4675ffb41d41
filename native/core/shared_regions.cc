#include "core/shared_regions.h"

#include "core/breaker_config.h"
#include "core/leases.h"
#include "core/permits.h"
#include "core/shared_bulkhead.h"

namespace sekering {

const Participants& SharedRecord::participants() const noexcept {
  return home_.region();
}

void SharedRecord::Announce() noexcept {
  // Another use in this very environment has to hear of it, too.
  home_.region().Announce(news_group_, uses_ > 1);
}

void SharedRecord::Leave() noexcept {
  home_.Leave(this);
}

bool SharedRecord::Commit(const void* memory, size_t bytes) noexcept {
  return home_.region().Commit(memory, bytes);
}

bool SharedRecord::FollowMove() noexcept {
  const Cell* const before = at_.hot;
  const Attachment now = home_.region().Reattach(key_, at_);
  if (now.error != RegionError::kNone || *now.description != key_.description) {
    alone_ = true;
    return false;
  }
  at_ = now;
  return at_.hot != before;
}

std::string SharedRegion::LayoutName() {
  constexpr uint64_t kShapes[] = {
      sizeof(BreakerMemory),
      kProbesMax,
      kHistoryMax,
      kWitnessesMax,
      kCounters,
      kLatencyCells,
      kHotLatencyCells,
      kBucketsMax,
      LastCalls::kSizeMax,
      kConfigFields,
      sizeof(SharedBulkheadState),
      kIncarnations,
      sizeof(TokenBucket),
      sizeof(RetryBudget),
  };
  return Region::LayoutName(kShapes);
}

RegionError SharedRegion::Open(const char* path) {
  const RegionError error = region_.Open(path);
  if (error != RegionError::kNone) return error;
  // The participant that had this place before is dead: end the leases that it left.
  const auto is_predecessor = [this](Participant participant) {
    return participant == region_.self();
  };
  for (const RecordView& record : region_.Records()) {
    if (static_cast<RecordKind>(record.kind) == RecordKind::kBreaker) {
      EndLeases(record.hot, is_predecessor);
    }
  }
  return RegionError::kNone;
}

SharedRegion::Attached SharedRegion::Attach(RecordKey key) {
  const Attachment at = region_.Attach(key);
  if (at.error != RegionError::kNone) return {at.error};
  if (*at.description != key.description) {
    return {RegionError::kOtherDescription, nullptr, at.description};
  }
  uint32_t& uses = uses_[key.name];
  ++uses;
  auto record = std::make_unique<SharedRecord>(*this, std::move(key), at, uses);
  SharedRecord* const added = record.get();
  records_[added->news_group()].push_back(std::move(record));
  return {RegionError::kNone, added, at.description};
}

void SharedRegion::Leave(const SharedRecord* record) {
  const auto uses = uses_.find(std::string(record->name()));
  if (--uses->second == 0) uses_.erase(uses);
  std::erase_if(records_[record->news_group()],
                [record](const auto& own) { return own.get() == record; });
}

std::vector<uint32_t> SharedRegion::BreakersIn(const News& news) const {
  std::vector<uint32_t> ids;
  for (uint32_t group = 0; group < kNewsGroups && news.groups.any(); ++group) {
    if (!news.groups.test(group)) continue;
    for (const auto& record : records_[group]) {
      if (record->kind() == RecordKind::kBreaker && record->id != SharedMemory::kNoId) {
        ids.push_back(record->id);
      }
    }
  }
  return ids;
}

}  // namespace sekering

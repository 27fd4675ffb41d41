#include "binding/shared.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "binding/convert.h"
#include "binding/waker.h"
#include "core/breaker.h"

namespace sekering {

bool SharedRegion::EndLeasesOfTheDead(Cell* hot) const {
  const auto dead = [](const void* context, uint32_t participant) {
    return !static_cast<const Region*>(context)->IsAlive(participant);
  };
  return Breaker::EndLeases(hot, dead, &region);
}

SharedRecord& SharedRegion::Remember(RecordKey key, const Attachment& at) {
  uint32_t& same = uses[key.name];
  ++same;
  return *records.emplace_back(std::make_unique<SharedRecord>(*this, std::move(key), at, same));
}

void SharedRegion::Forget(const SharedRecord* record) {
  const auto same = uses.find(record->key().name);
  if (--same->second == 0) uses.erase(same);
  std::erase_if(records, [record](const auto& own) { return own.get() == record; });
}

int32_t SharedRegions::Join(const char* path) {
  auto joined = std::make_unique<SharedRegion>();
  joined->owner = this;
  const RegionError error = joined->region.Open(path);
  if (error == RegionError::kSystem) return -(kErrnoFrom + errno);
  if (error != RegionError::kNone) return -static_cast<int32_t>(error);
  // Whoever had this participant's place before has left nothing to wait for.
  const uint32_t index = joined->region.index();
  const auto predecessor = [](const void* context, uint32_t participant) {
    return participant == *static_cast<const uint32_t*>(context);
  };
  for (const RecordView& record : joined->region.Records()) {
    if (record.kind == static_cast<uint32_t>(RecordKind::kBreaker)) {
      Breaker::EndLeases(record.hot, predecessor, &index);
    }
  }
  Waker::Start(env_, joined->region, Deliver, joined.get());
  regions_.push_back(std::move(joined));
  return static_cast<int32_t>(regions_.size() - 1);
}

void SharedRegions::Deliver(void* shared_region) {
  auto* shared = static_cast<SharedRegion*>(shared_region);
  const SharedRegions& owner = *shared->owner;
  // A list of its own, as a listener may make or drop breakers.
  std::vector<uint32_t> breakers;
  for (const auto& record : shared->records) {
    record->Follow();
    if (record->kind() == RecordKind::kBreaker) breakers.push_back(record->id);
  }
  for (const uint32_t id : breakers) owner.on_news_(owner.context_, id);
}

Attached AttachRecord(Napi::Env env, SharedRegion& shared, RecordKey key, napi_value stored) {
  const Attachment at = shared.region.Attach(key);
  Attached attached;
  if (at.error != RegionError::kNone) {
    attached.error = -static_cast<double>(at.error);
    return attached;
  }
  Shared<double> answer;
  answer.Reset(env, stored);
  std::copy_n(at.description->begin(), std::min(answer.length(), at.description->size()),
              answer.data());
  if (*at.description != key.description) {
    attached.error = kOtherOptions;
    return attached;
  }
  attached.record = &shared.Remember(std::move(key), at);
  return attached;
}

}  // namespace sekering

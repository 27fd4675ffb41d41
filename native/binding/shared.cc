#include "binding/shared.h"

#include <algorithm>
#include <string>

#include "binding/convert.h"
#include "binding/waker.h"

namespace sekering {

bool SharedRegion::EndLeasesOfTheDead(Cell* hot) const {
  const auto dead = [](const void* context, uint32_t participant) {
    return !static_cast<const Region*>(context)->IsAlive(participant);
  };
  return Breaker::EndLeases(hot, dead, &region);
}

int32_t SharedRegions::Join(const char* path) {
  auto joined = std::make_unique<SharedRegion>();
  joined->owner = this;
  const RegionError error = joined->region.Open(path);
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
  SharedRegions& owner = *shared->owner;
  // A copy, as a listener may make or drop breakers.
  const std::vector<uint32_t> breakers = shared->breakers;
  for (const uint32_t id : breakers) owner.on_news_(owner.context_, id);
}

Attached AttachRecord(Napi::Env env, SharedRegion& shared, RecordKind kind, napi_value name,
                      const Description& description, size_t hot_cells, size_t cold_cells,
                      napi_value stored) {
  const std::string text = Napi::String(env, name).Utf8Value();
  Attached attached;
  attached.record =
      shared.region.Attach(static_cast<uint32_t>(kind), text, description, hot_cells, cold_cells);
  if (attached.record.error != RegionError::kNone) {
    attached.error = -static_cast<double>(attached.record.error);
    return attached;
  }
  Shared<double> answer;
  answer.Reset(env, stored);
  std::copy_n(attached.record.description->begin(), std::min(answer.length(), description.size()),
              answer.data());
  if (*attached.record.description != description) attached.error = kOtherOptions;
  return attached;
}

}  // namespace sekering

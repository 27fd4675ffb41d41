// Functions for JavaScript about regions and the breakers in them (lib/base/regions.js).

#ifndef SEKERING_BINDING_SHARED_API_H_
#define SEKERING_BINDING_SHARED_API_H_

#include <napi.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "binding/convert.h"
#include "binding/recorder.h"
#include "core/limits.h"
#include "core/shared_regions.h"

namespace sekering {

class SharedApi {
 public:
  SharedApi(Napi::Env env, Napi::Object exports, Recorder& recorder);

  /// `limits` follow their memory whenever it is said to have moved.
  void SetLimits(Limits* limits) { limits_ = limits; }
  /// Null if there is no region with this handle.
  SharedRegion* Find(uint32_t handle) const {
    return handle < regions_.size() ? regions_[handle].get() : nullptr;
  }

 private:
  friend struct SharedFunctions;

  /// Passes on what others in the region have changed.
  void OnNews(SharedRegion& region);

  Napi::Env env_;
  Recorder& recorder_;
  Limits* limits_ = nullptr;
  std::vector<std::unique_ptr<SharedRegion>> regions_;
  Napi::FunctionReference on_news_;
};

/// Attaches the record of the arguments of an attach function: (region, name, config: Float64Array,
/// stored: Float64Array). `stored` gets the configuration that the record has. If there is no
/// record,
/// `*answer` is what the function returns: minus a RegionError, or an exception.
SharedRecord* AttachRecord(napi_env env, SharedRegion* region, RecordKey key,
                           std::span<double> stored, napi_value* answer);

Description DescriptionOf(std::span<const double> numbers);

}  // namespace sekering

#endif  // SEKERING_BINDING_SHARED_API_H_

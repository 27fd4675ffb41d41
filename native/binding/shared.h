// The regions that one environment takes part in, and the news that come from them.

#ifndef SEKERING_BINDING_SHARED_H_
#define SEKERING_BINDING_SHARED_H_

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "binding/shared_record.h"
#include "core/region.h"

namespace sekering {

class SharedRegions;

struct SharedRegion {
  Region region;
  SharedRegions* owner = nullptr;
  /// This environment's records in it.
  std::vector<std::unique_ptr<SharedRecord>> records;
  /// How many of them have each name.
  std::map<std::string, uint32_t> uses;

  /// Ends the probes of participants that are dead, in a breaker's record.
  bool EndLeasesOfTheDead(Cell* hot) const;
  SharedRecord& Remember(RecordKey key, const Attachment& at);
  void Forget(const SharedRecord* record);
};

class SharedRegions {
 public:
  /// Called on the loop for each breaker of a region that has news.
  using OnNews = void (*)(void* context, uint32_t breaker);

  SharedRegions(Napi::Env env, OnNews on_news, void* context)
      : env_(env), on_news_(on_news), context_(context) {}

  /// Joins the region of this file. Its number; or minus a RegionError, of kSystem minus
  /// (kErrnoFrom + errno).
  int32_t Join(const char* path);
  SharedRegion& operator[](uint32_t handle) { return *regions_[handle]; }

 private:
  static void Deliver(void* shared_region);

  Napi::Env env_;
  OnNews on_news_;
  void* context_;
  std::vector<std::unique_ptr<SharedRegion>> regions_;
};

/// What functions that attach answer instead of a handle, besides minus a RegionError. JavaScript
/// has the same numbers (lib/base/regions.js, lib/base/recorder.js).
/// First there must be more cells (addCells).
inline constexpr double kNoCells = -100;
/// The record has another description than the caller's, and JavaScript says what differs.
inline constexpr double kOtherOptions = -101;
inline constexpr double kNoMemory = -102;
inline constexpr int32_t kErrnoFrom = 1000;

struct Attached {
  SharedRecord* record = nullptr;
  /// 0 for none, or the function's answer.
  double error = 0;
};

/// Finds or makes the record of that kind and name; `stored`, a Float64Array, gets the description
/// that it has.
Attached AttachRecord(Napi::Env env, SharedRegion& shared, RecordKey key, napi_value stored);

}  // namespace sekering

#endif  // SEKERING_BINDING_SHARED_H_

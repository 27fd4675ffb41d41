// The regions that one environment takes part in, and the news that come from them.

#ifndef SEKERING_BINDING_SHARED_H_
#define SEKERING_BINDING_SHARED_H_

#include <napi.h>

#include <memory>
#include <vector>

#include "core/breaker.h"
#include "core/region.h"

namespace sekering {

/// What a record is.
enum class RecordKind : uint32_t { kBreaker = 1, kBulkhead, kTokenBucket, kRetryBudget };

class SharedRegions;

struct SharedRegion {
  Region region;
  SharedRegions* owner = nullptr;
  /// This environment's breakers in it.
  std::vector<uint32_t> breakers;

  /// Ends the probes of participants that are dead.
  bool EndLeasesOfTheDead(Cell* hot) const;
};

class SharedRegions {
 public:
  /// Called on the loop for each breaker of a region that has news.
  using OnNews = void (*)(void* context, uint32_t breaker);

  SharedRegions(Napi::Env env, OnNews on_news, void* context)
      : env_(env), on_news_(on_news), context_(context) {}

  /// Joins the region of this file. Its number, or minus a RegionError.
  int32_t Join(const char* path);
  SharedRegion& operator[](uint32_t handle) { return *regions_[handle]; }

 private:
  static void Deliver(void* shared_region);

  Napi::Env env_;
  OnNews on_news_;
  void* context_;
  std::vector<std::unique_ptr<SharedRegion>> regions_;
};

/// What functions that attach answer instead of a handle, besides minus a RegionError: the record
/// has another description than the caller's, and JavaScript says what differs.
inline constexpr double kOtherOptions = -101;

struct Attached {
  Attachment record;
  /// 0 for none, or the function's answer.
  double error = 0;
};

/// Finds or makes the record of that kind and name; `stored`, a Float64Array, gets the description
/// that it has.
Attached AttachRecord(Napi::Env env, SharedRegion& shared, RecordKind kind, napi_value name,
                      const Description& description, size_t hot_cells, size_t cold_cells,
                      napi_value stored);

}  // namespace sekering

#endif  // SEKERING_BINDING_SHARED_H_

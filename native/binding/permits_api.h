// The permits' functions for JavaScript (lib/base/permits.js and lib/primitives/limits.js). Each
// object is an integer handle; its memory belongs to the environment and is used again after
// destroy. The state of a shared one is in a region, and stays there.

#ifndef SEKERING_BINDING_PERMITS_API_H_
#define SEKERING_BINDING_PERMITS_API_H_

#include <napi.h>

#include <cassert>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/clock.h"
#include "binding/shared.h"
#include "core/permits.h"
#include "core/shared_bulkhead.h"

namespace sekering {

/// Objects that never move, by handle. Handles of destroyed ones are given out again.
template <class T>
class HandleTable {
 public:
  template <class... Args>
  uint32_t Create(Args... args) {
    if (free_.empty()) {
      entries_.emplace_back(args...);
      return static_cast<uint32_t>(entries_.size() - 1);
    }
    const uint32_t handle = free_.back();
    free_.pop_back();
    std::destroy_at(&entries_[handle]);
    std::construct_at(&entries_[handle], args...);
    return handle;
  }

  void Destroy(uint32_t handle) {
    assert(handle < entries_.size());
    free_.push_back(handle);
  }

  T& operator[](uint32_t handle) {
    assert(handle < entries_.size());
    return entries_[handle];
  }

 private:
  std::deque<T> entries_;
  std::vector<uint32_t> free_;
};

/// A word or two of state: in the entry itself, or in a region.
template <class State, class Rate>
struct RatedEntry {
  explicit RatedEntry(Rate limits, SharedRecord* record = nullptr) : rate(limits), shared(record) {}
  State& state() {
    if (shared == nullptr) return own;
    shared->Follow();
    return *reinterpret_cast<State*>(shared->hot());
  }
  Rate rate;
  State own;
  SharedRecord* shared;
};

/// A bulkhead in a region, for all handles of this environment that are of it.
struct BulkheadPlace {
  BulkheadPlace(SharedRecord& of, uint64_t capacity)
      : record(of), bulkhead(of.hot(), of.region(), capacity) {
    record.SetOnMove(OnMove, this);
  }
  SharedBulkhead& Use() {
    record.Follow();
    return bulkhead;
  }
  static void OnMove(void* place, const SharedRecord& record) {
    static_cast<BulkheadPlace*>(place)->bulkhead.MoveTo(record.hot());
  }

  SharedRecord& record;
  SharedBulkhead bulkhead;
};

struct BulkheadEntry {
  explicit BulkheadEntry(uint64_t limit, BulkheadPlace* place = nullptr)
      : capacity(limit), shared(place) {}
  uint64_t capacity;
  Bulkhead<1> own;
  BulkheadPlace* shared;
  /// How many permits of the shared one were acquired through this handle.
  uint64_t held = 0;
};

class PermitsApi {
 public:
  /// The regions must outlive this.
  PermitsApi(Napi::Env env, Napi::Object exports, const EnvClock& clock, SharedRegions& regions);

 private:
  friend struct PermitsFunctions;

  const EnvClock& clock_;
  SharedRegions& regions_;
  std::map<std::pair<const SharedRegion*, std::string>, BulkheadPlace> shared_bulkheads_;
  HandleTable<BulkheadEntry> bulkheads_;
  HandleTable<RatedEntry<TokenBucket, TokenRate>> buckets_;
  HandleTable<RatedEntry<RetryBudget, RetryRate>> budgets_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_PERMITS_API_H_

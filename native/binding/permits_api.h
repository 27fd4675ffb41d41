// The permits' functions for JavaScript (lib/primitives/semaphore.js and limits.js). Each object is
// an integer handle; its memory belongs to the environment and is used again after destroy.

#ifndef SEKERING_BINDING_PERMITS_API_H_
#define SEKERING_BINDING_PERMITS_API_H_

#include <napi.h>

#include <cassert>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "binding/clock.h"
#include "core/permits.h"

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

class PermitsApi {
 public:
  PermitsApi(Napi::Env env, Napi::Object exports, const EnvClock& clock);

 private:
  friend struct PermitsFunctions;

  struct BulkheadEntry {
    explicit BulkheadEntry(uint64_t limit) : capacity(limit) {}
    uint64_t capacity;
    Bulkhead<1> bulkhead;
  };

  struct TokenBucketEntry {
    explicit TokenBucketEntry(TokenRate limits) : rate(limits) {}
    TokenRate rate;
    TokenBucket bucket;
  };

  struct RetryBudgetEntry {
    explicit RetryBudgetEntry(RetryRate limits) : rate(limits) {}
    RetryRate rate;
    RetryBudget budget;
  };

  const EnvClock& clock_;
  HandleTable<BulkheadEntry> bulkheads_;
  HandleTable<TokenBucketEntry> buckets_;
  HandleTable<RetryBudgetEntry> budgets_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_PERMITS_API_H_

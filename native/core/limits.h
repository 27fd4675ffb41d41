// The limits of one environment, by number: bulkheads, token buckets and retry budgets, each with
// state of its own or in shared memory. And what else a call passes that has state: adaptive
// limits, faults, delays of hedges, load shedders.

#ifndef SEKERING_CORE_LIMITS_H_
#define SEKERING_CORE_LIMITS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/adaptive_limit.h"
#include "core/chaos.h"
#include "core/hedge.h"
#include "core/ids.h"
#include "core/load_shedder.h"
#include "core/participants.h"
#include "core/permits.h"
#include "core/shared_bulkhead.h"

namespace sekering {

/// Shared memory that is left when its user is gone.
struct LeaveMemory {
  void operator()(SharedMemory* memory) const { memory->Leave(); }
};
using SharedUse = std::unique_ptr<SharedMemory, LeaveMemory>;

/// A bulkhead in shared memory, for all users in this environment.
class BulkheadPlace {
 public:
  BulkheadPlace(SharedUse memory, uint64_t capacity)
      : memory_(std::move(memory)), bulkhead_(memory_->hot(), memory_->participants(), capacity) {}

  SharedBulkhead& Use() noexcept {
    if (memory_->Follow()) bulkhead_.MoveTo(memory_->hot());
    return bulkhead_;
  }

 private:
  SharedUse memory_;
  SharedBulkhead bulkhead_;
};

class BulkheadHandle {
 public:
  explicit BulkheadHandle(uint64_t capacity) : capacity_(capacity) {}
  BulkheadHandle(uint64_t capacity, BulkheadPlace& place) : capacity_(capacity), shared_(&place) {}
  BulkheadHandle(const BulkheadHandle&) = delete;
  BulkheadHandle& operator=(const BulkheadHandle&) = delete;
  /// Gives back what was acquired of a shared one.
  ~BulkheadHandle();

  bool TryAcquire() noexcept;
  /// The same for waiting callers: others who share the bulkhead learn that this participant waits.
  bool TryAcquireForLine(Micros now) noexcept;
  /// Whether a permit that is no longer needed must be released, and not handed to a caller that
  /// waits in this environment.
  bool MustYield(Micros now) noexcept;
  /// False if none was in use through this handle.
  bool Release() noexcept;

  /// By all who share it.
  uint64_t InUse() const noexcept;
  /// By this environment.
  uint64_t Held() const noexcept;
  /// How many damaged words of a shared one this environment has repaired.
  uint32_t Repairs() const noexcept;

 private:
  uint64_t capacity_;
  Bulkhead<1> own_{};
  BulkheadPlace* shared_ = nullptr;
  /// How many permits of the shared one were acquired through this handle.
  uint64_t held_ = 0;
};

/// A limit whose state is a word or two: in itself, or in shared memory.
template <class State, class Rate>
class RatedHandle {
 public:
  static constexpr size_t kHotCells = sizeof(State) / sizeof(Cell);

  explicit RatedHandle(const Rate& limits, SharedMemory* memory = nullptr)
      : rate(limits), shared_(memory) {}

  State& state() noexcept {
    if (shared_ == nullptr) return own_;
    shared_->Follow();
    return *InPlace<State>(shared_->hot());
  }

  const Rate rate;

 private:
  State own_{};
  SharedUse shared_;
};

using TokenBucketHandle = RatedHandle<TokenBucket, TokenRate>;
using RetryBudgetHandle = RatedHandle<RetryBudget, RetryRate>;

struct Limits {
  uint32_t CreateBulkhead(uint64_t capacity) { return bulkheads.Create(capacity); }
  /// All handles of one bulkhead use one place in this environment.
  uint32_t CreateBulkhead(uint64_t capacity, SharedMemory& memory);
  /// Call it when there is news of shared memory: permits in use count where a bulkhead is now,
  /// even if nobody here asks for one.
  void Follow() noexcept;

  /// Before the handles that use them.
  std::map<std::pair<const Participants*, std::string>, BulkheadPlace> places;
  Ids<BulkheadHandle> bulkheads;
  Ids<TokenBucketHandle> token_buckets;
  Ids<RetryBudgetHandle> retry_budgets;
  Ids<AdaptiveLimit> adaptive_limits;
  Ids<FaultInjector> fault_injectors;
  Ids<HedgeDelay> hedge_delays;
  Ids<LoadShedder> load_shedders;
};

}  // namespace sekering

#endif  // SEKERING_CORE_LIMITS_H_

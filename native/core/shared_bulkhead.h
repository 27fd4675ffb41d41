// A bulkhead in a region: its permits are counted for all participants together, and those of the
// dead come back.

#ifndef SEKERING_CORE_SHARED_BULKHEAD_H_
#define SEKERING_CORE_SHARED_BULKHEAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/permits.h"
#include "core/region.h"
#include "core/units.h"

namespace sekering {

/// What is in the region; zeroes are its first state.
struct SharedBulkheadState {
  Bulkhead<kParticipantsMax> permits;
  /// When each participant last asked in vain for those who wait in its line, or 0.
  std::atomic<uint64_t> wanted[kParticipantsMax];
};
static_assert(std::is_standard_layout_v<SharedBulkheadState>);

/// One participant's hold on it. It remembers how many permits it has, so that a word of its own
/// that was damaged is put right; words of others that cannot have come about by use are emptied.
class SharedBulkhead {
 public:
  static constexpr size_t kHotCells = sizeof(SharedBulkheadState) / sizeof(Cell);
  /// For how long somebody who asked in vain is taken to be waiting still. Lines ask more often.
  static constexpr Micros kWantedFor = 50'000;
  /// A line that gets every permit its own environment gives back would keep them from the lines of
  /// all others: so once in this time one of them goes back to all.
  static constexpr Micros kTurn = 50'000;

  SharedBulkhead(Cell* hot, const Region& region, uint64_t capacity) noexcept
      : state_(reinterpret_cast<SharedBulkheadState*>(hot)),
        region_(region),
        holder_{region.index(), region.incarnation()},
        capacity_(capacity) {}

  /// It is somewhere else from now on, and this participant holds there what it held.
  void MoveTo(Cell* hot) noexcept;

  bool TryAcquire() noexcept;
  /// The same for those who wait; who asks in vain is known to be waiting for a while.
  bool TryAcquireForLine(Micros now) noexcept;
  /// At most what was acquired.
  void Release(uint64_t n = 1) noexcept;

  /// Whether a permit that is done with must go back to all, and not to one who waits here.
  bool MustYield(Micros now) noexcept;

  uint64_t InUse() const noexcept { return state_->permits.InUse(); }
  /// By this participant.
  uint64_t held() const noexcept { return held_; }
  /// Damaged words that this participant has put right.
  uint32_t repairs() const noexcept { return repairs_; }

 private:
  bool IsGone(Holder holder) const noexcept;

  SharedBulkheadState* state_;
  const Region& region_;
  Holder holder_;
  uint64_t capacity_;
  uint64_t held_ = 0;
  Micros yielded_at_ = -kTurn;
  uint32_t repairs_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_SHARED_BULKHEAD_H_

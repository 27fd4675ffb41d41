// A bulkhead in shared memory: its permits are counted for all participants together, and the
// permits of dead ones come back.

#ifndef SEKERING_CORE_SHARED_BULKHEAD_H_
#define SEKERING_CORE_SHARED_BULKHEAD_H_

#include <cstddef>
#include <cstdint>

#include "core/participants.h"
#include "core/permits.h"
#include "core/units.h"

namespace sekering {

/// What is in the shared memory; zeroes are its first state.
struct SharedBulkheadState {
  Bulkhead<kParticipantsMax> permits;
  /// When each participant last asked in vain for its waiting callers, or 0.
  Cell wanted[kParticipantsMax];
};
static_assert(std::is_standard_layout_v<SharedBulkheadState>);

/// One participant's hold on it. It remembers how many permits it has, so it repairs its own word
/// if that was damaged. Words of others that cannot have come about by use are emptied.
class SharedBulkhead {
 public:
  static constexpr size_t kHotCells = sizeof(SharedBulkheadState) / sizeof(Cell);
  /// For how long a participant that asked in vain is taken to be still waiting. Lines ask more
  /// often.
  static constexpr Micros kWantedFor = 50'000;
  /// A line that got every permit its own environment gives back would starve the lines of all
  /// others. So once in this time one permit goes back to all.
  static constexpr Micros kTurn = 50'000;

  SharedBulkhead(Cell* hot, const Participants& participants, uint64_t capacity) noexcept
      : state_(InPlace<SharedBulkheadState>(hot)),
        participants_(participants),
        holder_{participants.self().value(), participants.incarnation() % kIncarnations},
        capacity_(capacity) {}

  /// The bulkhead is somewhere else from now on. This participant holds there what it held.
  void MoveTo(Cell* hot) noexcept;

  bool TryAcquire() noexcept;
  /// The same for waiting callers. Others know for a while that this participant waits.
  bool TryAcquireForLine(Micros now) noexcept;
  /// At most what was acquired.
  void Release(uint64_t n = 1) noexcept;

  /// Whether a permit that is no longer needed must go back to all, and not to a caller waiting
  /// here.
  bool MustYield(Micros now) noexcept;

  uint64_t InUse() const noexcept { return state_->permits.InUse(); }
  /// By this participant.
  uint64_t held() const noexcept { return held_; }
  /// How many damaged words this participant has repaired.
  uint32_t repairs() const noexcept { return repairs_; }

 private:
  bool IsGone(Holder holder) const noexcept;

  SharedBulkheadState* state_;
  const Participants& participants_;
  Holder holder_;
  uint64_t capacity_;
  uint64_t held_ = 0;
  Micros yielded_at_ = -kTurn;
  uint32_t repairs_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_SHARED_BULKHEAD_H_

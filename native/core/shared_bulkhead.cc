#include "core/shared_bulkhead.h"

#include <algorithm>

namespace sekering {

void SharedBulkhead::MoveTo(Cell* hot) noexcept {
  state_ = InPlace<SharedBulkheadState>(hot);
  state_->permits.Adopt(holder_, held_);
}

bool SharedBulkhead::TryAcquire() noexcept {
  Bulkhead<kParticipantsMax>& permits = state_->permits;
  if (permits.Correct(holder_, held_)) ++repairs_;
  if (!permits.TryAcquire(capacity_, holder_)) {
    const auto is_gone = [this](Holder holder) { return IsGone(holder); };
    const Forfeited forfeited = permits.ForfeitGone(capacity_, is_gone);
    repairs_ += forfeited.damaged_words;
    if (forfeited.words == 0 || !permits.TryAcquire(capacity_, holder_)) return false;
  }
  ++held_;
  return true;
}

bool SharedBulkhead::TryAcquireForLine(Micros now) noexcept {
  const bool acquired = TryAcquire();
  state_->wanted[holder_.index].store(acquired ? 0 : static_cast<uint64_t>(now));
  return acquired;
}

void SharedBulkhead::Release(uint64_t n) noexcept {
  for (n = std::min(n, held_); n > 0; --n) {
    --held_;
    state_->permits.Release(holder_);
  }
  if (state_->permits.Correct(holder_, held_)) ++repairs_;
}

bool SharedBulkhead::MustYield(Micros now) noexcept {
  if (now - yielded_at_ < kTurn) return false;
  for (uint32_t i = 0; i < kParticipantsMax; ++i) {
    // Relaxed: a hint about fairness, by which nothing is granted.
    const uint64_t at = state_->wanted[i].load(std::memory_order_relaxed);
    if (at == 0 || i == holder_.index) continue;
    // The two may have read the clock in either order. A damaged time is far from now.
    const auto time = static_cast<uint64_t>(now);
    if ((at > time ? at - time : time - at) >= static_cast<uint64_t>(kWantedFor)) continue;
    yielded_at_ = now;
    return true;
  }
  return false;
}

/// A holder whose place has a later user is gone, even if that user is alive. The caller has read
/// the holder from its word before, so a later one cannot be meant.
bool SharedBulkhead::IsGone(Holder holder) const noexcept {
  if (holder.index == holder_.index) return false;
  const Participant participant(holder.index);
  const uint32_t present = participants_.IncarnationOf(participant) % kIncarnations;
  return present != holder.incarnation || !participants_.IsAlive(participant);
}

}  // namespace sekering

// The leases of a half-open circuit's probes: who may probe, and until when.

#ifndef SEKERING_CORE_LEASES_H_
#define SEKERING_CORE_LEASES_H_

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>

#include "core/breaker.h"
#include "core/units.h"

namespace sekering {

/// A probe's lease. Its deadline is kept in milliseconds, rounded up, and 0 is a free lease.
struct Lease {
  static constexpr uint64_t kDeadlineMax = (uint64_t{1} << 40) - 1;
  static constexpr uint32_t kGenerationMask = (1U << 14) - 1;
  static constexpr uint32_t kParticipantMask = (1U << 10) - 1;

  static constexpr uint32_t GenerationBits(Period period) {
    return GenerationOf(period).value() & kGenerationMask;
  }
  static constexpr Participant ParticipantOf(uint64_t lease) {
    return Participant(static_cast<uint32_t>(lease >> 54));
  }

  static uint64_t Make(Participant participant, Period period, Micros deadline) {
    assert(participant.value() <= kParticipantMask);
    const auto ms = static_cast<uint64_t>(deadline / 1000 + 1);
    return uint64_t{participant.value() & kParticipantMask} << 54 |
           uint64_t{GenerationBits(period)} << 40 | std::min(ms, kDeadlineMax);
  }
  /// Whether the lease keeps others out at `now`.
  static bool Holds(uint64_t lease, Period period, Micros now) {
    if (lease == 0) return false;
    const bool same_period = (lease >> 40 & kGenerationMask) == GenerationBits(period);
    return same_period &&
           static_cast<uint64_t>(std::max<Micros>(now, 0) / 1000) < (lease & kDeadlineMax);
  }

  /// Whether a lease lasts longer than one that begins now (with a minute for stopped clocks): no
  /// breaker has given it.
  static bool IsBeyond(uint64_t lease, uint64_t mine) {
    return (lease & kDeadlineMax) > (mine & kDeadlineMax) + 60000;
  }

  /// The name of the lease in a place: the place (5 bits) and the deadline's low bits. A
  /// participant that takes over an expired lease gets a later deadline, so the names differ.
  static constexpr Probe Name(uint32_t place, uint64_t lease) {
    return Probe(static_cast<uint32_t>(lease << 5) | place);
  }
  static constexpr uint32_t PlaceOf(Probe name) { return name.value() & 31; }
};
static_assert(Lease::PlaceOf(kNoProbe) >= kProbesMax);
static_assert(kParticipantsMax <= Lease::kParticipantMask + 1);

/// Whether one of the places is free at `now`; `mine` is a lease that would begin now.
inline bool HasFreeLease(std::span<const Cell> leases, Period period, Micros now, uint64_t mine) {
  return std::any_of(leases.begin(), leases.end(), [&](const Cell& cell) {
    const uint64_t lease = cell.load();
    return !Lease::Holds(lease, period, now) || Lease::IsBeyond(lease, mine);
  });
}

/// Gives back the lease of that name, and only this very one: a later one in the same place is
/// another participant's.
inline void GiveBackLease(std::span<Cell> leases, Period period, Probe name) {
  const uint32_t place = Lease::PlaceOf(name);
  if (place >= leases.size()) return;
  uint64_t lease = leases[place].load();
  if (Lease::Holds(lease, period, 0) && Lease::Name(place, lease) == name) {
    leases[place].compare_exchange_strong(lease, 0);
  }
}

/// Ends the leases of participants for which `is_dead(participant)`, in the cells of a breaker.
/// Returns whether there were any.
template <class IsDead>
bool EndLeases(Cell* hot, const IsDead& is_dead) noexcept {
  bool ended = false;
  for (Cell& cell : InPlace<BreakerMemory>(hot)->leases) {
    uint64_t lease = cell.load();
    if (lease == 0 || !is_dead(Lease::ParticipantOf(lease))) continue;
    if (cell.compare_exchange_strong(lease, 0)) ended = true;
  }
  return ended;
}

}  // namespace sekering

#endif  // SEKERING_CORE_LEASES_H_

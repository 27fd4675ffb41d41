// The leases of a half-open circuit's probes: who may probe, and until when.

#ifndef SEKERING_CORE_LEASES_H_
#define SEKERING_CORE_LEASES_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/breaker.h"
#include "core/units.h"

namespace sekering {

/// A probe's lease. Its deadline is kept in milliseconds, rounded up, and 0 is a free lease.
struct Lease {
  static constexpr uint64_t kDeadlineMax = (uint64_t{1} << 40) - 1;

  static uint64_t Make(uint32_t participant, Period period, Micros deadline) {
    const auto ms = static_cast<uint64_t>(deadline / 1000 + 1);
    return uint64_t{participant & 0x3FF} << 54 | uint64_t{GenerationBits(period) & 0x3FFF} << 40 |
           std::min(ms, kDeadlineMax);
  }
  /// Whether the lease keeps others out at `now`.
  static bool Holds(uint64_t lease, Period period, Micros now) {
    if (lease == 0) return false;
    const bool same_period = (lease >> 40 & 0x3FFF) == (GenerationBits(period) & 0x3FFF);
    return same_period &&
           static_cast<uint64_t>(std::max<Micros>(now, 0) / 1000) < (lease & kDeadlineMax);
  }

  /// Whether a lease lasts longer than one that begins now (with a minute for stopped clocks): no
  /// breaker has given it.
  static bool IsBeyond(uint64_t lease, uint64_t mine) {
    return (lease & kDeadlineMax) > (mine & kDeadlineMax) + 60000;
  }

  /// The name of the lease in a place: the place (5 bits) and the deadline's low bits. Whoever
  /// takes over an expired lease has a later deadline, so the names differ.
  static constexpr uint32_t Name(uint32_t place, uint64_t lease) {
    return static_cast<uint32_t>(lease << 5) | place;
  }
  static constexpr uint32_t PlaceOf(uint32_t name) { return name & 31; }
};
static_assert(Lease::PlaceOf(kNoProbe) >= kProbesMax);

/// Whether one of the places is free at `now`; `mine` is a lease that would begin now.
inline bool HasFreeLease(std::span<const Cell> leases, Period period, Micros now, uint64_t mine) {
  return std::any_of(leases.begin(), leases.end(), [&](const Cell& cell) {
    const uint64_t lease = cell.load();
    return !Lease::Holds(lease, period, now) || Lease::IsBeyond(lease, mine);
  });
}

/// Gives back the lease of that name, and only this very one: a later one in the same place is
/// somebody else's.
inline void GiveBackLease(std::span<Cell> leases, Period period, uint32_t name) {
  const uint32_t place = Lease::PlaceOf(name);
  if (place >= leases.size()) return;
  uint64_t lease = leases[place].load();
  if (Lease::Holds(lease, period, 0) && Lease::Name(place, lease) == name) {
    leases[place].compare_exchange_strong(lease, 0);
  }
}

}  // namespace sekering

#endif  // SEKERING_CORE_LEASES_H_

// The 64-bit words of a breaker's memory: what is packed into each, and how to tell a word of ours
// from a leftover or from damage.

#ifndef SEKERING_CORE_WORDS_H_
#define SEKERING_CORE_WORDS_H_

#include <algorithm>
#include <cstdint>

#include "core/breaker.h"
#include "core/units.h"

namespace sekering {

constexpr uint64_t Pack(uint32_t high, uint32_t low) {
  return uint64_t{high} << 32 | low;
}
constexpr uint32_t High(uint64_t word) {
  return static_cast<uint32_t>(word >> 32);
}
constexpr uint32_t Low(uint64_t word) {
  return static_cast<uint32_t>(word);
}

constexpr uint32_t kHistoryBits = 2 * kHistoryMax;
constexpr uint32_t kHistoryMask = (1U << kHistoryBits) - 1;

constexpr Period PeriodOf(uint64_t word) {
  return High(word) << 2 | (Low(word) & 3);
}

/// A time that belongs to a generation: the generation's low 16 bits above 48 bits of microseconds
/// (8.9 years since the machine started).
constexpr Micros kStampMax = (Micros{1} << 48) - 1;
constexpr uint64_t Stamp(uint32_t generation, Micros at) {
  return uint64_t{generation & 0xFFFF} << 48 |
         static_cast<uint64_t>(std::clamp<Micros>(at, 0, kStampMax));
}
constexpr bool StampIsOf(uint64_t stamp, uint32_t generation) {
  return stamp >> 48 == (generation & 0xFFFF);
}
constexpr Micros StampTime(uint64_t stamp) {
  return static_cast<Micros>(stamp) & kStampMax;
}

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

/// 0 for zeroes; any bit that is wrong changes it in 255 of 256 cases.
constexpr uint32_t CheckOf(uint32_t generation, uint32_t history) {
  uint32_t mixed = generation * 0x9E3779B1U ^ history * 0x85EBCA6BU;
  mixed ^= mixed >> 15;
  return (mixed * 0xC2B2AE35U) >> 24;
}

constexpr bool IsStateWord(uint64_t word) {
  return Low(word) >> kHistoryBits == CheckOf(High(word), Low(word) & kHistoryMask);
}

/// The word of a state: the newest state is in the low bits of `history`. The check byte tells a
/// word that was written by us from damage; zero is a word of ours, the first.
constexpr uint64_t StateWord(uint32_t generation, uint32_t history) noexcept {
  history &= kHistoryMask;
  return Pack(generation, CheckOf(generation, history) << kHistoryBits | history);
}

}  // namespace sekering

#endif  // SEKERING_CORE_WORDS_H_

// The 64-bit words of a breaker's memory: what is packed into each, and how to tell a word of ours
// from a leftover or from damage.

#ifndef SEKERING_CORE_WORDS_H_
#define SEKERING_CORE_WORDS_H_

#include <algorithm>
#include <cstdint>

#include "core/breaker.h"
#include "core/units.h"

namespace sekering {

constexpr uint32_t kHistoryBits = 2 * kHistoryMax;
constexpr uint32_t kHistoryMask = (1U << kHistoryBits) - 1;

constexpr Period PeriodOf(uint64_t word) {
  return MakePeriod(Generation(High(word)), static_cast<State>(Low(word) & 3));
}

/// A check byte. 0 for zeroes; any bit that is wrong changes it in 255 of 256 cases.
constexpr uint32_t CheckByte(uint32_t generation, uint32_t content) {
  uint32_t mixed = generation * 0x9E3779B1U ^ content * 0x85EBCA6BU;
  mixed ^= mixed >> 15;
  return (mixed * 0xC2B2AE35U) >> 24;
}

/// A time that belongs to a generation: the generation's low 8 bits, a check byte, and 48 bits of
/// microseconds (8.9 years since the machine started). The check tells a time that was written by
/// us from damage, which could otherwise keep a circuit open for the longest time allowed.
constexpr Micros kStampMax = (Micros{1} << 48) - 1;
constexpr uint64_t Stamp(Generation generation, Micros at) {
  const auto time = static_cast<uint64_t>(std::clamp<Micros>(at, 0, kStampMax));
  const uint32_t low_bits = generation.value() & 0xFF;
  const uint32_t check = CheckByte(low_bits, Low(time) ^ High(time) << 16);
  return uint64_t{low_bits} << 56 | uint64_t{check} << 48 | time;
}
constexpr Micros StampTime(uint64_t stamp) {
  return static_cast<Micros>(stamp) & kStampMax;
}
constexpr bool StampIsOf(uint64_t stamp, Generation generation) {
  return stamp == Stamp(generation, StampTime(stamp));
}

constexpr bool IsStateWord(uint64_t word) {
  return Low(word) >> kHistoryBits == CheckByte(High(word), Low(word) & kHistoryMask);
}

/// The word of a state: the newest state is in the low bits of `history`. The check byte tells a
/// word that was written by us from damage; zero is a word of ours, the first.
constexpr uint64_t StateWord(Generation generation, uint32_t history) noexcept {
  history &= kHistoryMask;
  const uint32_t check = CheckByte(generation.value(), history);
  return Pack(generation.value(), check << kHistoryBits | history);
}

}  // namespace sekering

#endif  // SEKERING_CORE_WORDS_H_

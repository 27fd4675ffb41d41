// Words with a check, so that damage to them shows.

#ifndef SEKERING_CORE_SEALED_H_
#define SEKERING_CORE_SEALED_H_

#include <cstdint>

namespace sekering {

/// A value of `kBits` bits below a check of it, which shows damage. Zeroes are damage, too. The
/// salt makes words of different places differ.
template <unsigned kBits>
constexpr uint64_t Sealed(uint64_t value, uint64_t salt) {
  uint64_t mixed = (value + 1 + (salt + 1) * 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ mixed >> 29) * 0x94D049BB133111EB;
  return value | (mixed ^ mixed >> 32) << kBits;
}
template <unsigned kBits>
constexpr uint64_t ValueOf(uint64_t word) {
  return word & ((uint64_t{1} << kBits) - 1);
}
template <unsigned kBits>
constexpr bool IsSealed(uint64_t word, uint64_t salt) {
  return word == Sealed<kBits>(ValueOf<kBits>(word), salt);
}

}  // namespace sekering

#endif  // SEKERING_CORE_SEALED_H_

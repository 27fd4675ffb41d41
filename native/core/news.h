// How the participants of a region learn what has changed, at a cost that depends on how much has
// changed and not on how much there is.
//
// The names of records fall into groups. Each group has a counter, which whoever changes a record
// adds to afterwards. A participant that is woken compares the counters with what it last saw, and
// looks only at its records of the groups that differ.
//
// A bell that has rung need not be rung again until its owner has looked. So beside each bell there
// is a word that says so: many changes at once send one datagram to each participant, not many.

#ifndef SEKERING_CORE_NEWS_H_
#define SEKERING_CORE_NEWS_H_

#include <bitset>
#include <cstdint>

#include "core/cell.h"
#include "core/sealed.h"

namespace sekering {

inline constexpr uint32_t kNewsGroups = 256;

/// What has changed since a participant last asked.
struct News {
  /// The groups with records that have changed.
  std::bitset<kNewsGroups> groups;
  /// A damaged record was replaced by one in another place; all groups are set.
  bool moved = false;
};

// ---- Bells that have rung ----------------------------------------------------------------------

/// Beside a bell: a number, whose lowest bit says that the bell has rung and its owner has yet to
/// look. It goes up with each silence, so that the number of an earlier one is never met again. A
/// damaged word says nothing: then the bell is rung.
inline constexpr unsigned kRungBits = 48;

/// For whoever has news, after writing it: calls `ring`, unless the owner of the bell is about to
/// look anyway. `ring` returns whether the bell can be heard.
template <class Ring>
void RingOnce(Cell& rung, uint32_t place, const Ring& ring) noexcept {
  uint64_t word = rung.load();
  const uint64_t number = ValueOf<kRungBits>(word);
  if (number % 2 == 1 && IsSealed<kRungBits>(word, place)) return;
  // Noted only afterwards: whoever dies in between leaves a bell that may ring once too often, and
  // none that is taken to ring when it does not. The swap fails if the owner has looked meanwhile.
  if (ring()) rung.compare_exchange_strong(word, Sealed<kRungBits>(number | 1, place));
}

/// For the owner of a bell, once what made it ring has been taken from it. It must look for news
/// afterwards: others did not ring again because it would.
inline void FallSilent(Cell& rung, uint32_t place) noexcept {
  const uint64_t number = ValueOf<kRungBits>(rung.load());
  rung.store(Sealed<kRungBits>(ValueOf<kRungBits>((number | 1) + 1), place));
}

}  // namespace sekering

#endif  // SEKERING_CORE_NEWS_H_

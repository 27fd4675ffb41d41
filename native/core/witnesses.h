// Which processes have seen failures of late: a breaker may want to hear of several before it
// trips.

#ifndef SEKERING_CORE_WITNESSES_H_
#define SEKERING_CORE_WITNESSES_H_

#include <cstdint>
#include <span>

#include "core/window.h"
#include "core/words.h"

namespace sekering {

/// A cell each: the process above the epoch of its last failure.
struct Witnesses {
  std::span<Cell> cells;
  /// How many epochs a failure counts.
  uint32_t buckets;

  bool IsRecent(uint64_t word, uint32_t epoch) const noexcept {
    return High(word) != 0 && (epoch - Low(word) < buckets || IsAhead(Low(word), epoch));
  }

  /// Notes that `process` has seen a failure, in a place of its own or one that is free. Where
  /// there is none left, there are more witnesses than anyone asks for.
  void Note(uint32_t process, uint32_t epoch) const noexcept {
    for (;;) {
      Cell* place = nullptr;
      uint64_t found = 0;
      for (Cell& cell : cells) {
        const uint64_t word = cell.load();
        const bool own = High(word) == process;
        if (!own && (place != nullptr || IsRecent(word, epoch))) continue;
        place = &cell;
        found = word;
        if (own) break;
      }
      if (place == nullptr || place->compare_exchange_strong(found, Pack(process, epoch))) return;
    }
  }

  /// To be asked after Note: of several that fail at once, the last one to note it sees all.
  uint32_t CountOthers(uint32_t process, uint32_t epoch) const noexcept {
    uint32_t others = 0;
    for (const Cell& cell : cells) {
      const uint64_t word = cell.load();
      if (High(word) != process && IsRecent(word, epoch)) ++others;
    }
    return others;
  }
};

}  // namespace sekering

#endif  // SEKERING_CORE_WITNESSES_H_

// Which processes have seen failures lately: a breaker may wait for several before it trips.

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

  static Epoch EpochOf(uint64_t word) { return Epoch(Low(word)); }

  bool IsRecent(uint64_t word, Epoch epoch) const noexcept {
    return High(word) != 0 && (epoch - EpochOf(word) < buckets || IsAhead(EpochOf(word), epoch));
  }

  /// Notes that `process` has seen a failure, in its own place or a free one. If none is free,
  /// there are more witnesses than any breaker asks for.
  void Note(Process process, Epoch epoch) const noexcept {
    for (;;) {
      Cell* place = nullptr;
      uint64_t found = 0;
      for (Cell& cell : cells) {
        const uint64_t word = cell.load();
        const bool own = High(word) == process.value();
        if (!own && (place != nullptr || IsRecent(word, epoch))) continue;
        place = &cell;
        found = word;
        if (own) break;
      }
      if (place == nullptr ||
          place->compare_exchange_strong(found, Pack(process.value(), epoch.value())))
        return;
    }
  }

  /// Call it after Note: of several processes that fail at once, the last to note it sees all.
  uint32_t CountOthers(Process process, Epoch epoch) const noexcept {
    uint32_t others = 0;
    for (const Cell& cell : cells) {
      const uint64_t word = cell.load();
      if (High(word) != process.value() && IsRecent(word, epoch)) ++others;
    }
    return others;
  }
};

}  // namespace sekering

#endif  // SEKERING_CORE_WITNESSES_H_

// Memory for the breakers of one environment. Slabs are large zeroed blocks, which operating
// systems back with memory only where they are touched; a breaker that leaves zeroes its part for
// the next.

#ifndef SEKERING_CORE_SLAB_H_
#define SEKERING_CORE_SLAB_H_

#include <cstddef>
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/cell.h"

namespace sekering {

struct SlabSlot {
  Cell* hot;
  Cell* cold;
};

class Slab {
 public:
  /// Zeroed cells, or null pointers when there is no memory.
  SlabSlot Take(size_t hot_cells, size_t cold_cells) {
    std::vector<SlabSlot>& free = free_[{hot_cells, cold_cells}];
    if (free.empty()) Grow(free, hot_cells, cold_cells);
    if (free.empty()) return {nullptr, nullptr};
    const SlabSlot slot = free.back();
    free.pop_back();
    return slot;
  }

  /// The cells must be zero again.
  void Give(SlabSlot slot, size_t hot_cells, size_t cold_cells) {
    free_[{hot_cells, cold_cells}].push_back(slot);
  }

 private:
  struct Free {
    void operator()(Cell* cells) const { std::free(cells); }
  };
  using Block = std::unique_ptr<Cell[], Free>;

  static constexpr size_t kSlots = 64;

  static Block Zeroed(size_t cells) {
    return Block(static_cast<Cell*>(std::calloc(cells, sizeof(Cell))));
  }

  void Grow(std::vector<SlabSlot>& free, size_t hot_cells, size_t cold_cells) {
    Block hot = Zeroed(hot_cells * kSlots);
    Block cold = Zeroed(cold_cells * kSlots);
    if (!hot || !cold) return;
    for (size_t i = kSlots; i-- > 0;) {
      free.push_back({hot.get() + i * hot_cells, cold.get() + i * cold_cells});
    }
    blocks_.push_back(std::move(hot));
    blocks_.push_back(std::move(cold));
  }

  std::map<std::pair<size_t, size_t>, std::vector<SlabSlot>> free_;
  std::vector<Block> blocks_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_SLAB_H_

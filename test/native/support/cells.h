// Zeroed cells on the heap, as a slab or a mapped region hands them out.

#ifndef SEKERING_TEST_SUPPORT_CELLS_H_
#define SEKERING_TEST_SUPPORT_CELLS_H_

#include <cstddef>
#include <memory>

#include "core/window.h"

namespace sekering {

class Cells {
 public:
  explicit Cells(size_t count) : count_(count), cells_(new Cell[count]()) {}

  Cell* data() { return cells_.get(); }
  bool AllZero() const {
    for (size_t i = 0; i < count_; ++i) {
      if (cells_[i].load() != 0) return false;
    }
    return true;
  }

 private:
  size_t count_;
  std::unique_ptr<Cell[]> cells_;
};

/// A time window with memory of its own.
struct WindowBox {
  explicit WindowBox(uint32_t buckets, bool shared = false)
      : hot(TimeWindow::HotCells(buckets)),
        cold(TimeWindow::ColdCells(buckets)),
        touched(kTouchedWords),
        window({hot.data(), cold.data(), touched.data()}, buckets, shared) {}

  bool AllZero() const { return hot.AllZero() && cold.AllZero() && touched.AllZero(); }

  Cells hot;
  Cells cold;
  Cells touched;
  TimeWindow window;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_CELLS_H_

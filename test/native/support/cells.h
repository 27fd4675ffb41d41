// Zeroed cells on the heap, as a slab or a mapped region hands them out.

#ifndef SEKERING_TEST_SUPPORT_CELLS_H_
#define SEKERING_TEST_SUPPORT_CELLS_H_

#include <cstddef>
#include <memory>
#include <span>

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

/// A window that takes and gives plain numbers, so that tests read like tables.
class PlainWindow : public TimeWindow {
 public:
  using TimeWindow::TimeWindow;

  void Add(Counter counter, uint32_t epoch, uint32_t count) {
    TimeWindow::Add(counter, Epoch(epoch), Count(count));
  }
  void AddLatency(uint32_t ms, uint32_t epoch, uint32_t count) {
    TimeWindow::AddLatency(Millis(ms), Epoch(epoch), Count(count));
  }
  uint64_t Sum(Counter counter, uint32_t epoch) const {
    return TimeWindow::Sum(counter, Epoch(epoch));
  }
  uint32_t Bucket(Counter counter, uint32_t epoch, uint32_t age) const {
    return TimeWindow::Bucket(counter, Epoch(epoch), age).value();
  }
  size_t Latencies(uint32_t epoch, std::span<LatencyCount> out) const {
    return TimeWindow::Latencies(Epoch(epoch), out);
  }
  size_t BucketLatencies(uint32_t epoch, uint32_t age, std::span<LatencyCount> out) const {
    return TimeWindow::BucketLatencies(Epoch(epoch), age, out);
  }
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
  PlainWindow window;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_CELLS_H_

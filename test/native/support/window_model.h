// What a time window must answer, written as plainly as possible: a list of everything that was
// ever counted, each with the number of its bucket.

#ifndef SEKERING_TEST_SUPPORT_WINDOW_MODEL_H_
#define SEKERING_TEST_SUPPORT_WINDOW_MODEL_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "core/window.h"

namespace sekering {

/// The counters before the one that the window keeps for itself.
inline constexpr uint32_t kPlainCounters = static_cast<uint32_t>(Counter::kLatencies);

class WindowModel {
 public:
  explicit WindowModel(uint32_t buckets) : buckets_(buckets) {}

  void Add(Counter counter, int64_t epoch, uint32_t count) {
    AddToRow(static_cast<uint32_t>(counter), epoch, count);
  }
  void AddLatency(uint32_t ms, int64_t epoch, uint32_t count) {
    AddToRow(kCounters + LatencyOfCell(LatencyCell(Millis(ms))).value(), epoch, count);
  }

  /// What was counted within the window that ends with `epoch`, and after it by those whose clock
  /// is ahead.
  uint64_t Sum(Counter counter, int64_t epoch) const {
    uint64_t sum = 0;
    for (const Event& event : events_) {
      if (event.row == static_cast<uint32_t>(counter) && IsWithin(event, epoch)) {
        sum += event.count;
      }
    }
    return sum;
  }
  uint64_t Bucket(Counter counter, int64_t epoch, uint32_t age) const {
    uint64_t sum = 0;
    for (const Event& event : events_) {
      if (event.row == static_cast<uint32_t>(counter) && event.epoch == epoch - age) {
        sum += event.count;
      }
    }
    return sum;
  }
  std::map<uint32_t, uint64_t> Latencies(int64_t epoch) const {
    std::map<uint32_t, uint64_t> found;
    for (const Event& event : events_) {
      if (event.row >= kCounters && IsWithin(event, epoch)) {
        found[event.row - kCounters] += event.count;
      }
    }
    return found;
  }
  std::map<uint32_t, uint64_t> BucketLatencies(int64_t epoch, uint32_t age) const {
    std::map<uint32_t, uint64_t> found;
    for (const Event& event : events_) {
      if (event.row >= kCounters && event.epoch == epoch - age) {
        found[event.row - kCounters] += event.count;
      }
    }
    return found;
  }
  void Zero() { events_.clear(); }

 private:
  struct Event {
    uint32_t row;  // a counter, or kCounters + the latency as it is reported
    int64_t epoch;
    uint32_t count;
  };

  bool IsWithin(const Event& event, int64_t epoch) const { return event.epoch > epoch - buckets_; }

  void AddToRow(uint32_t row, int64_t epoch, uint32_t count) {
    // Epochs that are a multiple of the window apart share a place, which belongs to the newest:
    // whoever comes later for an older one counts in the newest, and what the older held is gone.
    const auto rivals = [&](const Event& event) {
      return event.row == row && (event.epoch - epoch) % buckets_ == 0;
    };
    int64_t newest = epoch;
    for (const Event& event : events_) {
      if (rivals(event)) newest = std::max(newest, event.epoch);
    }
    std::erase_if(events_,
                  [&](const Event& event) { return rivals(event) && event.epoch < newest; });
    events_.push_back({row, newest, count});
  }

  int64_t buckets_;
  std::vector<Event> events_;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_WINDOW_MODEL_H_

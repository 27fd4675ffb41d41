// The rolling windows of one breaker: counters and latencies per bucket of time, and the outcomes
// of the last N calls.
//
// Both live in memory that may be shared by processes, and a process may die at any instruction.
// So a cell is one 64-bit word that holds its epoch (the number of the bucket of time it counts
// for) beside its count: an increment to a cell of an older epoch replaces both at once. No bucket
// is ever cleared, no step has a second half, and no increment is lost when a bucket rolls over.

#ifndef SEKERING_CORE_WINDOW_H_
#define SEKERING_CORE_WINDOW_H_

#include <cstdint>
#include <span>

#include "core/cell.h"
#include "core/histogram.h"
#include "core/participants.h"
#include "core/units.h"

namespace sekering {

/// What is counted, in the order of the JavaScript side's table (lib/primitives/status.js).
enum class Counter : uint32_t {
  kFailures,
  kFallbacks,
  kSuccesses,
  kRejects,
  kFires,
  kTimeouts,
  kCacheHits,
  kCacheMisses,
  kCoalesceCacheHits,
  kCoalesceCacheMisses,
  kSemaphoreRejections,
  kSlowCalls,
  /// Latencies in the bucket: tells which buckets of the histogram are worth a look.
  kLatencies,
};
inline constexpr uint32_t kCounters = 13;

inline constexpr uint32_t kBucketsMax = 1000;

/// Each participant reads the clock for itself, so some are behind, by at most this many buckets.
/// An epoch that seems further ahead is old (the numbers have wrapped since), or damaged.
inline constexpr uint32_t kAheadMax = 1U << 12;
constexpr bool IsAhead(Epoch epoch, Epoch of) {
  return epoch - of - 1 < kAheadMax;
}
static_assert(kBucketsMax < kAheadMax);

/// Latencies below this many milliseconds lie beside the counters; the rest of the histogram is
/// memory that a fast upstream never touches.
inline constexpr uint32_t kHotLatencyCells = 8;
/// Rows of cells: the latencies', then the counters'.
inline constexpr uint32_t kRows = kLatencyCells + kCounters;
inline constexpr uint32_t kTouchedWords = (kRows + 63) / 64;

/// The memory of a time window: two blocks of zeroed cells, and the bitmap of rows that have ever
/// been used.
struct WindowMemory {
  Cell* hot;
  Cell* cold;
  Cell* touched;  // kTouchedWords
  /// Backs a row of latency cells before its first use; null if the memory needs none.
  Storage* storage = nullptr;
};

class TimeWindow {
 public:
  TimeWindow() = default;
  TimeWindow(WindowMemory memory, uint32_t buckets, bool shared)
      : memory_(memory), buckets_(buckets), shared_(shared) {}

  static constexpr size_t HotCells(uint32_t buckets) {
    return size_t{buckets} * (kCounters + kHotLatencyCells);
  }
  static constexpr size_t ColdCells(uint32_t buckets) {
    return size_t{buckets} * (kLatencyCells - kHotLatencyCells);
  }

  void Add(Counter counter, Epoch epoch, Count count) noexcept;
  void AddLatency(Millis latency, Epoch epoch, Count count) noexcept;
  /// Replaces one bucket's count. What others add meanwhile may be lost.
  void Set(Counter counter, Epoch epoch, uint32_t age, Count count) noexcept;

  /// The window's total at `epoch`.
  uint64_t Sum(Counter counter, Epoch epoch) const noexcept;
  /// One bucket's count; `age` 0 is the newest.
  Count Bucket(Counter counter, Epoch epoch, uint32_t age) const noexcept;

  /// Fills `out` (kLatencyCells) with the values of the window; returns how many.
  size_t Latencies(Epoch epoch, std::span<LatencyCount> out) const noexcept;
  size_t BucketLatencies(Epoch epoch, uint32_t age, std::span<LatencyCount> out) const noexcept;

  /// All counts to zero. What others add meanwhile may be lost, and nothing else.
  void Zero() noexcept;
  /// Back to zeroed memory, touching only what was used. Nobody else may use the window meanwhile.
  void Clear() noexcept;

  /// Asks the processor for what a success and its latency, if that is short, are counted in.
  void PrefetchBucket(Epoch epoch) const noexcept;

  uint32_t buckets() const { return buckets_; }

 private:
  Cell* CounterRow(Counter counter) const {
    return memory_.hot + static_cast<size_t>(counter) * buckets_;
  }
  Cell* LatencyRow(uint32_t cell) const;
  bool Touched(uint32_t row) const noexcept;
  void Touch(uint32_t row) noexcept;
  void AddTo(Cell& cell, Epoch epoch, Count count) noexcept;
  uint64_t SumRow(const Cell* row, Epoch epoch) const noexcept;
  Count CellOfAge(const Cell* row, Epoch epoch, uint32_t age) const noexcept;
  size_t CollectLatencies(std::span<const uint32_t> buckets, Epoch epoch,
                          std::span<LatencyCount> out) const noexcept;

  WindowMemory memory_{};
  uint32_t buckets_ = 0;
  bool shared_ = false;
};

/// The outcomes of the last N calls, a bit each, 32 calls to a word beside the word's lap.
class LastCalls {
 public:
  struct Totals {
    uint32_t calls;
    uint32_t failures;
    uint32_t slow;
  };

  static constexpr uint32_t kSizeMax = 10000;

  LastCalls() = default;
  LastCalls(Cell* position, Cell* words, uint32_t size)
      : position_(position), words_(words), size_(size) {}

  /// Two bitmaps of whole words; one spare word keeps the oldest calls of a window that starts in
  /// the middle of a word.
  static constexpr uint32_t WordsPerMap(uint32_t size) { return size / 32 + 2; }
  static constexpr size_t Cells(uint32_t size) {
    return size == 0 ? 0 : size_t{2} * WordsPerMap(size);
  }

  void Record(bool failed, bool slow) noexcept;
  /// The last `size` calls, but none that came before position `since`.
  Totals Read(uint64_t since) const noexcept;
  uint64_t position() const noexcept { return position_->load(); }
  void Clear() noexcept;

 private:
  /// How often the words of a map had been used up before this one: told apart as epochs are.
  Epoch LapOf(uint64_t word_number) const noexcept {
    return Epoch(static_cast<uint32_t>(word_number / WordsPerMap(size_)));
  }
  void SetBit(Cell* map, uint64_t position, bool bit) noexcept;
  uint32_t CountBits(const Cell* map, uint64_t from, uint64_t to) const noexcept;

  Cell* position_ = nullptr;
  Cell* words_ = nullptr;
  uint32_t size_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_WINDOW_H_

#include "core/window.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

namespace sekering {
namespace {

constexpr Epoch EpochOf(uint64_t word) {
  return Epoch(High(word));
}
constexpr Count CountIn(uint64_t word) {
  return Count(Low(word));
}
constexpr uint64_t WordOf(Epoch epoch, Count count) {
  return Pack(epoch.value(), count.value());
}

/// What `word` becomes when `count` is added in `epoch`. A writer that is behind (it read the clock
/// before a roll-over) adds to the newer epoch: its call is counted a bucket late, and not lost.
uint64_t Added(uint64_t word, Epoch epoch, Count count) {
  const bool of_use = EpochOf(word) == epoch || IsAhead(EpochOf(word), epoch);
  if (!of_use || CountIn(word) == Count(0)) return WordOf(epoch, count);
  const uint64_t sum = uint64_t{CountIn(word).value()} + count.value();
  return WordOf(EpochOf(word), Count(static_cast<uint32_t>(std::min<uint64_t>(sum, UINT32_MAX))));
}

/// The count of a cell if it belongs to one of the `buckets` epochs that end with `epoch`, or to a
/// later one.
uint32_t CountWithin(uint64_t word, Epoch epoch, uint32_t buckets) {
  const bool within = epoch - EpochOf(word) < buckets || IsAhead(EpochOf(word), epoch);
  return within ? CountIn(word).value() : 0;
}

}  // namespace

Cell* TimeWindow::LatencyRow(uint32_t cell) const {
  if (cell < kHotLatencyCells) return memory_.hot + size_t{kCounters + cell} * buckets_;
  return memory_.cold + size_t{cell - kHotLatencyCells} * buckets_;
}

void TimeWindow::AddTo(Cell& cell, Epoch epoch, Count count) noexcept {
  // Relaxed: one thread alone writes a window that is not shared, and in a shared one the swap
  // below decides whether this value was up to date.
  uint64_t word = cell.load(std::memory_order_relaxed);
  if (!shared_) {
    // Relaxed: nobody else reads it.
    cell.store(Added(word, epoch, count), std::memory_order_relaxed);
    return;
  }
  // Sequentially consistent, as the reads of the sums are: of two participants that count and then
  // look, at least one sees both counts.
  while (!cell.compare_exchange_weak(word, Added(word, epoch, count))) {
  }
}

bool TimeWindow::Touched(uint32_t row) const noexcept {
  return (memory_.touched[row / 64].load() >> (row % 64) & 1) != 0;
}

void TimeWindow::Touch(uint32_t row) noexcept {
  if (Touched(row)) return;
  memory_.touched[row / 64].fetch_or(uint64_t{1} << (row % 64));
}

void TimeWindow::Add(Counter counter, Epoch epoch, Count count) noexcept {
  assert(static_cast<uint32_t>(counter) < kCounters);
  Touch(kLatencyCells + static_cast<uint32_t>(counter));
  AddTo(CounterRow(counter)[epoch.value() % buckets_], epoch, count);
}

void TimeWindow::Set(Counter counter, Epoch epoch, uint32_t age, Count count) noexcept {
  assert(age < buckets_);
  Touch(kLatencyCells + static_cast<uint32_t>(counter));
  const Epoch wanted = epoch - age;
  CounterRow(counter)[wanted.value() % buckets_].store(WordOf(wanted, count));
}

void TimeWindow::AddLatency(Millis latency, Epoch epoch, Count count) noexcept {
  const uint32_t cell = LatencyCell(latency);
  if (memory_.storage != nullptr && cell >= kHotLatencyCells && !Touched(cell) &&
      !memory_.storage->Commit(LatencyRow(cell), buckets_ * sizeof(Cell))) {
    return;  // The call is counted; only its latency is not.
  }
  Touch(cell);
  AddTo(LatencyRow(cell)[epoch.value() % buckets_], epoch, count);
  Add(Counter::kLatencies, epoch, count);
}

void TimeWindow::PrefetchBucket(Epoch epoch) const noexcept {
  const uint32_t bucket = epoch.value() % buckets_;
  for (const Counter counter : {Counter::kSuccesses, Counter::kFires, Counter::kLatencies}) {
    PrefetchLine(&CounterRow(counter)[bucket]);
  }
  PrefetchLine(&LatencyRow(0)[bucket]);
}

uint64_t TimeWindow::SumRow(const Cell* row, Epoch epoch) const noexcept {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < buckets_; ++i) {
    sum += CountWithin(row[i].load(), epoch, buckets_);
  }
  return sum;
}

Count TimeWindow::CellOfAge(const Cell* row, Epoch epoch, uint32_t age) const noexcept {
  assert(age < buckets_);
  const Epoch wanted = epoch - age;
  // Relaxed: the word says all that is read here, and nothing is decided by two of them.
  const uint64_t word = row[wanted.value() % buckets_].load(std::memory_order_relaxed);
  return EpochOf(word) == wanted ? CountIn(word) : Count(0);
}

uint64_t TimeWindow::Sum(Counter counter, Epoch epoch) const noexcept {
  if (!Touched(kLatencyCells + static_cast<uint32_t>(counter))) return 0;
  return SumRow(CounterRow(counter), epoch);
}

Count TimeWindow::Bucket(Counter counter, Epoch epoch, uint32_t age) const noexcept {
  return CellOfAge(CounterRow(counter), epoch, age);
}

size_t TimeWindow::CollectLatencies(std::span<const uint32_t> buckets, Epoch epoch,
                                    std::span<LatencyCount> out) const noexcept {
  // The loads are relaxed: statistics may miss what is counted meanwhile.
  size_t found = 0;
  for (uint32_t word = 0; word < kTouchedWords; ++word) {
    uint64_t bits = memory_.touched[word].load(std::memory_order_relaxed);
    for (; bits != 0; bits &= bits - 1) {
      const uint32_t cell = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
      if (cell >= kLatencyCells || found == out.size()) return found;
      const Cell* row = LatencyRow(cell);
      uint64_t count = 0;
      for (const uint32_t bucket : buckets) {
        count += CountWithin(row[bucket].load(std::memory_order_relaxed), epoch, buckets_);
      }
      if (count != 0) out[found++] = {LatencyOfCell(cell), count};
    }
  }
  return found;
}

size_t TimeWindow::Latencies(Epoch epoch, std::span<LatencyCount> out) const noexcept {
  // Most windows are sparse: a service that is called in bursts has used a few buckets.
  std::array<uint32_t, kBucketsMax> used;
  size_t count = 0;
  const Cell* row = CounterRow(Counter::kLatencies);
  for (uint32_t i = 0; i < buckets_; ++i) {
    // Relaxed: as in CollectLatencies.
    const uint64_t word = row[i].load(std::memory_order_relaxed);
    if (CountWithin(word, epoch, buckets_) != 0) used[count++] = i;
  }
  return CollectLatencies({used.data(), count}, epoch, out);
}

size_t TimeWindow::BucketLatencies(Epoch epoch, uint32_t age,
                                   std::span<LatencyCount> out) const noexcept {
  if (Bucket(Counter::kLatencies, epoch, age) == Count(0)) return 0;
  const uint32_t bucket = (epoch - age).value() % buckets_;
  return CollectLatencies({&bucket, 1}, epoch, out);
}

void TimeWindow::Zero() noexcept {
  // Relaxed: what others add meanwhile may be lost.
  const auto clear_row = [this](Cell* row) {
    for (uint32_t i = 0; i < buckets_; ++i) row[i].store(0, std::memory_order_relaxed);
  };
  for (uint32_t i = 0; i < kCounters; ++i) clear_row(CounterRow(static_cast<Counter>(i)));
  for (uint32_t cell = 0; cell < kLatencyCells; ++cell) {
    if (Touched(cell)) clear_row(LatencyRow(cell));
  }
}

void TimeWindow::Clear() noexcept {
  Zero();
  // Relaxed: nobody else uses the window.
  for (uint32_t i = 0; i < kTouchedWords; ++i) {
    memory_.touched[i].store(0, std::memory_order_relaxed);
  }
}

void LastCalls::SetBit(Cell* map, uint64_t position, bool bit) noexcept {
  const uint64_t word_number = position / 32;
  const Epoch lap = LapOf(word_number);
  const uint32_t mask = bit ? 1U << (position % 32) : 0;
  Cell& cell = map[word_number % WordsPerMap(size_)];
  // Relaxed: the swap decides whether the value was up to date.
  uint64_t word = cell.load(std::memory_order_relaxed);
  for (;;) {
    const bool present = EpochOf(word) == lap;
    // A writer that was stopped for a whole lap finds its word reused: its call has left the
    // window. A word from further ahead is damage.
    if (IsAhead(EpochOf(word), lap) || (present && mask == 0)) return;
    const uint64_t next = Pack(lap.value(), present ? Low(word) | mask : mask);
    if (cell.compare_exchange_weak(word, next)) return;
  }
}

void LastCalls::Record(bool failed, bool slow) noexcept {
  const uint64_t position = position_->fetch_add(1);
  SetBit(words_, position, failed);
  SetBit(words_ + WordsPerMap(size_), position, slow);
}

uint32_t LastCalls::CountBits(const Cell* map, uint64_t from, uint64_t to) const noexcept {
  uint32_t bits = 0;
  for (uint64_t position = from; position < to;) {
    const uint64_t word_number = position / 32;
    const uint64_t end = position + std::min(to - position, 32 - position % 32);
    const uint64_t word = map[word_number % WordsPerMap(size_)].load();
    if (EpochOf(word) == LapOf(word_number)) {
      const uint64_t wanted = ((uint64_t{1} << (end - position)) - 1) << (position % 32);
      bits += static_cast<uint32_t>(std::popcount(Low(word) & wanted));
    }
    position = end;
  }
  return bits;
}

LastCalls::Totals LastCalls::Read(uint64_t since) const noexcept {
  const uint64_t to = position();
  const uint64_t oldest = to > size_ ? to - size_ : 0;
  // A start beyond the present position is damage.
  const uint64_t from = since <= to ? std::max(oldest, since) : oldest;
  return {static_cast<uint32_t>(to - from), CountBits(words_, from, to),
          CountBits(words_ + WordsPerMap(size_), from, to)};
}

void LastCalls::Clear() noexcept {
  // Relaxed: nobody else uses them.
  for (size_t i = 0; i < Cells(size_); ++i) words_[i].store(0, std::memory_order_relaxed);
  position_->store(0, std::memory_order_relaxed);
}

}  // namespace sekering

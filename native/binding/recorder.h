// What JavaScript recorded since the last look: a ring of outcomes, drained in one go.
//
// The hot path never crosses into native code. JavaScript appends words to `ring` and keeps a few
// numbers in `control`; here they are read before the loop waits for events, when the ring is full,
// and before anything looks at a breaker. See "The hot path" in HACKING.md.

#ifndef SEKERING_BINDING_RECORDER_H_
#define SEKERING_BINDING_RECORDER_H_

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "binding/clock.h"
#include "binding/convert.h"
#include "binding/shared.h"
#include "binding/slab.h"
#include "core/breaker.h"

namespace sekering {

/// Indices of `control`, an Int32Array; lib/base/recorder.js has the same list.
enum Control : size_t {
  kRingHead,       // words in the ring
  kClockNow,       // the last reading of the clock, in ticks
  kClockBudget,    // calls that may still use that reading
  kClockStride,    // how many calls the next reading may serve
  kTimedInFlight,  // calls in flight that have a timeout
  kLoopHeld,       // whether those keep the loop alive
  kControlLength,
};

/// JavaScript measures in sixteenths of a millisecond: 32 bits of them wrap after three days.
inline constexpr Micros MicrosOfTicks(uint32_t ticks) {
  return Micros{ticks} * 125 / 2;
}

/// One breaker of this environment.
struct BreakerEntry {
  Breaker breaker;
  SlabSlot memory{};
  /// Where the breaker is shared: its record, and what this environment alone has counted (in
  /// `memory`).
  SharedRecord* shared = nullptr;
  Breaker local;
  /// The period as JavaScript sees it: an element of a typed array that it reads before each call.
  uint32_t* cell = nullptr;
  /// The last transition that JavaScript was told of.
  uint32_t seen_generation = 0;
  /// How many repairs of a damaged state it was told of.
  uint64_t seen_repairs = 0;
  bool live = false;
};

class Recorder {
 public:
  static constexpr uint32_t kCellsPerChunk = 1024;
  static constexpr uint32_t kNoId = UINT32_MAX;

  Recorder(Napi::Env env, const EnvClock& clock) : env_(env), clock_(clock) {}
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void Attach(napi_value control, napi_value ring);
  /// Memory for the cells of 1,024 more breakers.
  void AddCells(napi_value cells);

  /// kNoId when there is no cell left for it (AddCells) or no memory.
  uint32_t Create(const BreakerConfig& config);
  /// kNoId also forgets the record.
  uint32_t CreateShared(const BreakerConfig& config, SharedRecord& record);
  void Destroy(uint32_t id);
  bool HasFreeCell() const {
    return !free_.empty() || entries_.size() < cells_.size() * kCellsPerChunk;
  }

  BreakerEntry& Entry(uint32_t id) { return entries_[id]; }
  /// The breaker, with all that was recorded before counted.
  BreakerEntry& Look(uint32_t id, Micros now);
  void Drain(Micros now) noexcept;
  /// The clock is about to be set: what happened so far, happened at the time so far.
  void ClockMoves() noexcept;
  /// Keeps the loop alive until the calls in flight that have a timeout have settled.
  void HoldLoop();

  /// Shows JavaScript the breaker's present period.
  static void Publish(BreakerEntry& entry) { *entry.cell = entry.breaker.period(); }
  /// Tells the other environments if the period is another than `before`.
  static void AnnounceSince(BreakerEntry& entry, Period before) {
    if (entry.shared != nullptr && entry.breaker.period() != before) {
      entry.shared->Announce();
    }
    Publish(entry);
  }

  const EnvClock& clock() const { return clock_; }
  size_t live_count() const { return entries_.size() - free_.size(); }

 private:
  struct LoopHook;

  void BeforePoll() noexcept;
  uint32_t NewEntry(const BreakerConfig& config);
  static void OnMove(void* recorder, const SharedRecord& record);

  Napi::Env env_;
  const EnvClock& clock_;
  Shared<int32_t> control_;
  Shared<uint32_t> ring_;
  std::vector<Shared<uint32_t>> cells_;
  std::deque<BreakerEntry> entries_;
  std::vector<uint32_t> free_;
  Slab slab_;
  LoopHook* hook_ = nullptr;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_RECORDER_H_

// The breakers of one environment (a thread of JavaScript), by number: what it recorded since the
// last look, which transitions it has been told of, and what sharing a breaker adds to a call.
//
// A binding converts arguments and results and does nothing else with a breaker.

#ifndef SEKERING_CORE_BREAKERS_H_
#define SEKERING_CORE_BREAKERS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/breaker.h"
#include "core/ids.h"
#include "core/participants.h"
#include "core/slab.h"

namespace sekering {

/// Transitions since the last look.
struct Transitions {
  /// How many came before the known ones. Their states are not known any more.
  uint32_t forgotten = 0;
  /// A damaged state was repaired: what happened before is unknown.
  bool repaired = false;
  /// The states that the others led to, oldest first.
  uint32_t known = 0;
  std::array<State, kHistoryMax> states{};
};

/// A window's counts and latencies.
struct WindowStats {
  std::array<uint64_t, kCounters> counts;
  LatencySummary summary;
  size_t latency_count;
  std::array<LatencyCount, kLatencyCells> latencies;
};

/// Stats as JavaScript reads them (lib/primitives/stats.js): the counters, the mean, the
/// percentiles, then latencies, each `ms * 2^31 + count`. `numbers` has room for kStatsNumbersMax.
inline constexpr size_t kStatsNumbersMax = kCounters + 1 + kPercentiles.size() + kLatencyCells;
void WriteNumbers(const WindowStats& stats, double* numbers) noexcept;

/// One breaker of the environment.
class BreakerHandle {
 public:
  BreakerHandle(const BreakerConfig& config, SlabSlot memory, uint32_t* period, Micros now);
  /// Of a breaker in shared memory. In `memory` this environment counts what it did itself.
  BreakerHandle(const BreakerConfig& config, SlabSlot memory, uint32_t* period, Micros now,
                SharedMemory& shared);

  /// Call it before each use: goes over to where the breaker is now.
  void Follow(Micros now) noexcept {
    if (shared_ != nullptr && shared_->Follow()) [[unlikely]] {
      Move(now);
    }
  }

  /// Whether a call may pass. Probes of dead participants keep nobody out.
  Admission Admit(Micros now, double random) noexcept;
  void Abandon(Period period, Probe probe) noexcept { breaker_.Abandon(period, probe); }
  /// Counts the outcome of a call; whether the caller must Trip.
  bool Record(Outcome outcome, Micros now) noexcept;
  void Trip(Period period, Micros reset_min, Micros now) noexcept;
  /// By hand.
  void MoveTo(State state, Micros now) noexcept;
  /// Half-opens an open circuit that is due. Returns OpenFor.
  Micros Poll(Micros now) noexcept;
  Micros OpenFor(Micros now) noexcept { return breaker_.OpenFor(now); }
  void Forget() noexcept { breaker_.Forget(); }
  void Rotate() noexcept { breaker_.Rotate(); }
  /// Other rules and times; a shared breaker keeps those that it has.
  void Configure(const BreakerConfig& config) noexcept {
    if (shared_ == nullptr) breaker_.Configure(config);
  }
  bool HasFreeProbe(Micros now) const noexcept { return breaker_.HasFreeProbe(now); }
  bool Warming(Micros now) const noexcept { return breaker_.Warming(now); }
  Epoch EpochAt(Micros now) const noexcept { return breaker_.EpochAt(now); }
  uint64_t repairs() const noexcept { return breaker_.repairs(); }

  void Add(Counter counter, Count count, Micros now) noexcept;
  void AddLatency(Millis latency, Count count, Micros now) noexcept;
  /// One bucket's count, and another in its place: 0, and nothing, when no bucket has that age.
  Count BucketCount(Counter counter, uint32_t age, Micros now) const noexcept;
  void SetBucketCount(Counter counter, uint32_t age, Count count, Micros now) noexcept;

  /// Whether there are transitions that TakeTransitions has not told of.
  bool HasTransitions() const noexcept { return breaker_.generation() != told_generation_; }
  Transitions TakeTransitions() noexcept;

  /// Whose counts: of all participants, or of this environment alone (the same unless shared).
  enum class Whose { kAll, kOwn };
  void ReadWindow(Whose whose, Micros now, WindowStats* stats) const noexcept;
  /// One bucket; `age` 0 is the newest.
  void ReadBucket(uint32_t age, Micros now, WindowStats* stats) const noexcept;

  /// Shows the environment the present period.
  void Publish() noexcept { *period_ = breaker_.period().value(); }

 private:
  friend class Breakers;
  friend class Tally;

  Admission TryAdmit(Micros now, double random) noexcept;
  void Move(Micros now) noexcept;
  void PublishSince(Period before) noexcept;

  Breaker breaker_;
  /// What this environment alone has counted of a shared breaker; else `breaker_` itself.
  Breaker local_;
  SlabSlot memory_;
  SharedMemory* shared_ = nullptr;
  /// An element of an array that the environment reads before each call.
  uint32_t* period_;
  Generation told_generation_;
  uint64_t told_repairs_ = 0;
  /// The breaker in whose window this one counts, if that is not its own.
  uint32_t window_of_ = SharedMemory::kNoId;
  /// Itself, until it is destroyed, and those that count in its window.
  uint32_t users_ = 1;
  bool destroyed_ = false;
};

/// Why there is no breaker. JavaScript has the same numbers (lib/base/recorder.js).
enum class CreateError : uint32_t {
  kNone = 0,
  kNoPeriods = 100,  // call AddPeriods first
  kNoMemory = 102,
  kNoWindow = 103,
};

struct Created {
  uint32_t id = SharedMemory::kNoId;
  CreateError error = CreateError::kNone;
};

class Breakers {
 public:
  static constexpr uint32_t kPeriodsPerChunk = 1024;
  /// The bits of a ring's word below the breaker's number.
  static constexpr uint32_t kCounterBits = 4;
  static_assert(kCounters <= 1U << kCounterBits);

  /// Where the environment records what its calls do: `*head` words of `ring` are in use, each
  /// `id << kCounterBits | counter`; a success is followed by its latency in ticks.
  void AttachRing(int32_t* head, std::span<const uint32_t> ring);
  /// Room for the periods of kPeriodsPerChunk more breakers.
  void AddPeriods(uint32_t* periods) { periods_.push_back(periods); }

  Created Create(const BreakerConfig& config, Micros now);
  /// A breaker that counts in the window of breaker `window_of`. The window lasts as long as the
  /// last breaker that counts in it. Fails for a breaker in shared memory, or none.
  Created CreateIn(uint32_t window_of, const BreakerConfig& config, Micros now);
  /// Leaves the memory if this fails.
  Created CreateShared(const BreakerConfig& config, SharedMemory& shared, Micros now);
  /// False if there is no such breaker.
  bool Destroy(uint32_t id, Micros now);

  /// The breaker, with all that was recorded before counted; null if there is none.
  BreakerHandle* Find(uint32_t id, Micros now) noexcept;
  /// Counts what was recorded.
  void Drain(Micros now) noexcept;

 private:
  void Prefetch(std::span<const uint32_t> words, Micros now) noexcept;
  bool HasPeriod() const noexcept { return breakers_.next() < periods_.size() * kPeriodsPerChunk; }
  SlabSlot TakeMemory(const BreakerConfig& config, Created* created);
  /// One user less of a breaker's memory. The last one frees it.
  void Release(uint32_t id);

  Ids<BreakerHandle> breakers_;
  std::vector<uint32_t*> periods_;
  int32_t* head_ = nullptr;
  std::span<const uint32_t> ring_;
  Slab slab_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_BREAKERS_H_

// The circuit breaker: its state, who may pass, and what an outcome changes.
//
// All of a breaker's state is a block of 64-bit cells (BreakerMemory and the window's cells), used
// in place and only through atomic operations. So the same code serves a breaker of one thread and
// one that many processes map. No process waits for another: each change is one compare-and-swap.
// What belongs to a change (when an open circuit may be tried again, who probes) carries the
// generation of that change, so that a leftover can be told from the present.

#ifndef SEKERING_CORE_BREAKER_H_
#define SEKERING_CORE_BREAKER_H_

#include <cstdint>
#include <span>

#include "core/cell.h"
#include "core/participants.h"
#include "core/trip.h"
#include "core/units.h"
#include "core/window.h"

namespace sekering {

/// JavaScript reads the two low bits of a period as one of these.
enum class State : uint32_t {
  kClosed = 0,
  kOpen = 1,
  kHalfOpen = 2,
  /// Closed, but admitting only a share of the calls, which grows.
  kRamping = 3,
};

/// A stretch of time between two transitions: the low 30 bits of its generation above its state (2
/// bits).
using Period = Strong<struct PeriodTag>;
constexpr Period MakePeriod(Generation generation, State state) {
  return Period(generation.value() << 2 | static_cast<uint32_t>(state));
}
constexpr State StateOf(Period period) {
  return static_cast<State>(period.value() & 3);
}
/// Its low 30 bits: what periods, stamps and counts of a period are compared by.
constexpr Generation GenerationOf(Period period) {
  return Generation(period.value() >> 2);
}
constexpr Period PeriodAfter(Period period, State state) {
  return MakePeriod(Next(GenerationOf(period)), state);
}

/// Names the lease of a probe, so that only its holder gives it back.
using Probe = Strong<struct ProbeTag>;

inline constexpr uint32_t kProbesMax = 16;
/// The longest time that an upstream's Retry-After may keep a circuit open.
inline constexpr Micros kResetMinMax = Micros{3600} * 1000000;
/// Transitions that the state word remembers.
inline constexpr uint32_t kHistoryMax = 12;
/// How many processes a breaker can tell apart as witnesses of failures.
inline constexpr uint32_t kWitnessesMax = 16;

struct BreakerConfig {
  TripRules rules;
  /// 0: buckets are rotated by hand.
  Micros bucket_length = 1000000;
  uint32_t buckets = 10;
  bool percentiles = true;
  bool shared = false;
  Micros slow_call = kNever;
  /// How many calls may test a half-open circuit at once, and how many must succeed to close it; 0:
  /// an open circuit is not tested, but closes when its time has come.
  uint32_t half_open_probes = 1;
  uint32_t success_threshold = 1;
  /// A probe that has not settled by then no longer keeps others from probing.
  Micros probe_lease = 30000000;
  /// Time to the next try: reset_initial * reset_factor^(trips in a row - 1), at most reset_max.
  Micros reset_initial = 30000000;
  double reset_factor = 1;
  Micros reset_max = 30000000;
  /// How long after closing until every call is admitted again; 0: at once.
  Micros ramp_up = 0;
  /// How long after creation failures do not trip.
  Micros warm_up = 0;
  /// How many processes must have seen failures lately for a trip; 1: any.
  uint32_t trip_witnesses = 1;
};

struct BreakerMemory {
  Cell state;       // StateWord: generation:32 | check:8 | history of 12 states:24
  Cell reopen;      // Stamp: generation:8 | check:8 | when to try an open circuit, microseconds:48
  Cell ramp;        // Stamp: generation:8 | check:8 | when the ramp began, microseconds:48
  Cell streak;      // generation:32 | failures in a row:32
  Cell probes_won;  // generation:32 | probes that succeeded:32
  Cell trips_in_row;  // without closing in between
  Cell base;          // epoch:32 | failures of that epoch:32 when the circuit last closed
  Cell last_position;
  Cell last_since;          // first position of the last calls that counts
  Cell rotations;           // the epoch when buckets are rotated by hand
  Cell origin;              // when epoch 0 began, in microseconds
  Cell leases[kProbesMax];  // participant:10 | generation:14 | deadline in milliseconds:40
  Cell touched[kTouchedWords];
  Cell witnesses[kWitnessesMax];  // process:32 | epoch of its last failure:32
  Cell repairs;                   // how often a damaged state was repaired
};
static_assert(sizeof(BreakerMemory) ==
              (12 + kProbesMax + kTouchedWords + kWitnessesMax) * sizeof(Cell));

inline constexpr Probe kNoProbe{kProbesMax};
/// What Admit answers.
struct Admission {
  bool admitted;
  Period period;
  /// kNoProbe for an ordinary call.
  Probe probe;
};

/// How a call ended. `slow` is derived from the latency by the breaker.
struct Outcome {
  bool failed;
  bool timed_out;
  Micros latency;
  Period period;  // in which the call was admitted
  Probe probe = kNoProbe;
  /// The process that made the call.
  Process process{1};
};

class Breaker {
 public:
  /// The cells of the two blocks of memory that a breaker needs, zeroed.
  static size_t HotCells(const BreakerConfig& config);
  static size_t ColdCells(const BreakerConfig& config);

  Breaker() = default;
  /// A view of memory that holds a breaker, or zeroes.
  Breaker(const BreakerConfig& config, Cell* hot, Cell* cold, Storage* storage = nullptr);

  /// Makes a closed breaker of zeroed memory. In shared memory the first caller does.
  void Initialize(Micros now) noexcept;
  /// Zeroes the memory for its next user. Touches only what was used; nobody else may use the
  /// breaker meanwhile.
  void Clear() noexcept;

  /// Forgets what was counted. What others count meanwhile may be forgotten too.
  void Forget() noexcept;

  Period period() const noexcept;
  Generation generation() const noexcept;
  /// The state `age` transitions ago, for age < kHistoryMax.
  State StateBefore(uint32_t age) const noexcept;

  /// Whether a call may pass. `random` is in [0, 1); `participant` is who asks.
  Admission Admit(Micros now, double random, Participant participant = {}) noexcept;
  /// Gives a probe back without an outcome: the call was never made.
  void Abandon(Period period, Probe probe) noexcept;
  bool HasFreeProbe(Micros now) const noexcept;
  /// How often a damaged state was found and repaired.
  uint64_t repairs() const noexcept { return memory_->repairs.load(); }

  /// Counts successes of an ordinary period; their latencies go to AddLatency. These three take the
  /// epoch, as a caller with many outcomes computes it once (EpochAt).
  void AddSuccesses(Epoch epoch, Count count) noexcept;
  void AddLatency(Millis latency, Epoch epoch, Count count) noexcept;
  void Add(Counter counter, Epoch epoch, Count count) noexcept {
    window_.Add(counter, epoch, count);
  }
  void Set(Counter counter, Epoch epoch, uint32_t age, Count count) noexcept {
    window_.Set(counter, epoch, age, count);
  }

  /// Counts an outcome. For a failure (or a slow success): whether the caller must Trip. A probe's
  /// success may close the circuit, which shows in period().
  bool Record(const Outcome& outcome, Micros now) noexcept;
  /// Opens the circuit if it is still in `period`. Not before `reset_min` (at most kResetMinMax) is
  /// it tried again.
  bool Trip(Period period, Micros reset_min, Micros now) noexcept;

  /// By hand: from whatever state. False when it was so already.
  bool Open(Micros now) noexcept;
  bool Close(Micros now) noexcept;
  bool HalfOpen() noexcept;

  /// Half-opens an open circuit whose time has come, or closes it if it needs no probes. Returns
  /// whether it did.
  bool Poll(Micros now) noexcept;
  /// How long an open circuit stays so; 0 for one that is not open.
  Micros OpenFor(Micros now) noexcept;

  /// Asks the processor for the memory that counting a success uses, except for the bucket.
  void Prefetch() const noexcept;
  /// Reads what Prefetch has asked for.
  void PrefetchBucket(Micros now) const noexcept;

  bool Warming(Micros now) const noexcept;
  void Rotate() noexcept { epochs_->rotations.fetch_add(1); }
  /// Other rules and times. The window stays as it is. Not for breakers in shared memory.
  void Configure(const BreakerConfig& config) noexcept;
  /// From now on this breaker counts in the window of `other`, with its buckets; state and rules
  /// stay its own. The memory of `other` must outlive it. Not for breakers in shared memory.
  void CountIn(const Breaker& other) noexcept;
  /// The number of the bucket at `now`.
  Epoch EpochAt(Micros now) const noexcept;
  const TimeWindow& window() const { return window_; }
  const BreakerConfig& config() const { return config_; }

 private:
  uint64_t LoadState() const noexcept;
  bool Transition(Period from, State to) noexcept;
  void Note(Cell& cell, uint64_t word, Period period) noexcept;
  bool EnoughWitnesses(Process process, Epoch epoch) noexcept;
  bool IsPossibleWait(Micros wait) const noexcept;
  bool OpenFrom(Period from, Micros reset_min, Micros now) noexcept;
  bool CloseFrom(Period from, Micros now) noexcept;
  Micros ResetAfter(uint64_t trips) const noexcept;
  Micros OpenUntil(Generation generation, Micros now) noexcept;
  Admission AdmitToRamp(Period period, Micros now, double random) noexcept;
  Probe TakeLease(Period period, Micros now, Participant participant) noexcept;
  void RecordProbeSuccess(const Outcome& outcome, Micros now) noexcept;
  void EndStreak() noexcept;
  uint32_t LengthenStreak(Period period) noexcept;
  Seen Look(Micros now, uint32_t streak) const noexcept;
  uint64_t FailuresSinceClosed(Epoch epoch) const noexcept;

  BreakerConfig config_;
  BreakerMemory* memory_ = nullptr;
  /// Whose origin and rotations number the buckets of `window_`: those of the window's owner.
  BreakerMemory* epochs_ = nullptr;
  TimeWindow window_;
  LastCalls last_calls_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_BREAKER_H_

#include "core/breaker.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "core/leases.h"
#include "core/witnesses.h"
#include "core/words.h"

namespace sekering {
namespace {

constexpr size_t kHeaderCells = sizeof(BreakerMemory) / sizeof(Cell);

/// How far the clocks of those who share a breaker may lie apart, as each is read now and then.
constexpr Micros kClockSlack = Micros{60} * 1000000;

}  // namespace

size_t Breaker::HotCells(const BreakerConfig& config) {
  return kHeaderCells + LastCalls::Cells(config.rules.sliding_window_size) +
         TimeWindow::HotCells(config.buckets);
}

size_t Breaker::ColdCells(const BreakerConfig& config) {
  return TimeWindow::ColdCells(config.buckets);
}

Breaker::Breaker(const BreakerConfig& config, Cell* hot, Cell* cold, Storage* storage)
    : config_(config), memory_(InPlace<BreakerMemory>(hot)), epochs_(memory_) {
  assert(config.buckets >= 1 && config.buckets <= kBucketsMax);
  assert(config.half_open_probes >= 1 && config.half_open_probes <= kProbesMax);
  assert(config.rules.sliding_window_size <= LastCalls::kSizeMax);
  const uint32_t size = config.rules.sliding_window_size;
  Cell* const last_calls = hot + kHeaderCells;
  Cell* const counters = last_calls + LastCalls::Cells(size);
  last_calls_ = LastCalls(&memory_->last_position, last_calls, size);
  window_ = TimeWindow({counters, cold, memory_->touched, storage}, config.buckets, config.shared);
}

void Breaker::Initialize(Micros now) noexcept {
  uint64_t none = 0;
  memory_->origin.compare_exchange_strong(none, static_cast<uint64_t>(now));
}

void Breaker::Clear() noexcept {
  if (epochs_ == memory_) window_.Clear();
  last_calls_.Clear();
  Cell* const cells = reinterpret_cast<Cell*>(memory_);
  // Relaxed: nobody else uses the breaker.
  for (size_t i = 0; i < kHeaderCells; ++i) cells[i].store(0, std::memory_order_relaxed);
}

void Breaker::Forget() noexcept {
  window_.Zero();
  memory_->streak.store(0);
  memory_->trips_in_row.store(0);
  memory_->base.store(0);
  if (config_.rules.sliding_window_size != 0) memory_->last_since.store(last_calls_.position());
}

Period Breaker::period() const noexcept {
  return PeriodOf(LoadState());
}

Generation Breaker::generation() const noexcept {
  return Generation(High(LoadState()));
}

State Breaker::StateBefore(uint32_t age) const noexcept {
  assert(age < kHistoryMax);
  return static_cast<State>(Low(LoadState()) >> (2 * age) & 3);
}

Epoch Breaker::EpochAt(Micros now) const noexcept {
  if (config_.bucket_length == 0) return Epoch(Low(epochs_->rotations.load()));
  // Buckets of a shared breaker are counted from the clock's zero, so that no participant depends
  // on what others have written. The load is relaxed: an origin that is not shared was written by
  // this thread.
  const Micros age =
      config_.shared ? now
                     : now - static_cast<Micros>(epochs_->origin.load(std::memory_order_relaxed));
  return Epoch(static_cast<uint32_t>(std::max<Micros>(age, 0) / config_.bucket_length));
}

void Breaker::Prefetch() const noexcept {
  PrefetchLine(&memory_->state);
  PrefetchLine(&epochs_->origin);
  PrefetchLine(&memory_->touched[0]);
  PrefetchLine(&memory_->touched[kTouchedWords - 1]);
}

void Breaker::PrefetchBucket(Micros now) const noexcept {
  window_.PrefetchBucket(EpochAt(now));
}

void Breaker::Configure(const BreakerConfig& config) noexcept {
  assert(!config_.shared);
  const BreakerConfig present = config_;
  // While the rule was off, nothing ended the row.
  if (present.rules.consecutive_failures == 0) memory_->streak.store(0);
  config_ = config;
  // What the memory was made for.
  config_.rules.sliding_window_size = present.rules.sliding_window_size;
  config_.half_open_probes = present.half_open_probes;
  config_.bucket_length = present.bucket_length;
  config_.buckets = present.buckets;
  config_.percentiles = present.percentiles;
  config_.shared = present.shared;
}

void Breaker::CountIn(const Breaker& other) noexcept {
  assert(!config_.shared && !other.config_.shared);
  window_ = other.window_;
  epochs_ = other.epochs_;
  config_.bucket_length = other.config_.bucket_length;
  config_.buckets = other.config_.buckets;
  config_.percentiles = other.config_.percentiles;
}

bool Breaker::Warming(Micros now) const noexcept {
  if (config_.warm_up == 0) return false;
  const auto age = static_cast<Micros>(static_cast<uint64_t>(now) - memory_->origin.load());
  return age < config_.warm_up && age > -kClockSlack;  // Beyond the slack, the origin is damage.
}

// ---- Transitions -------------------------------------------------------------------------------

/// The state. A damaged one is replaced by half-open, which neither floods the upstream nor cuts it
/// off for long.
uint64_t Breaker::LoadState() const noexcept {
  uint64_t word = memory_->state.load();
  while (!IsStateWord(word)) {
    const uint64_t repaired =
        StateWord(Next(Generation(High(word))), static_cast<uint32_t>(State::kHalfOpen));
    if (!memory_->state.compare_exchange_weak(word, repaired)) continue;
    memory_->repairs.fetch_add(1);
    return repaired;
  }
  return word;
}

bool Breaker::Transition(Period from, State to) noexcept {
  uint64_t word = LoadState();
  while (PeriodOf(word) == from) {
    const uint32_t history = Low(word) << 2 | static_cast<uint32_t>(to);
    const uint64_t next = StateWord(Next(Generation(High(word))), history);
    if (memory_->state.compare_exchange_weak(word, next)) return true;
  }
  return false;
}

Micros Breaker::ResetAfter(uint64_t trips) const noexcept {
  const double power = std::max(static_cast<double>(trips) - 1, 0.0);
  // Finite, so that a reset of no time stays one.
  const double growth = std::min(std::pow(config_.reset_factor, power), 1e18);
  const double micros = static_cast<double>(config_.reset_initial) * growth;
  const auto max = static_cast<double>(config_.reset_max);
  return micros < max ? static_cast<Micros>(micros) : config_.reset_max;
}

/// Writes what belongs to a period, while it lasts. A process that was stopped on the way here
/// overwrites nothing that a later period has noted: by then the period or the word has changed.
void Breaker::Note(Cell& cell, uint64_t word, Period period) noexcept {
  uint64_t present = cell.load();
  while (this->period() == period && !cell.compare_exchange_weak(present, word)) {
  }
}

bool Breaker::OpenFrom(Period from, Micros reset_min, Micros now) noexcept {
  if (!Transition(from, State::kOpen)) return false;
  const uint64_t trips = memory_->trips_in_row.fetch_add(1) + 1;
  const Generation generation = Next(GenerationOf(from));
  const Micros wait = std::max(ResetAfter(trips), std::min(reset_min, kResetMinMax));
  // A process that reads this before it is noted finds a stamp of another generation, and computes
  // the time itself (OpenUntil). So a process that dies here leaves no circuit open for ever.
  Note(memory_->reopen, Stamp(generation, Later(now, wait)), PeriodAfter(from, State::kOpen));
  return true;
}

bool Breaker::CloseFrom(Period from, Micros now) noexcept {
  const Epoch epoch = EpochAt(now);
  const bool ramps = config_.ramp_up > 0;
  // All that the closed circuit goes by is noted before it is closed. So earlier failures do not
  // trip it, and a process that dies here leaves nothing undone.
  if (ramps) Note(memory_->ramp, Stamp(Next(GenerationOf(from)), now), from);
  const Count failures = window_.Bucket(Counter::kFailures, epoch, 0);
  Note(memory_->base, Pack(epoch.value(), failures.value()), from);
  if (config_.rules.sliding_window_size != 0) {
    Note(memory_->last_since, last_calls_.position(), from);
  }
  if (!Transition(from, ramps ? State::kRamping : State::kClosed)) return false;
  memory_->trips_in_row.store(0);
  return true;
}

bool Breaker::IsPossibleWait(Micros wait) const noexcept {
  return wait <= Later(std::max(config_.reset_max, kResetMinMax), kClockSlack);
}

Micros Breaker::OpenUntil(Generation generation, Micros now) noexcept {
  uint64_t stamp = memory_->reopen.load();
  if (StampIsOf(stamp, generation) && IsPossibleWait(StampTime(stamp) - now)) {
    return StampTime(stamp);
  }
  const uint64_t repaired = Stamp(generation, Later(now, ResetAfter(memory_->trips_in_row.load())));
  if (GenerationOf(period()) != generation) return kNever;  // It may be a later period's.
  if (memory_->reopen.compare_exchange_strong(stamp, repaired)) return StampTime(repaired);
  return StampIsOf(stamp, generation) ? StampTime(stamp) : kNever;
}

bool Breaker::Poll(Micros now) noexcept {
  const Period present = period();
  if (StateOf(present) != State::kOpen) return false;
  const Micros until = OpenUntil(GenerationOf(present), now);
  if (until >= kStampMax || now < until) return false;
  return config_.success_threshold == 0 ? CloseFrom(present, now)
                                        : Transition(present, State::kHalfOpen);
}

Micros Breaker::OpenFor(Micros now) noexcept {
  const Period present = period();
  if (StateOf(present) != State::kOpen) return 0;
  const Micros until = OpenUntil(GenerationOf(present), now);
  return until >= kStampMax ? kNever : std::max<Micros>(until - now, 0);
}

bool Breaker::Trip(Period from, Micros reset_min, Micros now) noexcept {
  return StateOf(from) != State::kOpen && OpenFrom(from, reset_min, now);
}

bool Breaker::Open(Micros now) noexcept {
  for (Period present = period(); StateOf(present) != State::kOpen; present = period()) {
    if (OpenFrom(present, 0, now)) return true;
  }
  return false;
}

bool Breaker::Close(Micros now) noexcept {
  for (Period present = period();
       StateOf(present) == State::kOpen || StateOf(present) == State::kHalfOpen;
       present = period()) {
    if (CloseFrom(present, now)) return true;
  }
  return false;
}

bool Breaker::HalfOpen() noexcept {
  for (Period present = period(); StateOf(present) != State::kHalfOpen; present = period()) {
    if (Transition(present, State::kHalfOpen)) return true;
  }
  return false;
}

// ---- Admission ---------------------------------------------------------------------------------

Probe Breaker::TakeLease(Period period, Micros now, Participant participant) noexcept {
  const uint64_t mine = Lease::Make(participant, period, Later(now, config_.probe_lease));
  for (uint32_t i = 0; i < config_.half_open_probes; ++i) {
    uint64_t lease = memory_->leases[i].load();
    if (Lease::Holds(lease, period, now) && !Lease::IsBeyond(lease, mine)) continue;
    // The lease is certainly a leftover only while the period lasts. Otherwise it may belong to a
    // probe of a later period.
    if (this->period() != period) return kNoProbe;
    if (!memory_->leases[i].compare_exchange_strong(lease, mine)) continue;
    const Probe probe = Lease::Name(i, mine);
    // The period may have ended since, and the place may have been free in a later one.
    if (this->period() == period) return probe;
    Abandon(period, probe);
    return kNoProbe;
  }
  return kNoProbe;
}

bool Breaker::HasFreeProbe(Micros now) const noexcept {
  const Period present = period();
  if (StateOf(present) != State::kHalfOpen) return false;
  const uint64_t mine = Lease::Make(Participant(), present, Later(now, config_.probe_lease));
  return HasFreeLease({memory_->leases, config_.half_open_probes}, present, now, mine);
}

Admission Breaker::AdmitToRamp(Period period, Micros now, double random) noexcept {
  const uint64_t stamp = memory_->ramp.load();
  const Micros age = StampIsOf(stamp, GenerationOf(period)) ? now - StampTime(stamp) : kNever;
  if (age >= config_.ramp_up || age < -kClockSlack) {  // Of the future: damage.
    const bool ended = Transition(period, State::kClosed);
    return {true, ended ? PeriodAfter(period, State::kClosed) : period, kNoProbe};
  }
  // At least a tenth passes from the start, so that the ramp sees outcomes to go by.
  const double share = static_cast<double>(age) / static_cast<double>(config_.ramp_up);
  return {random < std::max(share, 0.1), period, kNoProbe};
}

Admission Breaker::Admit(Micros now, double random, Participant participant) noexcept {
  assert(random >= 0 && random < 1);
  Poll(now);
  const Period present = period();
  switch (StateOf(present)) {
    case State::kClosed:
      return {true, present, kNoProbe};
    case State::kOpen:
      break;
    case State::kHalfOpen: {
      const Probe probe = TakeLease(present, now, participant);
      return {probe != kNoProbe, present, probe};
    }
    case State::kRamping:
      return AdmitToRamp(present, now, random);
  }
  return {false, present, kNoProbe};
}

void Breaker::Abandon(Period period, Probe probe) noexcept {
  GiveBackLease(memory_->leases, period, probe);
}

// ---- Outcomes ----------------------------------------------------------------------------------

void Breaker::AddLatency(Millis latency, Epoch epoch, Count count) noexcept {
  if (config_.percentiles) window_.AddLatency(latency, epoch, count);
}

void Breaker::EndStreak() noexcept {
  if (config_.rules.consecutive_failures != 0) memory_->streak.store(0);
}

uint32_t Breaker::LengthenStreak(Period period) noexcept {
  if (config_.rules.consecutive_failures == 0) return 0;
  const uint32_t present = GenerationOf(period).value();
  uint64_t word = memory_->streak.load();
  while (this->period() == period) {  // Else the word may be a later period's.
    const uint32_t count = High(word) == present ? std::min(Low(word), UINT32_MAX - 1) : 0;
    if (memory_->streak.compare_exchange_weak(word, Pack(present, count + 1))) return count + 1;
  }
  return 0;
}

void Breaker::AddSuccesses(Epoch epoch, Count count) noexcept {
  Add(Counter::kSuccesses, epoch, count);
  EndStreak();
  if (config_.rules.sliding_window_size == 0) return;
  for (uint32_t i = 0; i < count.value(); ++i) last_calls_.Record(false, false);
}

uint64_t Breaker::FailuresSinceClosed(Epoch epoch) const noexcept {
  const uint64_t base = memory_->base.load();
  const Epoch closed_in(High(base));
  if (closed_in - epoch < config_.buckets) epoch = closed_in;  // By a clock that is ahead.
  const uint32_t buckets_since = epoch - closed_in;
  if (buckets_since >= config_.buckets) return window_.Sum(Counter::kFailures, epoch);
  uint64_t sum = 0;
  for (uint32_t age = 0; age <= buckets_since; ++age) {
    sum += window_.Bucket(Counter::kFailures, epoch, age).value();
  }
  return sum - std::min<uint64_t>(sum, Low(base));
}

Seen Breaker::Look(Micros now, uint32_t streak) const noexcept {
  const Epoch epoch = EpochAt(now);
  const TripRules& rules = config_.rules;
  Seen seen;
  seen.failures_in_a_row = streak;
  seen.fires = window_.Sum(Counter::kFires, epoch);
  if (rules.failure_count != 0) seen.failures_since_closed = FailuresSinceClosed(epoch);
  seen.failures = window_.Sum(Counter::kFailures, epoch);
  if (rules.slow_call_threshold_percentage >= 0) {
    seen.completed = seen.failures + window_.Sum(Counter::kSuccesses, epoch);
    seen.slow = window_.Sum(Counter::kSlowCalls, epoch);
  }
  if (rules.sliding_window_size != 0) {
    const LastCalls::Totals last = last_calls_.Read(memory_->last_since.load());
    seen.last_calls = last.calls;
    seen.last_failures = last.failures;
    seen.last_slow = last.slow;
  }
  return seen;
}

bool Breaker::EnoughWitnesses(Process process, Epoch epoch) noexcept {
  assert(process != Process());
  if (config_.trip_witnesses <= 1) return true;
  const Witnesses witnesses{memory_->witnesses, config_.buckets};
  witnesses.Note(process, epoch);
  return witnesses.CountOthers(process, epoch) + 1 >= config_.trip_witnesses;
}

void Breaker::RecordProbeSuccess(const Outcome& outcome, Micros now) noexcept {
  const uint32_t present = GenerationOf(outcome.period).value();
  Abandon(outcome.period, outcome.probe);
  uint64_t word = memory_->probes_won.load();
  uint64_t next;
  do {
    if (period() != outcome.period) return;  // The word may be a later period's.
    next = Pack(present, (High(word) == present ? Low(word) : 0) + 1);
  } while (!memory_->probes_won.compare_exchange_weak(word, next));
  if (Low(next) >= config_.success_threshold) CloseFrom(outcome.period, now);
}

bool Breaker::Record(const Outcome& outcome, Micros now) noexcept {
  const bool slow = outcome.latency >= config_.slow_call;
  const Epoch epoch = EpochAt(now);
  // A timeout is both: opossum counts it, and its latency, as a timeout and as a failure.
  if (outcome.timed_out) Add(Counter::kTimeouts, epoch, Count(1));
  Add(outcome.failed ? Counter::kFailures : Counter::kSuccesses, epoch, Count(1));
  if (slow) Add(Counter::kSlowCalls, epoch, Count(1));
  AddLatency(LatencyMs(outcome.latency), epoch, Count(outcome.timed_out ? 2 : 1));

  // A call of an earlier period is counted, but says nothing about the present one.
  if (outcome.period != period()) return false;
  if (StateOf(outcome.period) == State::kHalfOpen) {
    if (!outcome.failed) RecordProbeSuccess(outcome, now);
    return outcome.failed;
  }
  if (config_.rules.sliding_window_size != 0) last_calls_.Record(outcome.failed, slow);
  uint32_t streak = 0;
  if (outcome.failed) {
    streak = LengthenStreak(outcome.period);
  } else {
    EndStreak();
    if (!slow) return false;
  }
  if (StateOf(outcome.period) == State::kOpen || Warming(now)) return false;
  return EnoughWitnesses(outcome.process, epoch) && ShouldTrip(config_.rules, Look(now, streak));
}

}  // namespace sekering

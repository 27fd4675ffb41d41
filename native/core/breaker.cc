#include "core/breaker.h"

#include <algorithm>
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

Breaker::Breaker(const BreakerConfig& config, Cell* hot, Cell* cold, CommitRow commit,
                 void* context)
    : config_(config), memory_(reinterpret_cast<BreakerMemory*>(hot)) {
  const uint32_t size = config.rules.sliding_window_size;
  Cell* const last_calls = hot + kHeaderCells;
  Cell* const counters = last_calls + LastCalls::Cells(size);
  last_calls_ = LastCalls(&memory_->last_position, last_calls, size);
  window_ = TimeWindow({counters, cold, memory_->touched, commit, context}, config.buckets,
                       config.shared);
}

void Breaker::Initialize(Micros now) noexcept {
  uint64_t none = 0;
  memory_->origin.compare_exchange_strong(none, static_cast<uint64_t>(now));
}

void Breaker::Clear() noexcept {
  window_.Clear();
  last_calls_.Clear();
  Cell* const cells = reinterpret_cast<Cell*>(memory_);
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

uint32_t Breaker::generation() const noexcept {
  return High(LoadState());
}

State Breaker::StateBefore(uint32_t age) const noexcept {
  return static_cast<State>(Low(LoadState()) >> (2 * age) & 3);
}

uint32_t Breaker::Epoch(Micros now) const noexcept {
  if (config_.bucket_length == 0) return Low(memory_->rotations.load());
  // Buckets of a shared breaker are counted from the clock's zero, so that nobody depends on what
  // others have written.
  const Micros age =
      config_.shared ? now
                     : now - static_cast<Micros>(memory_->origin.load(std::memory_order_relaxed));
  return static_cast<uint32_t>(std::max<Micros>(age, 0) / config_.bucket_length);
}

bool Breaker::Warming(Micros now) const noexcept {
  if (config_.warm_up == 0) return false;
  const auto age = static_cast<Micros>(static_cast<uint64_t>(now) - memory_->origin.load());
  return age < config_.warm_up && age > -kClockSlack;  // Beyond the slack, the origin is damage.
}

// ---- Transitions -------------------------------------------------------------------------------

/// The state. Of a damaged one nothing is believed: the circuit goes to half-open, which neither
/// floods the upstream nor cuts it off for long.
uint64_t Breaker::LoadState() const noexcept {
  uint64_t word = memory_->state.load();
  while (!IsStateWord(word)) {
    const uint64_t repaired = StateWord(High(word) + 1, static_cast<uint32_t>(State::kHalfOpen));
    if (!memory_->state.compare_exchange_weak(word, repaired)) continue;
    memory_->repairs.fetch_add(1);
    return repaired;
  }
  return word;
}

bool Breaker::Transition(Period from, State to) noexcept {
  uint64_t word = LoadState();
  while (PeriodOf(word) == from) {
    const uint64_t next = StateWord(High(word) + 1, Low(word) << 2 | static_cast<uint32_t>(to));
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

/// Writes what belongs to a period, while it lasts. Whoever was stopped on the way here overwrites
/// nothing that a later period has noted: by then either the period or the word is another.
void Breaker::Note(Cell& cell, uint64_t word, Period period) noexcept {
  uint64_t present = cell.load();
  while (this->period() == period && !cell.compare_exchange_weak(present, word)) {
  }
}

bool Breaker::OpenFrom(Period from, Micros reset_min, Micros now) noexcept {
  if (!Transition(from, State::kOpen)) return false;
  const uint64_t trips = memory_->trips_in_row.fetch_add(1) + 1;
  const uint32_t generation = GenerationBits(from) + 1;
  const Micros wait = std::max(ResetAfter(trips), std::min(reset_min, kResetMinMax));
  // Whoever reads this before it is noted finds a stamp of another generation, and computes the
  // time itself (OpenUntil); so a process that dies here leaves no circuit open for ever.
  Note(memory_->reopen, Stamp(generation, Later(now, wait)), PeriodAfter(from, State::kOpen));
  return true;
}

bool Breaker::CloseFrom(Period from, Micros now) noexcept {
  const uint32_t epoch = Epoch(now);
  const bool ramps = config_.ramp_up > 0;
  // All that the closed circuit goes by is noted before it is closed: so nobody trips it for what
  // failed earlier, and a process that dies here leaves nothing undone.
  if (ramps) Note(memory_->ramp, Stamp(GenerationBits(from) + 1, now), from);
  Note(memory_->base, Pack(epoch, window_.Bucket(Counter::kFailures, epoch, 0)), from);
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

Micros Breaker::OpenUntil(uint32_t generation, Micros now) noexcept {
  uint64_t stamp = memory_->reopen.load();
  if (StampIsOf(stamp, generation) && IsPossibleWait(StampTime(stamp) - now)) {
    return StampTime(stamp);
  }
  const uint64_t repaired = Stamp(generation, Later(now, ResetAfter(memory_->trips_in_row.load())));
  if (GenerationBits(period()) != generation) return kNever;  // It may be a later period's.
  if (memory_->reopen.compare_exchange_strong(stamp, repaired)) return StampTime(repaired);
  return StampIsOf(stamp, generation) ? StampTime(stamp) : kNever;
}

bool Breaker::Poll(Micros now) noexcept {
  const Period present = period();
  if (StateOf(present) != State::kOpen) return false;
  const Micros until = OpenUntil(GenerationBits(present), now);
  return until < kStampMax && now >= until && Transition(present, State::kHalfOpen);
}

Micros Breaker::OpenFor(Micros now) noexcept {
  const Period present = period();
  if (StateOf(present) != State::kOpen) return 0;
  const Micros until = OpenUntil(GenerationBits(present), now);
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

uint32_t Breaker::TakeLease(Period period, Micros now, uint32_t participant) noexcept {
  const uint64_t mine = Lease::Make(participant, period, Later(now, config_.probe_lease));
  for (uint32_t i = 0; i < config_.half_open_probes; ++i) {
    uint64_t lease = memory_->leases[i].load();
    if (Lease::Holds(lease, period, now) && !Lease::IsBeyond(lease, mine)) continue;
    // Only while the period lasts is it sure that the lease is a leftover: it might be of a later
    // period, and somebody probe by it.
    if (this->period() != period) return kNoProbe;
    if (!memory_->leases[i].compare_exchange_strong(lease, mine)) continue;
    const uint32_t probe = Lease::Name(i, mine);
    // It may have ended since, and the place been free in a later one.
    if (this->period() == period) return probe;
    Abandon(period, probe);
    return kNoProbe;
  }
  return kNoProbe;
}

bool Breaker::EndLeases(Cell* hot, bool (*dead)(const void* context, uint32_t participant),
                        const void* context) noexcept {
  bool ended = false;
  for (Cell& cell : reinterpret_cast<BreakerMemory*>(hot)->leases) {
    uint64_t lease = cell.load();
    if (lease == 0 || !dead(context, static_cast<uint32_t>(lease >> 54))) continue;
    if (cell.compare_exchange_strong(lease, 0)) ended = true;
  }
  return ended;
}

bool Breaker::HasFreeProbe(Micros now) const noexcept {
  const Period present = period();
  if (StateOf(present) != State::kHalfOpen) return false;
  const uint64_t mine = Lease::Make(0, present, Later(now, config_.probe_lease));
  return HasFreeLease({memory_->leases, config_.half_open_probes}, present, now, mine);
}

Admission Breaker::AdmitToRamp(Period period, Micros now, double random) noexcept {
  const uint64_t stamp = memory_->ramp.load();
  const Micros age = StampIsOf(stamp, GenerationBits(period)) ? now - StampTime(stamp) : kNever;
  if (age >= config_.ramp_up || age < -kClockSlack) {  // Of the future: damage.
    const bool ended = Transition(period, State::kClosed);
    return {true, ended ? PeriodAfter(period, State::kClosed) : period, kNoProbe};
  }
  // At least a tenth passes from the start, so that the ramp sees outcomes to go by.
  const double share = static_cast<double>(age) / static_cast<double>(config_.ramp_up);
  return {random < std::max(share, 0.1), period, kNoProbe};
}

Admission Breaker::Admit(Micros now, double random, uint32_t participant) noexcept {
  Poll(now);
  const Period present = period();
  switch (StateOf(present)) {
    case State::kClosed:
      return {true, present, kNoProbe};
    case State::kOpen:
      break;
    case State::kHalfOpen: {
      const uint32_t probe = TakeLease(present, now, participant);
      return {probe != kNoProbe, present, probe};
    }
    case State::kRamping:
      return AdmitToRamp(present, now, random);
  }
  return {false, present, kNoProbe};
}

void Breaker::Abandon(Period period, uint32_t probe) noexcept {
  GiveBackLease(memory_->leases, period, probe);
}

// ---- Outcomes ----------------------------------------------------------------------------------

void Breaker::AddLatency(uint32_t ms, uint32_t count, uint32_t epoch) noexcept {
  if (config_.percentiles) window_.AddLatency(ms, epoch, count);
}

void Breaker::EndStreak() noexcept {
  if (config_.rules.consecutive_failures != 0) memory_->streak.store(0);
}

uint32_t Breaker::LengthenStreak(Period period) noexcept {
  if (config_.rules.consecutive_failures == 0) return 0;
  const uint32_t present = GenerationBits(period);
  uint64_t word = memory_->streak.load();
  while (this->period() == period) {  // Else the word may be a later period's.
    const uint32_t count = High(word) == present ? std::min(Low(word), UINT32_MAX - 1) : 0;
    if (memory_->streak.compare_exchange_weak(word, Pack(present, count + 1))) return count + 1;
  }
  return 0;
}

void Breaker::CountSuccesses(uint32_t count, uint32_t epoch) noexcept {
  Count(Counter::kSuccesses, count, epoch);
  EndStreak();
  if (config_.rules.sliding_window_size == 0) return;
  for (uint32_t i = 0; i < count; ++i) last_calls_.Record(false, false);
}

uint64_t Breaker::FailuresSinceClosed(uint32_t epoch) const noexcept {
  const uint64_t base = memory_->base.load();
  if (High(base) - epoch < config_.buckets) epoch = High(base);  // By a clock that is ahead.
  const uint32_t buckets_since = epoch - High(base);
  if (buckets_since >= config_.buckets) return window_.Sum(Counter::kFailures, epoch);
  uint64_t sum = 0;
  for (uint32_t age = 0; age <= buckets_since; ++age) {
    sum += window_.Bucket(Counter::kFailures, epoch, age);
  }
  return sum - std::min<uint64_t>(sum, Low(base));
}

Seen Breaker::Look(Micros now, uint32_t streak) const noexcept {
  const uint32_t epoch = Epoch(now);
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

bool Breaker::EnoughWitnesses(uint32_t process, uint32_t epoch) noexcept {
  if (config_.trip_witnesses <= 1) return true;
  const Witnesses witnesses{memory_->witnesses, config_.buckets};
  witnesses.Note(process, epoch);
  return witnesses.CountOthers(process, epoch) + 1 >= config_.trip_witnesses;
}

bool Breaker::RecordProbeSuccess(const Outcome& outcome, Micros now) noexcept {
  const uint32_t present = GenerationBits(outcome.period);
  Abandon(outcome.period, outcome.probe);
  uint64_t word = memory_->probes_won.load();
  uint64_t next;
  do {
    if (period() != outcome.period) return false;  // The word may be a later period's.
    next = Pack(present, (High(word) == present ? Low(word) : 0) + 1);
  } while (!memory_->probes_won.compare_exchange_weak(word, next));
  if (Low(next) >= config_.success_threshold) CloseFrom(outcome.period, now);
  return false;
}

bool Breaker::Record(const Outcome& outcome, Micros now) noexcept {
  const bool slow = outcome.latency >= config_.slow_call;
  const uint32_t epoch = Epoch(now);
  // A timeout is both: opossum counts it, and its latency, as a timeout and as a failure.
  if (outcome.timed_out) Count(Counter::kTimeouts, 1, epoch);
  Count(outcome.failed ? Counter::kFailures : Counter::kSuccesses, 1, epoch);
  if (slow) Count(Counter::kSlowCalls, 1, epoch);
  AddLatency(LatencyMs(outcome.latency), outcome.timed_out ? 2 : 1, epoch);

  // A call of an earlier period is counted, but says nothing about the present one.
  if (outcome.period != period()) return false;
  if (StateOf(outcome.period) == State::kHalfOpen) {
    return outcome.failed || RecordProbeSuccess(outcome, now);
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

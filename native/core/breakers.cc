#include "core/breakers.h"

#include <algorithm>
#include <cassert>

#include "core/leases.h"

namespace sekering {
namespace {

/// For what one environment counts of a shared breaker: the same window, and no rules.
BreakerConfig LocalConfig(const BreakerConfig& config) {
  BreakerConfig local;
  local.bucket_length = config.bucket_length;
  local.buckets = config.buckets;
  local.percentiles = config.percentiles;
  local.slow_call = config.slow_call;
  return local;
}

}  // namespace

// ---- One breaker -------------------------------------------------------------------------------

BreakerHandle::BreakerHandle(const BreakerConfig& config, SlabSlot memory, uint32_t* period,
                             Micros now)
    : breaker_(config, memory.hot, memory.cold),
      local_(breaker_),
      memory_(memory),
      period_(period) {
  breaker_.Initialize(now);
  Publish();
}

BreakerHandle::BreakerHandle(const BreakerConfig& config, SlabSlot memory, uint32_t* period,
                             Micros now, SharedMemory& shared)
    : breaker_(config, shared.hot(), shared.cold(), &shared),
      local_(LocalConfig(config), memory.hot, memory.cold),
      memory_(memory),
      shared_(&shared),
      period_(period) {
  breaker_.Initialize(now);
  local_.Initialize(now);
  // What happened before this environment came is no news to it.
  told_generation_ = breaker_.generation();
  told_repairs_ = breaker_.repairs();
  Publish();
}

/// The shared memory was damaged, and the breaker began again in another place.
void BreakerHandle::Move(Micros now) noexcept {
  breaker_ = Breaker(breaker_.config(), shared_->hot(), shared_->cold(), shared_);
  breaker_.Initialize(now);
  // The transitions that were told were those of the old one.
  told_repairs_ = ~breaker_.repairs();
  Publish();
}

/// Publishes the period, and tells the others if it is another than `before`.
void BreakerHandle::PublishSince(Period before) noexcept {
  if (shared_ != nullptr && breaker_.period() != before) shared_->Announce();
  Publish();
}

Admission BreakerHandle::TryAdmit(Micros now, double random) noexcept {
  if (shared_ == nullptr) return breaker_.Admit(now, random);
  const Participants& participants = shared_->participants();
  const Admission admission = breaker_.Admit(now, random, participants.self());
  if (admission.admitted || StateOf(admission.period) != State::kHalfOpen) return admission;
  // All places for probes are taken, but perhaps by participants that have died.
  const auto is_dead = [&](Participant participant) { return !participants.IsAlive(participant); };
  if (!EndLeases(shared_->hot(), is_dead)) return admission;
  return breaker_.Admit(now, random, participants.self());
}

Admission BreakerHandle::Admit(Micros now, double random) noexcept {
  const Period before = breaker_.period();
  const Admission admission = TryAdmit(now, random);
  PublishSince(before);
  // Others may have moved the circuit on since: the call belongs to the period that admitted it.
  if (admission.admitted) *period_ = admission.period.value();
  return admission;
}

bool BreakerHandle::Record(Outcome outcome, Micros now) noexcept {
  const Period before = breaker_.period();
  if (shared_ != nullptr) {
    outcome.process = shared_->participants().process();
    local_.Record(outcome, now);
  }
  const bool trips = breaker_.Record(outcome, now);
  PublishSince(before);
  return trips;
}

void BreakerHandle::Trip(Period period, Micros reset_min, Micros now) noexcept {
  const Period before = breaker_.period();
  breaker_.Trip(period, reset_min, now);
  PublishSince(before);
}

void BreakerHandle::MoveTo(State state, Micros now) noexcept {
  const Period before = breaker_.period();
  switch (state) {
    case State::kOpen:
      breaker_.Open(now);
      break;
    case State::kHalfOpen:
      if (breaker_.config().success_threshold > 0) {
        breaker_.HalfOpen();
        break;
      }
      [[fallthrough]];  // It needs no probes.
    case State::kClosed:
    case State::kRamping:
      breaker_.Close(now);
  }
  PublishSince(before);
}

Micros BreakerHandle::Poll(Micros now) noexcept {
  const Period before = breaker_.period();
  breaker_.Poll(now);
  PublishSince(before);
  return breaker_.OpenFor(now);
}

void BreakerHandle::Add(Counter counter, Count count, Micros now) noexcept {
  breaker_.Add(counter, breaker_.EpochAt(now), count);
  if (shared_ != nullptr) local_.Add(counter, local_.EpochAt(now), count);
}

void BreakerHandle::AddLatency(Millis latency, Count count, Micros now) noexcept {
  breaker_.AddLatency(latency, breaker_.EpochAt(now), count);
}

Transitions BreakerHandle::TakeTransitions() noexcept {
  const uint64_t repairs = breaker_.repairs();
  Transitions taken;
  taken.repaired = repairs != told_repairs_;
  told_repairs_ = repairs;
  // Others go on meanwhile: generation and states belong together only if the generation stays.
  Generation generation;
  do {
    generation = breaker_.generation();
    const uint32_t count = generation.value() - told_generation_.value();
    taken.known = taken.repaired ? 1 : std::min(count, kHistoryMax);
    taken.forgotten = taken.repaired ? 0 : count - taken.known;
    for (uint32_t i = 0; i < taken.known; ++i) {
      taken.states[i] = breaker_.StateBefore(taken.known - 1 - i);
    }
  } while (breaker_.generation() != generation);
  told_generation_ = generation;
  Publish();
  return taken;
}

void BreakerHandle::ReadWindow(Whose whose, Micros now, WindowStats* stats) const noexcept {
  const Breaker& breaker = whose == Whose::kOwn ? local_ : breaker_;
  const TimeWindow& window = breaker.window();
  const Epoch epoch = breaker.EpochAt(now);
  for (uint32_t i = 0; i < kCounters; ++i) {
    stats->counts[i] = window.Sum(static_cast<Counter>(i), epoch);
  }
  stats->latency_count = window.Latencies(epoch, stats->latencies);
  stats->summary = Summarize({stats->latencies.data(), stats->latency_count});
}

Count BreakerHandle::BucketCount(Counter counter, uint32_t age, Micros now) const noexcept {
  const TimeWindow& window = breaker_.window();
  return age < window.buckets() ? window.Bucket(counter, breaker_.EpochAt(now), age) : Count(0);
}

void BreakerHandle::SetBucketCount(Counter counter, uint32_t age, Count count,
                                   Micros now) noexcept {
  if (age < breaker_.window().buckets()) breaker_.Set(counter, breaker_.EpochAt(now), age, count);
}

void BreakerHandle::ReadBucket(uint32_t age, Micros now, WindowStats* stats) const noexcept {
  const TimeWindow& window = breaker_.window();
  const Epoch epoch = breaker_.EpochAt(now);
  for (uint32_t i = 0; i < kCounters; ++i) {
    stats->counts[i] = window.Bucket(static_cast<Counter>(i), epoch, age).value();
  }
  stats->latency_count = window.BucketLatencies(epoch, age, stats->latencies);
  stats->summary = Summarize({stats->latencies.data(), stats->latency_count});
}

void WriteNumbers(const WindowStats& stats, double* numbers) noexcept {
  constexpr double kCountLimit = 2147483648.0;
  for (const uint64_t count : stats.counts) *numbers++ = static_cast<double>(count);
  *numbers++ = stats.summary.mean;
  for (const Millis latency : stats.summary.percentiles) *numbers++ = latency.value();
  for (size_t i = 0; i < stats.latency_count; ++i) {
    const auto [latency, count] = stats.latencies[i];
    *numbers++ =
        latency.value() * kCountLimit + std::min(static_cast<double>(count), kCountLimit - 1);
  }
}

// ---- All breakers ------------------------------------------------------------------------------

void Breakers::AttachRing(int32_t* head, std::span<const uint32_t> ring) {
  head_ = head;
  ring_ = ring;
}

SlabSlot Breakers::TakeMemory(const BreakerConfig& config, Created* created) {
  if (!HasPeriod()) {
    created->error = CreateError::kNoPeriods;
    return {nullptr, nullptr};
  }
  const SlabSlot memory = slab_.Take(Breaker::HotCells(config), Breaker::ColdCells(config));
  if (memory.hot == nullptr) created->error = CreateError::kNoMemory;
  return memory;
}

Created Breakers::Create(const BreakerConfig& config, Micros now) {
  Created created;
  const SlabSlot memory = TakeMemory(config, &created);
  if (created.error != CreateError::kNone) return created;
  created.id = breakers_.next();
  uint32_t* const chunk = periods_[created.id / kPeriodsPerChunk];
  breakers_.Create(config, memory, &chunk[created.id % kPeriodsPerChunk], now);
  return created;
}

Created Breakers::CreateIn(uint32_t window_of, const BreakerConfig& config, Micros now) {
  BreakerHandle* const owner = Find(window_of, now);
  if (owner == nullptr || owner->shared_ != nullptr) return {.error = CreateError::kNoWindow};
  // The memory has a window of its own, which nobody touches.
  BreakerConfig same = config;
  same.buckets = owner->breaker_.config().buckets;
  const Created created = Create(same, now);
  if (created.error != CreateError::kNone) return created;
  BreakerHandle* const handle = breakers_.Find(created.id);
  handle->breaker_.CountIn(owner->breaker_);
  handle->local_ = handle->breaker_;
  handle->window_of_ = window_of;
  ++owner->users_;
  return created;
}

Created Breakers::CreateShared(const BreakerConfig& config, SharedMemory& shared, Micros now) {
  Created created;
  const SlabSlot memory = TakeMemory(LocalConfig(config), &created);
  if (created.error != CreateError::kNone) {
    shared.Leave();
    return created;
  }
  created.id = breakers_.next();
  uint32_t* const chunk = periods_[created.id / kPeriodsPerChunk];
  breakers_.Create(config, memory, &chunk[created.id % kPeriodsPerChunk], now, shared);
  shared.id = created.id;
  return created;
}

bool Breakers::Destroy(uint32_t id, Micros now) {
  BreakerHandle* const handle = Find(id, now);
  if (handle == nullptr) return false;
  if (handle->shared_ != nullptr) handle->shared_->Leave();
  handle->destroyed_ = true;
  Release(id);
  return true;
}

void Breakers::Release(uint32_t id) {
  BreakerHandle* const handle = breakers_.Find(id);
  if (--handle->users_ > 0) return;
  const uint32_t window_of = handle->window_of_;
  const BreakerConfig& config = handle->local_.config();
  handle->local_.Clear();
  slab_.Give(handle->memory_, Breaker::HotCells(config), Breaker::ColdCells(config));
  breakers_.Destroy(id);
  if (window_of != SharedMemory::kNoId) Release(window_of);
}

BreakerHandle* Breakers::Find(uint32_t id, Micros now) noexcept {
  Drain(now);
  BreakerHandle* const handle = breakers_.Find(id);
  if (handle == nullptr || handle->destroyed_) return nullptr;
  handle->Follow(now);
  return handle;
}

namespace {

/// How many words Drain looks ahead: what their breakers use of memory fits into the nearest cache.
constexpr uint32_t kPrefetchWords = 48;

Counter CounterOf(uint32_t word) {
  return static_cast<Counter>(word & ((1U << Breakers::kCounterBits) - 1));
}

}  // namespace

/// Adds up neighbouring words of one breaker, as most are alike.
class Tally {
 public:
  Tally(BreakerHandle& handle, Micros now)
      : handle_(handle),
        epoch_(handle.breaker_.EpochAt(now)),
        local_epoch_(is_shared() ? handle.local_.EpochAt(now) : epoch_) {}
  ~Tally() {
    FlushLatency();
    if (fires_ > 0) Add(Counter::kFires, Count(fires_));
    if (successes_ > 0) {
      handle_.breaker_.AddSuccesses(epoch_, Count(successes_));
      if (is_shared()) handle_.local_.AddSuccesses(local_epoch_, Count(successes_));
    }
    if (is_shared()) handle_.Publish();
  }

  void Fire() { ++fires_; }
  void Add(Counter counter, Count count) {
    handle_.breaker_.Add(counter, epoch_, count);
    if (is_shared()) handle_.local_.Add(counter, local_epoch_, count);
  }
  void Success(Ticks ticks) {
    ++successes_;
    const Millis latency = MillisOf(ticks);
    if (latency != latency_) FlushLatency();
    latency_ = latency;
    ++latencies_;
  }

 private:
  bool is_shared() const { return handle_.shared_ != nullptr; }
  void FlushLatency() {
    if (latencies_ == 0) return;
    handle_.breaker_.AddLatency(latency_, epoch_, Count(latencies_));
    if (is_shared()) handle_.local_.AddLatency(latency_, local_epoch_, Count(latencies_));
    latencies_ = 0;
  }

  BreakerHandle& handle_;
  Epoch epoch_;
  Epoch local_epoch_;
  uint32_t fires_ = 0;
  uint32_t successes_ = 0;
  Millis latency_;
  uint32_t latencies_ = 0;
};

/// Asks for the memory of the breakers in the next words. That of thousands of keys is in no cache:
/// here the processor fetches it for many at once, where Drain would wait for each.
void Breakers::Prefetch(std::span<const uint32_t> words, Micros now) noexcept {
  std::array<const Breaker*, kPrefetchWords> found;
  size_t count = 0;
  uint32_t last = SharedMemory::kNoId;
  for (size_t i = 0; i < words.size(); ++i) {
    const uint32_t id = words[i] >> kCounterBits;
    // Behind a success is its latency.
    if (CounterOf(words[i]) == Counter::kSuccesses) ++i;
    const BreakerHandle* const handle = id == last ? nullptr : breakers_.Find(id);
    last = id;
    if (handle == nullptr) continue;
    handle->breaker_.Prefetch();
    found[count++] = &handle->breaker_;
  }
  for (size_t i = 0; i < count; ++i) found[i]->PrefetchBucket(now);
}

void Breakers::Drain(Micros now) noexcept {
  if (head_ == nullptr || *head_ == 0) return;
  const auto head = static_cast<uint32_t>(*head_);
  assert(head <= ring_.size());
  *head_ = 0;
  uint32_t fetched = 0;
  for (uint32_t i = 0; i < head;) {
    if (i >= fetched) {
      fetched = std::min(i + kPrefetchWords, head);
      Prefetch(ring_.subspan(i, fetched - i), now);
    }
    const uint32_t id = ring_[i] >> kCounterBits;
    BreakerHandle* const handle = breakers_.Find(id);
    assert(handle != nullptr);
    if (handle == nullptr) {
      i += CounterOf(ring_[i]) == Counter::kSuccesses ? 2 : 1;
      continue;
    }
    handle->Follow(now);
    Tally tally(*handle, now);
    for (; i < head && ring_[i] >> kCounterBits == id; ++i) {
      const Counter counter = CounterOf(ring_[i]);
      if (counter == Counter::kSuccesses) {
        tally.Success(Ticks(ring_[++i]));
      } else if (counter == Counter::kFires) {
        tally.Fire();
      } else {
        tally.Add(counter, Count(1));
      }
    }
  }
}

}  // namespace sekering

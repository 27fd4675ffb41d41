#include "binding/recorder.h"

#include <cassert>

namespace sekering {

/// The handle that lets us look before the loop waits. It outlives the Recorder until libuv has
/// closed it.
struct Recorder::LoopHook {
  uv_prepare_t prepare;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  Recorder* owner = nullptr;

  static void Start(Recorder* owner, napi_env env) {
    auto* hook = new LoopHook;
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    uv_prepare_init(loop, &hook->prepare);
    hook->prepare.data = hook;
    hook->owner = owner;
    owner->hook_ = hook;
    uv_prepare_start(&hook->prepare, OnPrepare);
    uv_unref(reinterpret_cast<uv_handle_t*>(&hook->prepare));
    napi_add_async_cleanup_hook(env, OnCleanup, hook, &hook->cleanup);
  }

  static void OnPrepare(uv_prepare_t* prepare) {
    auto* hook = static_cast<LoopHook*>(prepare->data);
    if (hook->owner != nullptr) hook->owner->BeforePoll();
  }

  static void OnCleanup(napi_async_cleanup_hook_handle, void* data) {
    auto* hook = static_cast<LoopHook*>(data);
    if (hook->owner != nullptr) {
      // What was recorded since the loop's last wait counts, for those who share the breakers.
      hook->owner->Drain(hook->owner->clock_.Now());
      hook->owner->hook_ = nullptr;
    }
    hook->owner = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&hook->prepare), [](uv_handle_t* handle) {
      auto* closed = static_cast<LoopHook*>(handle->data);
      napi_remove_async_cleanup_hook(closed->cleanup);
      delete closed;
    });
  }
};

Recorder::~Recorder() {
  if (hook_ != nullptr) hook_->owner = nullptr;
}

void Recorder::Attach(napi_value control, napi_value ring) {
  control_.Reset(env_, control);
  ring_.Reset(env_, ring);
  assert(control_.length() == kControlLength);
  if (hook_ == nullptr) LoopHook::Start(this, env_);
}

void Recorder::AddCells(napi_value cells) {
  cells_.emplace_back().Reset(env_, cells);
  assert(cells_.back().length() == kCellsPerChunk);
}

/// An entry with private memory for `config`.
uint32_t Recorder::NewEntry(const BreakerConfig& config) {
  if (!HasFreeCell()) return kNoId;
  const SlabSlot memory = slab_.Take(Breaker::HotCells(config), Breaker::ColdCells(config));
  if (memory.hot == nullptr) return kNoId;
  uint32_t id;
  if (free_.empty()) {
    id = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back().cell = &cells_[id / kCellsPerChunk][id % kCellsPerChunk];
  } else {
    id = free_.back();
    free_.pop_back();
  }
  BreakerEntry& entry = entries_[id];
  entry.local = Breaker(config, memory.hot, memory.cold);
  entry.local.Initialize(clock_.Now());
  entry.memory = memory;
  entry.live = true;
  return id;
}

uint32_t Recorder::Create(const BreakerConfig& config) {
  const uint32_t id = NewEntry(config);
  if (id == kNoId) return kNoId;
  BreakerEntry& entry = entries_[id];
  entry.breaker = entry.local;
  entry.shared = nullptr;
  entry.seen_generation = 0;
  entry.seen_repairs = 0;
  Publish(entry);
  return id;
}

namespace {

bool CommitToRegion(void* context, Cell* row, size_t bytes) {
  return static_cast<Region*>(context)->Commit(row, bytes);
}

/// For what one environment counts of a shared breaker: the same window, and no rules.
BreakerConfig LocalConfig(const BreakerConfig& config) {
  BreakerConfig local;
  local.bucket_length = config.bucket_length;
  local.buckets = config.buckets;
  local.percentiles = config.percentiles;
  local.slow_call = config.slow_call;
  return local;
}

/// The breaker in that record's cells.
Breaker BreakerIn(const SharedRecord& record, const BreakerConfig& config) {
  return {config, record.hot(), record.cold(), CommitToRegion, &record.region()};
}

}  // namespace

uint32_t Recorder::CreateShared(const BreakerConfig& config, SharedRecord& record) {
  const uint32_t id = NewEntry(LocalConfig(config));
  if (id == kNoId) {
    record.home().Forget(&record);
    return kNoId;
  }
  BreakerEntry& entry = entries_[id];
  entry.breaker = BreakerIn(record, config);
  entry.breaker.Initialize(clock_.Now());
  entry.shared = &record;
  record.id = id;
  record.SetOnMove(OnMove, this);
  // What happened before this environment came is no news to it.
  entry.seen_generation = entry.breaker.generation();
  entry.seen_repairs = entry.breaker.repairs();
  Publish(entry);
  return id;
}

/// The record was damaged, and is begun anew in another place.
void Recorder::OnMove(void* recorder, const SharedRecord& record) {
  auto* self = static_cast<Recorder*>(recorder);
  BreakerEntry& entry = self->entries_[record.id];
  entry.breaker = BreakerIn(record, entry.breaker.config());
  entry.breaker.Initialize(self->clock_.Now());
  // The transitions that JavaScript was told of were those of the old one.
  entry.seen_repairs = ~entry.breaker.repairs();
  Publish(entry);
}

void Recorder::Destroy(uint32_t id) {
  BreakerEntry& entry = Look(id, clock_.Now());
  if (!entry.live) return;
  entry.live = false;
  if (entry.shared != nullptr) entry.shared->home().Forget(entry.shared);
  entry.shared = nullptr;
  entry.local.Clear();
  const BreakerConfig& config = entry.local.config();
  slab_.Give(entry.memory, Breaker::HotCells(config), Breaker::ColdCells(config));
  free_.push_back(id);
}

BreakerEntry& Recorder::Look(uint32_t id, Micros now) {
  assert(id < entries_.size());
  Drain(now);
  BreakerEntry& entry = entries_[id];
  if (entry.shared != nullptr) entry.shared->Follow();
  return entry;
}

namespace {

/// Adds up neighbouring entries of one breaker, as most are alike.
class Tally {
 public:
  Tally(BreakerEntry& entry, Micros now)
      : entry_(entry), epoch_(entry.breaker.Epoch(now)), local_epoch_(entry.local.Epoch(now)) {}
  ~Tally() {
    FlushLatency();
    if (fires_ > 0) Count(Counter::kFires, fires_);
    if (successes_ > 0) {
      entry_.breaker.CountSuccesses(successes_, epoch_);
      if (entry_.shared != nullptr) entry_.local.CountSuccesses(successes_, local_epoch_);
    }
    if (entry_.shared != nullptr) Recorder::Publish(entry_);
  }

  void Fire() { ++fires_; }
  void Count(Counter counter, uint32_t count) {
    entry_.breaker.Count(counter, count, epoch_);
    if (entry_.shared != nullptr) entry_.local.Count(counter, count, local_epoch_);
  }
  void Success(uint32_t ticks) {
    ++successes_;
    const uint32_t ms = (ticks + 8) / 16;
    if (ms != ms_) FlushLatency();
    ms_ = ms;
    ++latencies_;
  }

 private:
  void FlushLatency() {
    if (latencies_ == 0) return;
    entry_.breaker.AddLatency(ms_, latencies_, epoch_);
    if (entry_.shared != nullptr) entry_.local.AddLatency(ms_, latencies_, local_epoch_);
    latencies_ = 0;
  }

  BreakerEntry& entry_;
  uint32_t epoch_;
  uint32_t local_epoch_;
  uint32_t fires_ = 0;
  uint32_t successes_ = 0;
  uint32_t ms_ = 0;
  uint32_t latencies_ = 0;
};

}  // namespace

/// An entry is a word `id * 16 + counter`; a success is followed by its latency in ticks.
void Recorder::Drain(Micros now) noexcept {
  if (control_.length() == 0 || control_[kRingHead] == 0) return;
  const auto head = static_cast<uint32_t>(control_[kRingHead]);
  assert(head <= ring_.length());
  control_[kRingHead] = 0;
  for (uint32_t i = 0; i < head;) {
    const uint32_t id = ring_[i] / 16;
    if (entries_[id].shared != nullptr) entries_[id].shared->Follow();
    Tally tally(entries_[id], now);
    for (; i < head && ring_[i] / 16 == id; ++i) {
      const auto counter = static_cast<Counter>(ring_[i] % 16);
      if (counter == Counter::kSuccesses) {
        tally.Success(ring_[++i]);
      } else if (counter == Counter::kFires) {
        tally.Fire();
      } else {
        tally.Count(counter, 1);
      }
    }
  }
}

void Recorder::HoldLoop() {
  if (hook_ == nullptr) return;
  control_[kLoopHeld] = 1;
  uv_ref(reinterpret_cast<uv_handle_t*>(&hook_->prepare));
}

void Recorder::ClockMoves() noexcept {
  if (control_.length() == 0) return;
  Drain(clock_.Now());
  control_[kClockBudget] = 0;  // The next call reads the clock.
}

void Recorder::BeforePoll() noexcept {
  ClockMoves();  // While the loop waits, time passes.
  if (control_[kLoopHeld] != 0 && control_[kTimedInFlight] == 0) {
    control_[kLoopHeld] = 0;
    uv_unref(reinterpret_cast<uv_handle_t*>(&hook_->prepare));
  }
}

}  // namespace sekering

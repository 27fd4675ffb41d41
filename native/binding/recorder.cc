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
    if (hook->owner != nullptr) hook->owner->hook_ = nullptr;
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

uint32_t Recorder::Create(const BreakerConfig& config) {
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
  entry.breaker = Breaker(config, memory.hot, memory.cold);
  entry.breaker.Initialize(clock_.Now());
  entry.memory = memory;
  entry.seen_generation = 0;
  entry.live = true;
  Publish(entry);
  return id;
}

void Recorder::Destroy(uint32_t id) {
  BreakerEntry& entry = Look(id, clock_.Now());
  if (!entry.live) return;
  entry.live = false;
  entry.breaker.Clear();
  const BreakerConfig& config = entry.breaker.config();
  slab_.Give(entry.memory, Breaker::HotCells(config), Breaker::ColdCells(config));
  free_.push_back(id);
}

BreakerEntry& Recorder::Look(uint32_t id, Micros now) {
  assert(id < entries_.size());
  Drain(now);
  return entries_[id];
}

namespace {

/// Adds up neighbouring entries of one breaker, as most are alike.
class Tally {
 public:
  Tally(Breaker& breaker, Micros now) : breaker_(breaker), epoch_(breaker.Epoch(now)) {}
  ~Tally() {
    FlushLatency();
    if (fires_ > 0) breaker_.Count(Counter::kFires, fires_, epoch_);
    if (successes_ > 0) breaker_.CountSuccesses(successes_, epoch_);
  }

  void Fire() { ++fires_; }
  void Other(Counter counter) { breaker_.Count(counter, 1, epoch_); }
  void Success(uint32_t ticks) {
    ++successes_;
    const uint32_t ms = (ticks + 8) / 16;
    if (ms != ms_) FlushLatency();
    ms_ = ms;
    ++latencies_;
  }

 private:
  void FlushLatency() {
    if (latencies_ > 0) breaker_.AddLatency(ms_, latencies_, epoch_);
    latencies_ = 0;
  }

  Breaker& breaker_;
  uint32_t epoch_;
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
    Tally tally(entries_[id].breaker, now);
    for (; i < head && ring_[i] / 16 == id; ++i) {
      const auto counter = static_cast<Counter>(ring_[i] % 16);
      if (counter == Counter::kSuccesses) {
        tally.Success(ring_[++i]);
      } else if (counter == Counter::kFires) {
        tally.Fire();
      } else {
        tally.Other(counter);
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

#include "binding/recorder.h"

namespace sekering {

/// The handle by which the loop calls us before it waits. It outlives the Recorder until libuv has
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
      // What was recorded since the loop last waited counts for all who share the breakers.
      hook->owner->breakers_.Drain(hook->owner->Now());
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

bool Recorder::Attach(napi_value control, napi_value ring) {
  control_.Reset(env_, control);
  ring_.Reset(env_, ring);
  if (control_.length() != kControlLength || ring_.length() == 0) return false;
  breakers_.AttachRing(&control_[kRingHead], ring_.span());
  if (hook_ == nullptr) LoopHook::Start(this, env_);
  return true;
}

bool Recorder::AddPeriods(napi_value periods) {
  Shared<uint32_t> chunk;
  chunk.Reset(env_, periods);
  if (chunk.length() != Breakers::kPeriodsPerChunk) return false;
  breakers_.AddPeriods(chunk.data());
  periods_.push_back(std::move(chunk));
  return true;
}

void Recorder::HoldLoop() {
  if (hook_ == nullptr) return;
  control_[kLoopHeld] = 1;
  uv_ref(reinterpret_cast<uv_handle_t*>(&hook_->prepare));
}

void Recorder::ClockMoves() noexcept {
  if (control_.length() == 0) return;
  breakers_.Drain(Now());
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

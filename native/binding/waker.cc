#include "binding/waker.h"

namespace sekering {

void Waker::Start(Napi::Env env, Region& region, OnNews on_news, void* context) {
  auto* waker = new Waker(region, on_news, context);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  uv_poll_init(loop, &waker->poll_, region.bell_fd());
  waker->poll_.data = waker;
  uv_poll_start(&waker->poll_, UV_READABLE, OnReadable);
  uv_unref(reinterpret_cast<uv_handle_t*>(&waker->poll_));
  napi_add_async_cleanup_hook(env, OnCleanup, waker, &waker->cleanup_);
}

void Waker::OnReadable(uv_poll_t* poll, int, int) {
  auto* waker = static_cast<Waker*>(poll->data);
  // At once, since a system call takes as long as all of this. And once more for what happened
  // before the bell was silent again; that finds nothing, and calls nobody, as a rule.
  waker->on_news_(waker->context_);
  waker->region_.Silence();
  waker->on_news_(waker->context_);
}

void Waker::OnCleanup(napi_async_cleanup_hook_handle, void* data) {
  auto* waker = static_cast<Waker*>(data);
  uv_close(reinterpret_cast<uv_handle_t*>(&waker->poll_), [](uv_handle_t* handle) {
    auto* closed = static_cast<Waker*>(handle->data);
    napi_remove_async_cleanup_hook(closed->cleanup_);
    delete closed;
  });
}

}  // namespace sekering

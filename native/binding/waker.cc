#include "binding/waker.h"

namespace sekering {

void Waker::Start(Napi::Env env, Region& region, OnNews on_news) {
  auto* waker = new Waker(region, std::move(on_news));
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  waker->watch_.data = waker;
  waker->Watch(loop);
  uv_unref(reinterpret_cast<uv_handle_t*>(&waker->watch_));
  napi_add_async_cleanup_hook(env, OnCleanup, waker, &waker->cleanup_);
}

#ifdef _WIN32

void Waker::Watch(uv_loop_t* loop) {
  uv_async_init(loop, &watch_,
                [](uv_async_t* watch) { static_cast<Waker*>(watch->data)->OnRing(); });
  const auto on_event = [](void* data, BOOLEAN) {
    uv_async_send(&static_cast<Waker*>(data)->watch_);
  };
  RegisterWaitForSingleObject(&wait_, region_.bell(), on_event, this, INFINITE,
                              WT_EXECUTEINWAITTHREAD);
}

void Waker::Unwatch() {
  // It waits for a call that is under way.
  if (wait_ != nullptr) UnregisterWaitEx(wait_, INVALID_HANDLE_VALUE);
}

#else

void Waker::Watch(uv_loop_t* loop) {
  uv_poll_init(loop, &watch_, region_.bell());
  uv_poll_start(&watch_, UV_READABLE,
                [](uv_poll_t* watch, int, int) { static_cast<Waker*>(watch->data)->OnRing(); });
}

void Waker::Unwatch() {}

#endif

void Waker::OnRing() {
  // First the news, since the system call that silences the bell takes longer. Then once more, for
  // what happened before the bell was silent; usually that finds nothing.
  on_news_();
  region_.Silence();
  on_news_();
}

void Waker::OnCleanup(napi_async_cleanup_hook_handle, void* data) {
  auto* waker = static_cast<Waker*>(data);
  waker->Unwatch();
  uv_close(reinterpret_cast<uv_handle_t*>(&waker->watch_), [](uv_handle_t* handle) {
    auto* closed = static_cast<Waker*>(handle->data);
    napi_remove_async_cleanup_hook(closed->cleanup_);
    delete closed;
  });
}

}  // namespace sekering

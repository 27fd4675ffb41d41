#include "binding/waker.h"

namespace sekering {

void Waker::Start(Napi::Env env, Region& region, OnNews on_news) {
  auto* waker = new Waker(region, std::move(on_news));
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
  // First the news, since the system call that silences the bell takes longer. Then once more, for
  // what happened before the bell was silent; usually that finds nothing.
  waker->on_news_();
  waker->region_.Silence();
  waker->on_news_();
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

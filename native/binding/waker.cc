#include "binding/waker.h"

#ifdef __linux__
#include <csignal>
#endif

namespace sekering {

void Waker::Start(Napi::Env env, Region& region, OnNews on_news, void* context) {
  auto* waker = new Waker(region, on_news, context);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  uv_async_init(loop, &waker->async_, OnAsync);
  waker->async_.data = waker;
  uv_unref(reinterpret_cast<uv_handle_t*>(&waker->async_));
  napi_add_async_cleanup_hook(env, OnCleanup, waker, &waker->cleanup_);
#ifdef __linux__
  // Signals are for the threads that expect them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  waker->thread_ = std::thread([waker] { waker->Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#else
  waker->thread_ = std::thread([waker] { waker->Run(); });
#endif
}

void Waker::Run() noexcept {
  while (!stopping_.load()) {
    region_.AwaitNews(seen_);
    const uint32_t news = region_.News();
    if (news == seen_) continue;
    seen_ = news;
    uv_async_send(&async_);
  }
}

void Waker::OnAsync(uv_async_t* async) {
  auto* waker = static_cast<Waker*>(async->data);
  if (!waker->stopping_.load()) waker->on_news_(waker->context_);
}

/// The thread ends before its loop does: it is woken as by news.
void Waker::OnCleanup(napi_async_cleanup_hook_handle, void* data) {
  auto* waker = static_cast<Waker*>(data);
  waker->stopping_.store(true);
  waker->region_.Announce();
  waker->thread_.join();
  uv_close(reinterpret_cast<uv_handle_t*>(&waker->async_), [](uv_handle_t* handle) {
    auto* closed = static_cast<Waker*>(handle->data);
    napi_remove_async_cleanup_hook(closed->cleanup_);
    delete closed;
  });
}

}  // namespace sekering

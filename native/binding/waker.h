// Brings news from other processes and threads to an environment's loop: the loop watches the
// region's bell. While nothing happens this costs nothing, and it keeps nothing alive.

#ifndef SEKERING_BINDING_WAKER_H_
#define SEKERING_BINDING_WAKER_H_

#include <napi.h>
#include <uv.h>

#include <functional>
#include <utility>

#include "core/region.h"

namespace sekering {

class Waker {
 public:
  using OnNews = std::function<void()>;

  /// `on_news` is called on the environment's thread. The region and all that `on_news` uses must
  /// outlive the environment's cleanup hooks.
  static void Start(Napi::Env env, Region& region, OnNews on_news);

 private:
  Waker(Region& region, OnNews on_news) : region_(region), on_news_(std::move(on_news)) {}

  void Watch(uv_loop_t* loop);
  /// Nothing is called afterwards.
  void Unwatch();
  void OnRing();
  static void OnCleanup(napi_async_cleanup_hook_handle handle, void* data);

  Region& region_;
  OnNews on_news_;
#ifdef _WIN32
  // A thread of the system waits for the event, as libuv cannot.
  void* wait_ = nullptr;
  uv_async_t watch_{};
#else
  uv_poll_t watch_{};
#endif
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_WAKER_H_

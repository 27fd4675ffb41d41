// Brings news from other processes and threads to an environment's loop: a thread sleeps on the
// region's signal, and wakes the loop when the signal has changed. While nothing happens it costs
// nothing.

#ifndef SEKERING_BINDING_WAKER_H_
#define SEKERING_BINDING_WAKER_H_

#include <napi.h>
#include <uv.h>

#include <atomic>
#include <thread>

#include "core/region.h"

namespace sekering {

class Waker {
 public:
  using OnNews = void (*)(void* context);

  /// `on_news` is called on the environment's thread. The region must outlive the environment's
  /// cleanup hooks.
  static void Start(Napi::Env env, Region& region, OnNews on_news, void* context);

 private:
  Waker(Region& region, OnNews on_news, void* context)
      : region_(region), on_news_(on_news), context_(context), seen_(region.News()) {}

  void Run() noexcept;
  static void OnAsync(uv_async_t* async);
  static void OnCleanup(napi_async_cleanup_hook_handle handle, void* data);

  Region& region_;
  OnNews on_news_;
  void* context_;
  // Since before the thread began, so that nothing is lost until it does.
  uint32_t seen_;
  uv_async_t async_{};
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_WAKER_H_

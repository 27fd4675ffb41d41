#include "binding/backoff_api.h"

#include <cassert>

#include "binding/convert.h"
#include "core/backoff.h"

namespace sekering {
namespace {

/// backoffDelay(strategy, jitter, retry, minMs, maxMs, factor, proportion, random, previousMs)
napi_value BackoffDelay(napi_env env, napi_callback_info info) {
  const Arguments<9> arguments(env, info);
  const uint32_t strategy = arguments.Uint32(0);
  const uint32_t jitter = arguments.Uint32(1);
  assert(strategy < kBackoffStrategies);
  assert(jitter < kJitters);
  const BackoffOptions options{
      .strategy = static_cast<BackoffStrategy>(strategy),
      .jitter = static_cast<Jitter>(jitter),
      .min_ms = arguments.Double(3),
      .max_ms = arguments.Double(4),
      .factor = arguments.Double(5),
      .proportion = arguments.Double(6),
  };
  return ToJs(
      env, BackoffDelayMs(options, arguments.Double(2), arguments.Double(7), arguments.Double(8)));
}

}  // namespace

BackoffApi::BackoffApi(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "backoffDelay", BackoffDelay, nullptr);
}

}  // namespace sekering

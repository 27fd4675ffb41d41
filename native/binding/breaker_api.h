// The breaker's functions for JavaScript (lib/base/recorder.js and lib/primitives/breaker.js).

#ifndef SEKERING_BINDING_BREAKER_API_H_
#define SEKERING_BINDING_BREAKER_API_H_

#include <napi.h>

#include "binding/clock.h"
#include "binding/convert.h"
#include "binding/recorder.h"

namespace sekering {

class BreakerApi {
 public:
  BreakerApi(Napi::Env env, Napi::Object exports, const EnvClock& clock);

  Recorder& recorder() { return recorder_; }

 private:
  friend struct BreakerFunctions;

  Recorder recorder_;
  /// Where results of more than one number go: a Float64Array of JavaScript's.
  Shared<double> answer_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_BREAKER_API_H_

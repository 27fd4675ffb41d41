// The functions of limits for JavaScript (lib/primitives/permits.js and limits.js).

#ifndef SEKERING_BINDING_PERMITS_API_H_
#define SEKERING_BINDING_PERMITS_API_H_

#include <napi.h>

#include "binding/clock.h"
#include "binding/shared_api.h"
#include "core/limits.h"

namespace sekering {

class PermitsApi {
 public:
  /// `shared` must outlive this.
  PermitsApi(Napi::Env env, Napi::Object exports, const EnvClock& clock, SharedApi& shared);
  ~PermitsApi() { shared_.SetLimits(nullptr); }

 private:
  friend struct PermitsFunctions;

  const EnvClock& clock_;
  SharedApi& shared_;
  Limits limits_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_PERMITS_API_H_

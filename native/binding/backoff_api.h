// The backoff formula as a plain function of the addon. It keeps no state.

#ifndef SEKERING_BINDING_BACKOFF_API_H_
#define SEKERING_BINDING_BACKOFF_API_H_

#include <napi.h>

namespace sekering {

class BackoffApi {
 public:
  BackoffApi(Napi::Env env, Napi::Object exports);
};

}  // namespace sekering

#endif  // SEKERING_BINDING_BACKOFF_API_H_

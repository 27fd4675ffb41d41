// Delays and decisions of retries, as plain functions of the addon. They keep no state.

#ifndef SEKERING_BINDING_RETRY_API_H_
#define SEKERING_BINDING_RETRY_API_H_

#include <napi.h>

namespace sekering {

class RetryApi {
 public:
  RetryApi(Napi::Env env, Napi::Object exports);
};

}  // namespace sekering

#endif  // SEKERING_BINDING_RETRY_API_H_

// Functions for JavaScript about regions and the breakers in them (lib/base/regions.js).

#ifndef SEKERING_BINDING_SHARED_API_H_
#define SEKERING_BINDING_SHARED_API_H_

#include <napi.h>

#include "binding/recorder.h"
#include "binding/shared.h"

namespace sekering {

class SharedApi {
 public:
  SharedApi(Napi::Env env, Napi::Object exports, Recorder& recorder);

  SharedRegions& regions() { return regions_; }

 private:
  friend struct SharedFunctions;

  static void OnNews(void* api, uint32_t breaker);

  Napi::Env env_;
  Recorder& recorder_;
  SharedRegions regions_;
  Napi::FunctionReference on_news_;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_SHARED_API_H_

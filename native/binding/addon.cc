// The module's entry: one Addon per JavaScript environment (main thread or worker), which owns all
// state that belongs to that environment. There are no static objects.

#include <napi.h>

#include "binding/backoff_api.h"
#include "binding/breaker_api.h"
#include "binding/permits_api.h"

namespace sekering {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports)
      : backoff_(env, exports), permits_(env, exports), breakers_(env, exports) {}

 private:
  BackoffApi backoff_;
  PermitsApi permits_;
  BreakerApi breakers_;
};

}  // namespace sekering

// NODE_API_NAMED_ADDON names the class without its namespace in generated symbols.
using SekeringAddon = sekering::Addon;
NODE_API_NAMED_ADDON(sekering, SekeringAddon)

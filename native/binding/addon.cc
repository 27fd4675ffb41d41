// The module's entry: one Addon per JavaScript environment (main thread or worker), which owns all
// state that belongs to that environment. There are no static objects.

#include <napi.h>

#include "binding/backoff_api.h"
#include "binding/breaker_api.h"
#include "binding/clock.h"
#include "binding/convert.h"
#include "binding/permits_api.h"

namespace sekering {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports)
      : backoff_(env, exports),
        breakers_(env, exports, clock_),
        permits_(env, exports, clock_, breakers_.regions()) {
    Export(env, exports, "setClock", SetClock, this);
  }

 private:
  /// setClock(ms): holds this environment's clock at `ms`; a negative value ends that.
  static napi_value SetClock(napi_env env, napi_callback_info info) {
    const Arguments<1> arguments(env, info);
    auto* addon = arguments.Data<Addon>();
    addon->breakers_.recorder().ClockMoves();
    addon->clock_.Set(arguments.Double(0));
    return nullptr;
  }

  EnvClock clock_;  // Before its users.
  BackoffApi backoff_;
  BreakerApi breakers_;
  PermitsApi permits_;  // After the owner of the regions that it uses.
};

}  // namespace sekering

// NODE_API_NAMED_ADDON names the class without its namespace in generated symbols.
using SekeringAddon = sekering::Addon;
NODE_API_NAMED_ADDON(sekering, SekeringAddon)

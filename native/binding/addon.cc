// The module's entry: one Addon per JavaScript environment (main thread or worker), which owns all
// state that belongs to that environment. There are no static objects.

#include <napi.h>

#include "binding/breaker_api.h"
#include "binding/clock.h"
#include "binding/convert.h"
#include "binding/permits_api.h"
#include "binding/retry_api.h"
#include "binding/shared_api.h"

namespace sekering {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports)
      : retry_(env, exports),
        breakers_(env, exports, clock_),
        shared_(env, exports, breakers_.recorder()),
        permits_(env, exports, clock_, shared_) {
    Export(env, exports, this, {{"setClock", SetClock}});
  }

 private:
  /// setClock(ms): holds this environment's clock at `ms`; a negative value ends that.
  static napi_value SetClock(napi_env env, napi_callback_info info) {
    const Call<Addon, 1> call(env, info);
    call.api().breakers_.recorder().ClockMoves();
    call.api().clock_.Set(call.Double(0));
    return nullptr;
  }

  EnvClock clock_;  // Before its users.
  RetryApi retry_;
  BreakerApi breakers_;
  SharedApi shared_;
  PermitsApi permits_;  // After the owner of the regions that it uses.
};

}  // namespace sekering

// NODE_API_NAMED_ADDON names the class without its namespace in generated symbols.
using SekeringAddon = sekering::Addon;
NODE_API_NAMED_ADDON(sekering, SekeringAddon)

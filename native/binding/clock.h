// The clock of one JavaScript environment: the host's monotonic clock, or the time that a test set.

#ifndef SEKERING_BINDING_CLOCK_H_
#define SEKERING_BINDING_CLOCK_H_

#include <uv.h>

#include "core/units.h"

namespace sekering {

class EnvClock {
 public:
  /// Monotonic; its zero is that of the host's clock, so readings of several processes compare.
  Micros Now() const { return fixed_ >= 0 ? fixed_ : static_cast<Micros>(uv_hrtime() / 1000); }

  /// Holds the clock at `ms` until the next call; a negative value gives the real clock back.
  void Set(double ms_or_negative) {
    fixed_ = ms_or_negative >= 0 ? FromMillis(ms_or_negative) : -1;
  }

 private:
  Micros fixed_ = -1;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_CLOCK_H_

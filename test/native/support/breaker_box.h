// A breaker with memory of its own and a clock that the test sets.

#ifndef SEKERING_TEST_SUPPORT_BREAKER_BOX_H_
#define SEKERING_TEST_SUPPORT_BREAKER_BOX_H_

#include <ostream>

#include "core/breaker.h"
#include "core/words.h"
#include "support/cells.h"
#include "support/times.h"

namespace sekering {

inline std::ostream& operator<<(std::ostream& out, State state) {
  const char* const names[] = {"closed", "open", "half-open", "ramping"};
  return out << names[static_cast<uint32_t>(state)];
}

struct BreakerBox {
  static constexpr Micros kStart = 1000 * kSecond;

  explicit BreakerBox(const BreakerConfig& config, Micros start = kStart)
      : hot(Breaker::HotCells(config)),
        cold(Breaker::ColdCells(config)),
        breaker(config, hot.data(), cold.data()),
        now(start) {
    breaker.Initialize(now);
  }

  BreakerMemory& memory() { return *InPlace<BreakerMemory>(hot.data()); }
  bool AllZero() const { return hot.AllZero() && cold.AllZero(); }
  State state() const { return StateOf(breaker.period()); }

  /// As if there had been `generation` transitions before.
  void StartAt(uint32_t generation) { memory().state.store(StateWord(Generation(generation), 0)); }

  Admission Admit(double random = 0.5) { return breaker.Admit(now, random); }
  Epoch epoch() const { return breaker.EpochAt(now); }
  uint64_t Sum(Counter counter) const { return breaker.window().Sum(counter, epoch()); }
  void Add(Counter counter, uint32_t count) { breaker.Add(counter, epoch(), Count(count)); }

  bool Succeed(const Admission& call, Micros latency = kMs) {
    return Settle({false, false, latency, call.period, call.probe}, 0);
  }
  /// Returns whether the circuit opened by it.
  bool Fail(const Admission& call, Micros reset_min = 0) {
    return Settle({true, false, kMs, call.period, call.probe}, reset_min);
  }
  bool Settle(const Outcome& outcome, Micros reset_min) {
    return breaker.Record(outcome, now) && breaker.Trip(outcome.period, reset_min, now);
  }

  /// A whole call, if it is admitted: fired and settled. Returns whether it was admitted.
  bool Call(bool failed, double random = 0.5) {
    Add(Counter::kFires, 1);
    const Admission call = Admit(random);
    if (!call.admitted) {
      Add(Counter::kRejects, 1);
      return false;
    }
    if (failed) {
      Fail(call);
    } else {
      Succeed(call);
    }
    return true;
  }
  bool CallAndFail() { return Call(true); }
  bool CallAndSucceed() { return Call(false); }

  Cells hot;
  Cells cold;
  Breaker breaker;
  Micros now;
};

/// A breaker that opens at the second failure in a row, and may be tried after a second.
inline BreakerConfig TwoInARow() {
  BreakerConfig config;
  config.rules.consecutive_failures = 2;
  config.reset_initial = kSecond;
  config.reset_max = kSecond;
  config.probe_lease = 5 * kSecond;
  return config;
}

/// An open circuit's time passes, and it is half-open.
inline void PassReset(BreakerBox& box) {
  box.now += box.breaker.OpenFor(box.now);
  box.breaker.Poll(box.now);
}

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_BREAKER_BOX_H_

// The native end of the hot path: the arrays through which JavaScript records its calls without
// calling native code, and the hook that has them read before the loop waits for events.
//
// JavaScript appends words to `ring` and keeps a few numbers in `control`. The core reads the ring
// (core/breakers.h) before the loop waits, when the ring is full, and before anything looks at a
// breaker. See "The hot path" in HACKING.md.

#ifndef SEKERING_BINDING_RECORDER_H_
#define SEKERING_BINDING_RECORDER_H_

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <vector>

#include "binding/clock.h"
#include "binding/convert.h"
#include "core/breakers.h"

namespace sekering {

/// Indices of `control`, an Int32Array; lib/base/recorder.js has the same list.
enum Control : size_t {
  kRingHead,       // words in the ring
  kClockNow,       // the last reading of the clock, in ticks
  kClockBudget,    // calls that may still use that reading
  kClockStride,    // how many calls the next reading may serve
  kTimedInFlight,  // calls in flight that have a timeout
  kLoopHeld,       // whether those keep the loop alive
  kControlLength,
};

class Recorder {
 public:
  Recorder(Napi::Env env, const EnvClock& clock) : env_(env), clock_(clock) {}
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// False if the arrays are not as expected.
  bool Attach(napi_value control, napi_value ring);
  bool AddPeriods(napi_value periods);

  /// The clock is about to be set: what happened so far, happened at the time so far.
  void ClockMoves() noexcept;
  /// Keeps the loop alive until the calls in flight that have a timeout have settled.
  void HoldLoop();

  Breakers& breakers() { return breakers_; }
  Micros Now() const { return clock_.Now(); }

 private:
  struct LoopHook;

  void BeforePoll() noexcept;

  Napi::Env env_;
  const EnvClock& clock_;
  Shared<int32_t> control_;
  Shared<uint32_t> ring_;
  std::vector<Shared<uint32_t>> periods_;
  Breakers breakers_;
  LoopHook* hook_ = nullptr;
};

}  // namespace sekering

#endif  // SEKERING_BINDING_RECORDER_H_

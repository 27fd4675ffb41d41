#include "binding/breaker_api.h"

#include <optional>

#include "core/breaker_config.h"
#include "core/breakers.h"

namespace sekering {
namespace {

/// What stats() takes instead of a bucket's age.
constexpr double kWindow = -1;
constexpr double kOwnWindow = -2;

}  // namespace

/// Each is one exported function; its comment gives the JavaScript signature.
struct BreakerFunctions {
  template <size_t kCount>
  struct Call : sekering::Call<BreakerApi, kCount> {
    Call(napi_env env, napi_callback_info info)
        : sekering::Call<BreakerApi, kCount>(env, info),
          recorder(this->api().recorder_),
          now(recorder.Now()) {}
    Recorder& recorder;
    Micros now;
  };

  /// Calls `use(call, breaker)` with the breaker that the first argument names; throws if there is
  /// none.
  template <size_t kCount, class Use>
  static napi_value WithBreaker(napi_env env, napi_callback_info info, const Use& use) {
    Call<kCount> call(env, info);
    BreakerHandle* const breaker = call.recorder.breakers().Find(call.Id(0), call.now);
    if (breaker == nullptr) return Throw(env, "There is no breaker with this id");
    return use(call, *breaker);
  }

  /// attachRecorder(control: Int32Array, ring: Uint32Array, answer: Float64Array)
  static napi_value Attach(napi_env env, napi_callback_info info) {
    const Call<3> call(env, info);
    Shared<double>& answer = call.api().answer_;
    answer.Reset(env, call[2]);
    if (answer.length() < kStatsNumbersMax || !call.recorder.Attach(call[0], call[1])) {
      return Throw(env, "The recorder's arrays have other lengths than native code expects");
    }
    return nullptr;
  }

  /// addCells(cells: Int32Array): room for the periods of more breakers
  static napi_value AddCells(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    if (call.recorder.AddPeriods(call[0])) return nullptr;
    return Throw(env, "The array of periods has another length than native code expects");
  }

  /// createBreaker(config: Float64Array, windowOf?: id): its id, or minus a CreateError
  static napi_value Create(napi_env env, napi_callback_info info) {
    const Call<2> call(env, info);
    const std::optional<BreakerConfig> config = BreakerConfigOf(call.Numbers(0), false);
    if (!config) return Throw(env, "This is not the configuration of a breaker");
    Breakers& breakers = call.recorder.breakers();
    const uint32_t window_of = call.Id(1);
    const auto [id, error] = window_of == SharedMemory::kNoId
                                 ? breakers.Create(*config, call.now)
                                 : breakers.CreateIn(window_of, *config, call.now);
    return error == CreateError::kNone ? ToJs(env, id) : ToJs(env, -static_cast<double>(error));
  }

  /// destroyBreaker(id)
  static napi_value Destroy(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    if (call.recorder.breakers().Destroy(call.Id(0), call.now)) return nullptr;
    return Throw(env, "There is no breaker with this id");
  }

  /// drain()
  static napi_value Drain(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    call.recorder.breakers().Drain(call.now);
    return nullptr;
  }

  /// holdLoop()
  static napi_value HoldLoop(napi_env env, napi_callback_info info) {
    const Call<1> call(env, info);
    call.recorder.HoldLoop();
    return nullptr;
  }

  /// admit(id, random): -1 if refused, else the probe's name (kNoProbe for an ordinary call)
  static napi_value Admit(napi_env env, napi_callback_info info) {
    return WithBreaker<2>(env, info, [env](auto& call, BreakerHandle& breaker) {
      const Admission admission = breaker.Admit(call.now, call.Double(1));
      return admission.admitted ? ToJs(env, admission.probe.value()) : ToJs(env, -1.0);
    });
  }

  /// abandon(id, period, probe)
  static napi_value Abandon(napi_env env, napi_callback_info info) {
    return WithBreaker<3>(env, info, [](auto& call, BreakerHandle& breaker) -> napi_value {
      breaker.Abandon(Period(call.Uint32(1)), Probe(call.Uint32(2)));
      return nullptr;
    });
  }

  static napi_value Record(napi_env env, napi_callback_info info, bool failed) {
    return WithBreaker<5>(env, info, [env, failed](auto& call, BreakerHandle& breaker) {
      const Outcome outcome{.failed = failed,
                            .timed_out = failed && call.Uint32(4) != 0,
                            .latency = MicrosOf(Ticks(call.Uint32(1))),
                            .period = Period(call.Uint32(2)),
                            .probe = Probe(call.Uint32(3))};
      return ToJs(env, breaker.Record(outcome, call.now));
    });
  }

  /// success(id, ticks, period, probe): whether the caller must trip
  static napi_value Success(napi_env env, napi_callback_info info) {
    return Record(env, info, false);
  }

  /// failure(id, ticks, period, probe, timedOut: 0 | 1): whether the caller must trip
  static napi_value Failure(napi_env env, napi_callback_info info) {
    return Record(env, info, true);
  }

  /// trip(id, period, resetMin)
  static napi_value Trip(napi_env env, napi_callback_info info) {
    return WithBreaker<3>(env, info, [](auto& call, BreakerHandle& breaker) -> napi_value {
      breaker.Trip(Period(call.Uint32(1)), FromMillis(call.Double(2)), call.now);
      return nullptr;
    });
  }

  /// moveTo(id, state: 0 closed, 1 open, 2 half-open), by hand
  static napi_value MoveTo(napi_env env, napi_callback_info info) {
    return WithBreaker<2>(env, info, [env](auto& call, BreakerHandle& breaker) -> napi_value {
      const uint32_t state = call.Id(1);
      if (state > static_cast<uint32_t>(State::kHalfOpen)) return Throw(env, "No such state");
      breaker.MoveTo(static_cast<State>(state), call.now);
      return nullptr;
    });
  }

  /// forget(id)
  static napi_value Forget(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [](auto&, BreakerHandle& breaker) -> napi_value {
      breaker.Forget();
      return nullptr;
    });
  }

  /// poll(id): half-opens an open circuit that is due; returns openFor
  static napi_value Poll(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto& call, BreakerHandle& breaker) {
      return WaitToJs(env, breaker.Poll(call.now));
    });
  }

  /// openFor(id): the milliseconds until an open circuit may be tried, 0 for one that is not open
  static napi_value OpenFor(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto& call, BreakerHandle& breaker) {
      return WaitToJs(env, breaker.OpenFor(call.now));
    });
  }

  /// transitions(id): how many there were since the last look. answer[0] is how many of them are
  /// forgotten, or -1 if a damaged state was repaired; the states that the others led to follow,
  /// oldest first.
  static napi_value Transitions(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto& call, BreakerHandle& breaker) {
      const sekering::Transitions taken = breaker.TakeTransitions();
      const Shared<double>& answer = call.api().answer_;
      answer[0] = taken.repaired ? -1.0 : taken.forgotten;
      for (uint32_t i = 0; i < taken.known; ++i) {
        answer[1 + i] = static_cast<double>(taken.states[i]);
      }
      return ToJs(env, taken.known);
    });
  }

  /// hasFreeProbe(id)
  static napi_value HasFreeProbe(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto& call, BreakerHandle& breaker) {
      return ToJs(env, breaker.HasFreeProbe(call.now));
    });
  }

  /// isWarming(id)
  static napi_value IsWarming(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto& call, BreakerHandle& breaker) {
      return ToJs(env, breaker.Warming(call.now));
    });
  }

  /// epoch(id): the number of the present bucket
  static napi_value EpochNow(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto& call, BreakerHandle& breaker) {
      return ToJs(env, breaker.EpochAt(call.now).value());
    });
  }

  /// rotate(id)
  static napi_value Rotate(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [](auto&, BreakerHandle& breaker) -> napi_value {
      breaker.Rotate();
      return nullptr;
    });
  }

  /// configure(id, config: Float64Array): other rules and times, for a breaker that is not shared
  static napi_value Configure(napi_env env, napi_callback_info info) {
    return WithBreaker<2>(env, info, [env](auto& call, BreakerHandle& breaker) -> napi_value {
      const std::optional<BreakerConfig> config = BreakerConfigOf(call.Numbers(1), false);
      if (!config) return Throw(env, "This is not the configuration of a breaker");
      breaker.Configure(*config);
      return nullptr;
    });
  }

  /// count(id, counter, n)
  static napi_value Add(napi_env env, napi_callback_info info) {
    return WithBreaker<3>(env, info, [env](auto& call, BreakerHandle& breaker) -> napi_value {
      const uint32_t counter = call.Id(1);
      if (counter >= kCounters) return Throw(env, "No such counter");
      breaker.Add(static_cast<Counter>(counter), Count(call.Uint32(2)), call.now);
      return nullptr;
    });
  }

  /// addLatency(id, ms, n)
  static napi_value AddLatency(napi_env env, napi_callback_info info) {
    return WithBreaker<3>(env, info, [](auto& call, BreakerHandle& breaker) -> napi_value {
      breaker.AddLatency(Millis(call.Uint32(1)), Count(call.Uint32(2)), call.now);
      return nullptr;
    });
  }

  /// bucketCount(id, counter, age): 0 if no bucket is that old
  static napi_value BucketCount(napi_env env, napi_callback_info info) {
    return WithBreaker<3>(env, info, [env](auto& call, BreakerHandle& breaker) -> napi_value {
      const uint32_t counter = call.Id(1);
      if (counter >= kCounters) return Throw(env, "No such counter");
      return ToJs(
          env,
          breaker.BucketCount(static_cast<Counter>(counter), call.Uint32(2), call.now).value());
    });
  }

  /// setBucketCount(id, counter, age, n)
  static napi_value SetBucketCount(napi_env env, napi_callback_info info) {
    return WithBreaker<4>(env, info, [env](auto& call, BreakerHandle& breaker) -> napi_value {
      const uint32_t counter = call.Id(1);
      if (counter >= kCounters) return Throw(env, "No such counter");
      breaker.SetBucketCount(static_cast<Counter>(counter), call.Uint32(2), Count(call.Uint32(3)),
                             call.now);
      return nullptr;
    });
  }

  /// stats(id, age): of one bucket, of the window (age -1), or of what this environment alone has
  /// counted (-2). answer gets what WriteNumbers writes. Returns how many latencies.
  static napi_value Stats(napi_env env, napi_callback_info info) {
    return WithBreaker<2>(env, info, [env](auto& call, BreakerHandle& breaker) {
      using Whose = BreakerHandle::Whose;
      const double age = call.Double(1);
      WindowStats stats;
      if (age == kWindow || age == kOwnWindow) {
        breaker.ReadWindow(age == kOwnWindow ? Whose::kOwn : Whose::kAll, call.now, &stats);
      } else {
        breaker.ReadBucket(call.Uint32(1), call.now, &stats);
      }
      WriteNumbers(stats, call.api().answer_.data());
      return ToJs(env, static_cast<uint32_t>(stats.latency_count));
    });
  }

  /// repairs(id): how often a damaged state was repaired
  static napi_value Repairs(napi_env env, napi_callback_info info) {
    return WithBreaker<1>(env, info, [env](auto&, BreakerHandle& breaker) {
      return ToJs(env, static_cast<double>(breaker.repairs()));
    });
  }
};

BreakerApi::BreakerApi(Napi::Env env, Napi::Object exports, const EnvClock& clock)
    : recorder_(env, clock) {
  using F = BreakerFunctions;
  Export(env, exports, this,
         {{"attachRecorder", F::Attach},
          {"addCells", F::AddCells},
          {"createBreaker", F::Create},
          {"destroyBreaker", F::Destroy},
          {"drain", F::Drain},
          {"holdLoop", F::HoldLoop},
          {"admit", F::Admit},
          {"abandon", F::Abandon},
          {"success", F::Success},
          {"failure", F::Failure},
          {"trip", F::Trip},
          {"moveTo", F::MoveTo},
          {"poll", F::Poll},
          {"openFor", F::OpenFor},
          {"transitions", F::Transitions},
          {"hasFreeProbe", F::HasFreeProbe},
          {"isWarming", F::IsWarming},
          {"rotate", F::Rotate},
          {"configure", F::Configure},
          {"count", F::Add},
          {"addLatency", F::AddLatency},
          {"bucketCount", F::BucketCount},
          {"setBucketCount", F::SetBucketCount},
          {"stats", F::Stats},
          {"forget", F::Forget},
          {"repairs", F::Repairs},
          {"epoch", F::EpochNow}});
}

}  // namespace sekering

#include "binding/breaker_api.h"

#include "binding/breaker_config.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace sekering {
namespace {

/// A latency and how often it was seen go into one number for JavaScript.
constexpr double kCountLimit = 2147483648.0;

}  // namespace

/// Each is one exported function; its comment gives the JavaScript signature.
struct BreakerFunctions {
  template <size_t kCount>
  struct Call : Arguments<kCount> {
    Call(napi_env env, napi_callback_info info)
        : Arguments<kCount>(env, info),
          api(*this->template Data<BreakerApi>()),
          now(api.recorder_.clock().Now()) {}
    BreakerEntry& Entry() { return api.recorder_.Look(this->Uint32(0), now); }
    BreakerApi& api;
    Micros now;
  };

  /// attachRecorder(control: Int32Array, ring: Uint32Array, answer: Float64Array)
  static napi_value Attach(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    call.api.recorder_.Attach(call[0], call[1]);
    call.api.answer_.Reset(env, call[2]);
    return nullptr;
  }

  /// addCells(cells: Int32Array)
  static napi_value AddCells(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.recorder_.AddCells(call[0]);
    return nullptr;
  }

  /// createBreaker(config: Float64Array): its id, kNoCells or kNoMemory
  static napi_value Create(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    Recorder& recorder = call.api.recorder_;
    if (!recorder.HasFreeCell()) return ToJs(env, kNoCells);
    const uint32_t id = recorder.Create(ConfigOf(DescriptionOf(env, call[0]), false));
    return id == Recorder::kNoId ? ToJs(env, kNoMemory) : ToJs(env, id);
  }

  /// destroyBreaker(id)
  static napi_value Destroy(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.recorder_.Destroy(call.Uint32(0));
    return nullptr;
  }

  /// drain()
  static napi_value Drain(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.recorder_.Drain(call.now);
    return nullptr;
  }

  /// holdLoop()
  static napi_value HoldLoop(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.api.recorder_.HoldLoop();
    return nullptr;
  }

  /// admit(id, random): -1 refused, else the probe's number (kNoProbe for an ordinary call).
  static napi_value Admit(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    BreakerEntry& entry = call.Entry();
    const Period before = entry.breaker.period();
    const uint32_t participant = entry.shared != nullptr ? entry.shared->region().index() : 0;
    Admission admission = entry.breaker.Admit(call.now, call.Double(1), participant);
    if (!admission.admitted && entry.shared != nullptr &&
        StateOf(admission.period) == State::kHalfOpen &&
        entry.shared->home().EndLeasesOfTheDead(entry.shared->hot())) {
      admission = entry.breaker.Admit(call.now, call.Double(1), participant);
    }
    Recorder::AnnounceSince(entry, before);
    // Others may have moved the circuit on since: the call belongs to the period that admitted it.
    if (admission.admitted) *entry.cell = admission.period;
    return admission.admitted ? ToJs(env, admission.probe) : ToJs(env, -1.0);
  }

  /// abandon(id, period, probe)
  static napi_value Abandon(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    call.Entry().breaker.Abandon(call.Uint32(1), call.Uint32(2));
    return nullptr;
  }

  static napi_value Record(napi_env env, napi_callback_info info, bool failed) {
    Call<5> call(env, info);
    BreakerEntry& entry = call.Entry();
    Outcome outcome{failed, failed && call.Uint32(4) != 0, MicrosOfTicks(call.Uint32(1)),
                    call.Uint32(2), call.Uint32(3)};
    const Period before = entry.breaker.period();
    if (entry.shared != nullptr) {
      outcome.process = entry.shared->region().process();
      entry.local.Record(outcome, call.now);
    }
    const bool trips = entry.breaker.Record(outcome, call.now);
    Recorder::AnnounceSince(entry, before);
    return ToJs(env, trips);
  }

  /// success(id, ticks, period, probe): whether the caller must trip.
  static napi_value Success(napi_env env, napi_callback_info info) {
    return Record(env, info, false);
  }

  /// failure(id, ticks, period, probe, timedOut: 0 | 1): whether the caller must trip.
  static napi_value Failure(napi_env env, napi_callback_info info) {
    return Record(env, info, true);
  }

  /// trip(id, period, resetMin)
  static napi_value Trip(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    BreakerEntry& entry = call.Entry();
    const Period before = entry.breaker.period();
    entry.breaker.Trip(call.Uint32(1), FromMillis(call.Double(2)), call.now);
    Recorder::AnnounceSince(entry, before);
    return nullptr;
  }

  /// moveTo(id, state: 0 closed, 1 open, 2 half-open), by hand
  static napi_value MoveTo(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    BreakerEntry& entry = call.Entry();
    const Period before = entry.breaker.period();
    switch (static_cast<State>(call.Uint32(1))) {
      case State::kOpen:
        entry.breaker.Open(call.now);
        break;
      case State::kHalfOpen:
        entry.breaker.HalfOpen();
        break;
      default:
        entry.breaker.Close(call.now);
    }
    Recorder::AnnounceSince(entry, before);
    return nullptr;
  }

  /// forget(id)
  static napi_value Forget(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.Entry().breaker.Forget();
    return nullptr;
  }

  /// poll(id): half-opens an open circuit that is due; the milliseconds that are left otherwise.
  static napi_value Poll(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    BreakerEntry& entry = call.Entry();
    const Period before = entry.breaker.period();
    entry.breaker.Poll(call.now);
    Recorder::AnnounceSince(entry, before);
    const Micros left = entry.breaker.OpenFor(call.now);
    return ToJs(env, left >= kNever ? INFINITY : ToMillis(left));
  }

  /// openFor(id): the milliseconds until an open circuit may be tried, 0 for one that is not open
  static napi_value OpenFor(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    const Micros left = call.Entry().breaker.OpenFor(call.now);
    return ToJs(env, left >= kNever ? INFINITY : ToMillis(left));
  }

  /// transitions(id): how many there were since the last look. answer[0] is how many of them are
  /// forgotten, and the states that the others led to follow, oldest first. After a repair of a
  /// damaged state nobody knows: answer[0] is -1, and the present state follows.
  static napi_value Transitions(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    BreakerEntry& entry = call.Entry();
    const uint64_t repairs = entry.breaker.repairs();
    const bool repaired = repairs != entry.seen_repairs;
    entry.seen_repairs = repairs;
    uint32_t count;
    uint32_t known;
    // Others go on meanwhile: generation and states are of one moment only if it stays the same.
    uint32_t generation;
    do {
      generation = entry.breaker.generation();
      count = generation - entry.seen_generation;
      known = repaired ? 1 : std::min(count, kHistoryMax);
      for (uint32_t i = 0; i < known; ++i) {
        call.api.answer_[1 + i] = static_cast<double>(entry.breaker.StateBefore(known - 1 - i));
      }
    } while (entry.breaker.generation() != generation);
    call.api.answer_[0] = repaired ? -1.0 : count - known;
    entry.seen_generation += count;
    Recorder::Publish(entry);
    return ToJs(env, known);
  }

  /// hasFreeProbe(id)
  static napi_value HasFreeProbe(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.Entry().breaker.HasFreeProbe(call.now));
  }

  /// isWarming(id)
  static napi_value IsWarming(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.Entry().breaker.Warming(call.now));
  }

  /// epoch(id): the number of the present bucket
  static napi_value Epoch(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, call.Entry().breaker.Epoch(call.now));
  }

  /// rotate(id)
  static napi_value Rotate(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    call.Entry().breaker.Rotate();
    return nullptr;
  }

  /// count(id, counter, n)
  static napi_value Count(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    BreakerEntry& entry = call.Entry();
    const auto counter = static_cast<Counter>(call.Uint32(1));
    entry.breaker.Count(counter, call.Uint32(2), entry.breaker.Epoch(call.now));
    if (entry.shared != nullptr) {
      entry.local.Count(counter, call.Uint32(2), entry.local.Epoch(call.now));
    }
    return nullptr;
  }

  /// addLatency(id, ms, n)
  static napi_value AddLatency(napi_env env, napi_callback_info info) {
    Call<3> call(env, info);
    Breaker& breaker = call.Entry().breaker;
    breaker.AddLatency(call.Uint32(1), call.Uint32(2), breaker.Epoch(call.now));
    return nullptr;
  }

  /// stats(id, age): of the window (age -1; -2 what this environment alone has counted of a shared
  /// breaker) or of one bucket, into answer: the counters, the mean,
  /// the percentiles, then latencies, each `ms * 2^31 + count`. Returns how many of those.
  static napi_value Stats(napi_env env, napi_callback_info info) {
    Call<2> call(env, info);
    const BreakerEntry& entry = call.Entry();
    const Breaker& breaker = call.Double(1) == -2 ? entry.local : entry.breaker;
    const TimeWindow& window = breaker.window();
    const uint32_t epoch = breaker.Epoch(call.now);
    const bool whole = call.Double(1) < 0;
    const uint32_t age = whole ? 0 : call.Uint32(1);
    double* out = call.api.answer_.data();
    for (uint32_t i = 0; i < kCounters; ++i) {
      const auto counter = static_cast<Counter>(i);
      const uint64_t count =
          whole ? window.Sum(counter, epoch) : window.Bucket(counter, epoch, age);
      *out++ = static_cast<double>(count);
    }
    std::array<LatencyCount, kLatencyCells> storage;
    const size_t found =
        whole ? window.Latencies(epoch, storage) : window.BucketLatencies(epoch, age, storage);
    const std::span<const LatencyCount> latencies(storage.data(), found);
    const LatencySummary summary = Summarize(latencies);
    *out++ = summary.mean;
    for (const uint32_t ms : summary.percentiles) *out++ = ms;
    for (const LatencyCount& latency : latencies) {
      *out++ = latency.ms * kCountLimit + std::min<double>(latency.count, kCountLimit - 1);
    }
    return ToJs(env, static_cast<uint32_t>(found));
  }

  /// repairs(id): how often an impossible state was put right
  static napi_value Repairs(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, static_cast<double>(call.Entry().breaker.repairs()));
  }

  /// clockNow(): milliseconds
  static napi_value ClockNow(napi_env env, napi_callback_info info) {
    Call<1> call(env, info);
    return ToJs(env, ToMillis(call.now));
  }
};

BreakerApi::BreakerApi(Napi::Env env, Napi::Object exports, const EnvClock& clock)
    : recorder_(env, clock), shared_(env, exports, recorder_) {
  using F = BreakerFunctions;
  const std::pair<const char*, napi_callback> functions[] = {
      {"attachRecorder", F::Attach},
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
      {"count", F::Count},
      {"addLatency", F::AddLatency},
      {"stats", F::Stats},
      {"forget", F::Forget},
      {"repairs", F::Repairs},
      {"clockNow", F::ClockNow},
      {"epoch", F::Epoch},
  };
  for (const auto& [name, callback] : functions) Export(env, exports, name, callback, this);
}

}  // namespace sekering

// The core as WebAssembly, for where no addon loads: the functions that lib/base/wasm.js gives to
// the rest of the package under the names that the addon has. An instance of the module belongs to
// one environment, so its state is static.
//
// All arguments and results are doubles. Arrays of JavaScript are outside of this memory, so
// lib/base/wasm.js copies: calls into `ring`, configurations and rules into `rules`, the delays of
// a series into `delays` and out of it, what is answered out of `answer`, and the period of a
// breaker after each function that may have changed it. NaN means that our own JavaScript has
// called wrongly; `fault` then says how.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "core/breaker_config.h"
#include "core/breakers.h"
#include "core/chaos.h"
#include "core/hedge.h"
#include "core/limits.h"
#include "core/load_shedder.h"
#include "core/retry.h"

namespace sekering {
namespace {

/// The clock of JavaScript, in milliseconds.
extern "C" __attribute__((import_module("sekering"), import_name("now"))) double HostNow();

constexpr double kFault = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kRingWords = 4096;

/// What stats takes instead of a bucket's age.
constexpr double kWindow = -1;
constexpr double kOwnWindow = -2;

struct Environment {
  Breakers breakers;
  Limits limits;
  /// The time that a test set, or negative.
  Micros fixed = -1;
  const char* fault = "";

  int32_t head = 0;
  std::array<uint32_t, kRingWords> ring{};
  std::array<double, kStatsNumbersMax> answer{};
  std::array<double, std::max(kConfigFields, kRetryNumbers)> rules{};
  std::vector<double> delays;

  Environment() { breakers.AttachRing(&head, ring); }
};

Environment& Env() {
  static auto* const environment = new Environment;
  return *environment;
}

Micros Now() {
  const Micros fixed = Env().fixed;
  return fixed >= 0 ? fixed : FromMillis(HostNow());
}

double Fault(const char* message) {
  Env().fault = message;
  return kFault;
}

/// Modulo 2^32, as JavaScript's operators convert numbers.
uint32_t Uint32(double number) {
  if (!std::isfinite(number)) return 0;
  const double whole = std::fmod(std::trunc(number), 4294967296.0);
  return static_cast<uint32_t>(static_cast<int64_t>(whole));
}

/// A number that names something. What is not such a number names nothing.
uint32_t Id(double number) {
  const bool names = number >= 0 && number < UINT32_MAX && number == std::floor(number);
  return names ? static_cast<uint32_t>(number) : UINT32_MAX;
}

double Wait(Micros wait) {
  return wait >= kNever ? std::numeric_limits<double>::infinity() : ToMillis(wait);
}

/// Calls `use(breaker, now)` with the breaker of that number.
template <class Use>
double WithBreaker(double id, const Use& use) {
  const Micros now = Now();
  BreakerHandle* const breaker = Env().breakers.Find(Id(id), now);
  if (breaker == nullptr) return Fault("There is no breaker with this id");
  return use(*breaker, now);
}

template <class T, class Use>
double With(Ids<T> Limits::*table, double handle, const Use& use) {
  T* const found = (Env().limits.*table).Find(Id(handle));
  if (found == nullptr) return Fault("There is no limit with this handle");
  return use(*found);
}

template <class T>
double Destroy(Ids<T> Limits::*table, double handle) {
  return With(table, handle, [&](T&) {
    (Env().limits.*table).Destroy(Id(handle));
    return 0;
  });
}

double RecordOutcome(double id, double ticks, double period, double probe, bool failed,
                     bool timed_out) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    const Outcome outcome{.failed = failed,
                          .timed_out = timed_out,
                          .latency = MicrosOf(Ticks(Uint32(ticks))),
                          .period = Period(Uint32(period)),
                          .probe = Probe(Uint32(probe))};
    return breaker.Record(outcome, now);
  });
}

/// The first `count` of `rules`.
std::span<const double> Numbers(double count) {
  return {Env().rules.data(), std::min(size_t{Uint32(count)}, Env().rules.size())};
}

double NoRules() {
  return Fault("These are not rules of retries");
}

double Address(const void* memory) {
  return static_cast<double>(reinterpret_cast<uintptr_t>(memory));
}

}  // namespace

// ---- Memory ------------------------------------------------------------------------------------

#define SEKERING_EXPORT(name) extern "C" __attribute__((export_name(#name))) double name

SEKERING_EXPORT(headAddress)() {
  return Address(&Env().head);
}
SEKERING_EXPORT(ringAddress)() {
  return Address(Env().ring.data());
}
SEKERING_EXPORT(answerAddress)() {
  return Address(Env().answer.data());
}
SEKERING_EXPORT(rulesAddress)() {
  return Address(Env().rules.data());
}
SEKERING_EXPORT(faultAddress)() {
  return Address(Env().fault);
}

/// delaysAddress(count): of as many delays
SEKERING_EXPORT(delaysAddress)(double count) {
  Env().delays.resize(Uint32(count));
  return Address(Env().delays.data());
}

/// addPeriods(): the address of the periods of more breakers, 0 without memory
SEKERING_EXPORT(addPeriods)() {
  void* const memory = std::calloc(Breakers::kPeriodsPerChunk, sizeof(uint32_t));
  if (memory != nullptr) Env().breakers.AddPeriods(static_cast<uint32_t*>(memory));
  return Address(memory);
}

// ---- Time --------------------------------------------------------------------------------------

SEKERING_EXPORT(setClock)(double ms) {
  Env().fixed = ms >= 0 ? FromMillis(ms) : -1;
  return 0;
}

// ---- Breakers: binding/breaker_api.cc says what each does ---------------------------------------

/// createBreaker(count, windowOf): with the first `count` of `rules` as its configuration
SEKERING_EXPORT(createBreaker)(double count, double window_of) {
  const std::optional<BreakerConfig> config = BreakerConfigOf(Numbers(count), false);
  if (!config) return Fault("This is not the configuration of a breaker");
  Breakers& breakers = Env().breakers;
  const uint32_t owner = Id(window_of);
  const auto [id, error] = owner == SharedMemory::kNoId ? breakers.Create(*config, Now())
                                                        : breakers.CreateIn(owner, *config, Now());
  return error == CreateError::kNone ? static_cast<double>(id) : -static_cast<double>(error);
}

SEKERING_EXPORT(destroyBreaker)(double id) {
  if (Env().breakers.Destroy(Id(id), Now())) return 0;
  return Fault("There is no breaker with this id");
}

SEKERING_EXPORT(drain)() {
  Env().breakers.Drain(Now());
  return 0;
}

SEKERING_EXPORT(admit)(double id, double random) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    const Admission admission = breaker.Admit(now, random);
    return admission.admitted ? static_cast<double>(admission.probe.value()) : -1.0;
  });
}

SEKERING_EXPORT(abandon)(double id, double period, double probe) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros) {
    breaker.Abandon(Period(Uint32(period)), Probe(Uint32(probe)));
    return 0;
  });
}

SEKERING_EXPORT(success)(double id, double ticks, double period, double probe) {
  return RecordOutcome(id, ticks, period, probe, false, false);
}

SEKERING_EXPORT(failure)(double id, double ticks, double period, double probe, double timed_out) {
  return RecordOutcome(id, ticks, period, probe, true, Uint32(timed_out) != 0);
}

SEKERING_EXPORT(trip)(double id, double period, double reset_min) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    breaker.Trip(Period(Uint32(period)), FromMillis(reset_min), now);
    return 0;
  });
}

SEKERING_EXPORT(moveTo)(double id, double to) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    const uint32_t state = Id(to);
    if (state > static_cast<uint32_t>(State::kHalfOpen)) return Fault("No such state");
    breaker.MoveTo(static_cast<State>(state), now);
    return 0.0;
  });
}

SEKERING_EXPORT(forget)(double id) {
  return WithBreaker(id, [](BreakerHandle& breaker, Micros) {
    breaker.Forget();
    return 0;
  });
}

SEKERING_EXPORT(poll)(double id) {
  return WithBreaker(id,
                     [](BreakerHandle& breaker, Micros now) { return Wait(breaker.Poll(now)); });
}

SEKERING_EXPORT(openFor)(double id) {
  return WithBreaker(id,
                     [](BreakerHandle& breaker, Micros now) { return Wait(breaker.OpenFor(now)); });
}

SEKERING_EXPORT(transitions)(double id) {
  return WithBreaker(id, [](BreakerHandle& breaker, Micros) {
    const Transitions taken = breaker.TakeTransitions();
    auto& answer = Env().answer;
    answer[0] = taken.repaired ? -1.0 : taken.forgotten;
    for (uint32_t i = 0; i < taken.known; ++i) {
      answer[1 + i] = static_cast<double>(taken.states[i]);
    }
    return taken.known;
  });
}

SEKERING_EXPORT(hasFreeProbe)(double id) {
  return WithBreaker(id,
                     [](BreakerHandle& breaker, Micros now) { return breaker.HasFreeProbe(now); });
}

SEKERING_EXPORT(isWarming)(double id) {
  return WithBreaker(id, [](BreakerHandle& breaker, Micros now) { return breaker.Warming(now); });
}

SEKERING_EXPORT(epoch)(double id) {
  return WithBreaker(
      id, [](BreakerHandle& breaker, Micros now) { return breaker.EpochAt(now).value(); });
}

SEKERING_EXPORT(rotate)(double id) {
  return WithBreaker(id, [](BreakerHandle& breaker, Micros) {
    breaker.Rotate();
    return 0;
  });
}

/// configure(id, count): with the first `count` of `rules` as its configuration
SEKERING_EXPORT(configure)(double id, double count) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros) {
    const std::optional<BreakerConfig> config = BreakerConfigOf(Numbers(count), false);
    if (!config) return Fault("This is not the configuration of a breaker");
    breaker.Configure(*config);
    return 0.0;
  });
}

SEKERING_EXPORT(count)(double id, double counter, double n) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    if (Id(counter) >= kCounters) return Fault("No such counter");
    breaker.Add(static_cast<Counter>(Id(counter)), Count(Uint32(n)), now);
    return 0.0;
  });
}

SEKERING_EXPORT(addLatency)(double id, double ms, double n) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    breaker.AddLatency(Millis(Uint32(ms)), Count(Uint32(n)), now);
    return 0;
  });
}

SEKERING_EXPORT(bucketCount)(double id, double counter, double age) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    if (Id(counter) >= kCounters) return Fault("No such counter");
    const Count count = breaker.BucketCount(static_cast<Counter>(Id(counter)), Uint32(age), now);
    return static_cast<double>(count.value());
  });
}

SEKERING_EXPORT(setBucketCount)(double id, double counter, double age, double n) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    if (Id(counter) >= kCounters) return Fault("No such counter");
    breaker.SetBucketCount(static_cast<Counter>(Id(counter)), Uint32(age), Count(Uint32(n)), now);
    return 0.0;
  });
}

SEKERING_EXPORT(stats)(double id, double age) {
  return WithBreaker(id, [&](BreakerHandle& breaker, Micros now) {
    using Whose = BreakerHandle::Whose;
    static WindowStats stats;  // Too large for the stack.
    if (age == kWindow || age == kOwnWindow) {
      breaker.ReadWindow(age == kOwnWindow ? Whose::kOwn : Whose::kAll, now, &stats);
    } else {
      breaker.ReadBucket(Uint32(age), now, &stats);
    }
    WriteNumbers(stats, Env().answer.data());
    return static_cast<uint32_t>(stats.latency_count);
  });
}

SEKERING_EXPORT(repairs)(double id) {
  return WithBreaker(
      id, [](BreakerHandle& breaker, Micros) { return static_cast<double>(breaker.repairs()); });
}

// ---- Limits ------------------------------------------------------------------------------------

SEKERING_EXPORT(createBulkhead)(double capacity) {
  return Env().limits.CreateBulkhead(CountOf(capacity));
}

SEKERING_EXPORT(destroyBulkhead)(double handle) {
  return Destroy(&Limits::bulkheads, handle);
}

SEKERING_EXPORT(acquireBulkhead)(double handle) {
  return With(&Limits::bulkheads, handle, [](BulkheadHandle& each) { return each.TryAcquire(); });
}

SEKERING_EXPORT(acquireBulkheadForLine)(double handle) {
  return With(&Limits::bulkheads, handle,
              [](BulkheadHandle& each) { return each.TryAcquireForLine(Now()); });
}

SEKERING_EXPORT(mustYieldBulkhead)(double handle) {
  return With(&Limits::bulkheads, handle,
              [](BulkheadHandle& each) { return each.MustYield(Now()); });
}

SEKERING_EXPORT(releaseBulkhead)(double handle) {
  return With(&Limits::bulkheads, handle, [](BulkheadHandle& each) { return each.Release(); });
}

SEKERING_EXPORT(bulkheadInUse)(double handle) {
  return With(&Limits::bulkheads, handle,
              [](BulkheadHandle& each) { return static_cast<double>(each.InUse()); });
}

SEKERING_EXPORT(bulkheadHeld)(double handle) {
  return With(&Limits::bulkheads, handle,
              [](BulkheadHandle& each) { return static_cast<double>(each.Held()); });
}

SEKERING_EXPORT(bulkheadRepairs)(double handle) {
  return With(&Limits::bulkheads, handle, [](BulkheadHandle& each) { return each.Repairs(); });
}

SEKERING_EXPORT(createTokenBucket)(double limit, double interval_ms, double burst) {
  return Env().limits.token_buckets.Create(
      TokenRate::Make(CountOf(limit), FromMillis(interval_ms), CountOf(burst)));
}

SEKERING_EXPORT(destroyTokenBucket)(double handle) {
  return Destroy(&Limits::token_buckets, handle);
}

SEKERING_EXPORT(takeTokens)(double handle, double n) {
  return With(&Limits::token_buckets, handle, [&](TokenBucketHandle& bucket) {
    return Wait(bucket.state().TryTake(bucket.rate, Now(), CountOf(n)));
  });
}

SEKERING_EXPORT(waitForTokens)(double handle, double n) {
  return With(&Limits::token_buckets, handle, [&](TokenBucketHandle& bucket) {
    return Wait(bucket.state().Wait(bucket.rate, Now(), CountOf(n)));
  });
}

SEKERING_EXPORT(tokensAvailable)(double handle) {
  return With(&Limits::token_buckets, handle, [](TokenBucketHandle& bucket) {
    return bucket.state().Available(bucket.rate, Now());
  });
}

SEKERING_EXPORT(createRetryBudget)(double ratio, double reserve_per_second, double max) {
  return Env().limits.retry_budgets.Create(RetryRate::Make(ratio, reserve_per_second, max));
}

SEKERING_EXPORT(destroyRetryBudget)(double handle) {
  return Destroy(&Limits::retry_budgets, handle);
}

SEKERING_EXPORT(depositRetryBudget)(double handle) {
  return With(&Limits::retry_budgets, handle, [](RetryBudgetHandle& budget) {
    budget.state().Deposit(budget.rate);
    return 0;
  });
}

SEKERING_EXPORT(withdrawRetryBudget)(double handle) {
  return With(&Limits::retry_budgets, handle, [](RetryBudgetHandle& budget) {
    return budget.state().TryWithdraw(budget.rate, Now());
  });
}

SEKERING_EXPORT(retryBudgetBalance)(double handle) {
  return With(&Limits::retry_budgets, handle,
              [](RetryBudgetHandle& budget) { return budget.state().Balance(budget.rate, Now()); });
}

SEKERING_EXPORT(createAdaptiveLimit)
(double initial, double min, double max, double tolerance) {
  return Env().limits.adaptive_limits.Create(AdaptiveRules::Make(initial, min, max, tolerance));
}

SEKERING_EXPORT(destroyAdaptiveLimit)(double handle) {
  return Destroy(&Limits::adaptive_limits, handle);
}

SEKERING_EXPORT(beginAdaptive)(double handle) {
  return With(&Limits::adaptive_limits, handle, [](AdaptiveLimit& limit) {
    const std::optional<Ticket> ticket = limit.TryBegin();
    return ticket ? static_cast<double>(ticket->value()) : -1.0;
  });
}

SEKERING_EXPORT(endAdaptive)(double handle, double ticket, double end, double latency_ms) {
  return With(&Limits::adaptive_limits, handle, [&](AdaptiveLimit& limit) {
    if (Id(end) >= kCallEnds) return Fault("No such end of a call");
    const bool ran =
        limit.End(Ticket(Uint32(ticket)), static_cast<CallEnd>(Id(end)), FromMillis(latency_ms));
    return static_cast<double>(ran);
  });
}

SEKERING_EXPORT(adaptiveLimit)(double handle) {
  return With(&Limits::adaptive_limits, handle, [](AdaptiveLimit& each) { return each.limit(); });
}

SEKERING_EXPORT(adaptiveActive)(double handle) {
  return With(&Limits::adaptive_limits, handle, [](AdaptiveLimit& each) { return each.active(); });
}

SEKERING_EXPORT(adaptiveBaseLatency)(double handle) {
  return With(&Limits::adaptive_limits, handle,
              [](AdaptiveLimit& each) { return ToMillis(each.base_latency()); });
}

// ---- Faults ------------------------------------------------------------------------------------

/// createFaultInjector(seed): with the faults in `delays`
SEKERING_EXPORT(createFaultInjector)(double seed) {
  const std::optional<uint64_t> start = SeedOf(seed);
  std::optional<std::vector<InjectedFault>> faults = FaultsOf(Env().delays);
  if (!start || !faults) return Fault("These are not faults");
  return Env().limits.fault_injectors.Create(*start, *std::move(faults));
}

SEKERING_EXPORT(destroyFaultInjector)(double handle) {
  return Destroy(&Limits::fault_injectors, handle);
}

SEKERING_EXPORT(nextFault)(double handle) {
  return With(&Limits::fault_injectors, handle, [](FaultInjector& injector) {
    const uint32_t fault = injector.Next();
    return fault == FaultInjector::kNone ? -1.0 : static_cast<double>(fault);
  });
}

SEKERING_EXPORT(faultDelay)(double handle) {
  return With(&Limits::fault_injectors, handle,
              [](FaultInjector& injector) { return injector.delay_ms(); });
}

SEKERING_EXPORT(faultCount)(double handle, double fault) {
  return With(&Limits::fault_injectors, handle, [&](FaultInjector& injector) {
    const auto faults = injector.faults();
    const uint32_t id = Id(fault);
    return static_cast<double>(id < faults.size() ? faults[id].count : injector.calls());
  });
}

// ---- Hedges ------------------------------------------------------------------------------------

SEKERING_EXPORT(createHedgeDelay)(double quantile, double min_ms, double max_ms) {
  const std::optional<HedgeRules> rules = HedgeRulesOf(quantile, min_ms, max_ms);
  if (!rules) return Fault("These are not rules of hedges");
  return Env().limits.hedge_delays.Create(*rules);
}

SEKERING_EXPORT(destroyHedgeDelay)(double handle) {
  return Destroy(&Limits::hedge_delays, handle);
}

SEKERING_EXPORT(hedgeDelay)(double handle) {
  return With(&Limits::hedge_delays, handle, [](HedgeDelay& delay) { return delay.DelayMs(); });
}

SEKERING_EXPORT(addHedgeLatency)(double handle, double ms) {
  return With(&Limits::hedge_delays, handle, [&](HedgeDelay& delay) {
    delay.Add(LatencyMs(FromMillis(ms)));
    return 0;
  });
}

// ---- Load shedders -----------------------------------------------------------------------------

SEKERING_EXPORT(createLoadShedder)(double max_delay_ms) {
  const Micros target = FromMillis(max_delay_ms);
  if (target <= 0) return Fault("This is not a delay");
  return Env().limits.load_shedders.Create(target);
}

SEKERING_EXPORT(destroyLoadShedder)(double handle) {
  return Destroy(&Limits::load_shedders, handle);
}

SEKERING_EXPORT(addLoopDelay)(double handle, double ms) {
  return With(&Limits::load_shedders, handle, [&](LoadShedder& shedder) {
    shedder.AddDelay(FromMillis(ms));
    return 0;
  });
}

SEKERING_EXPORT(admitLoad)(double handle, double priority) {
  return With(&Limits::load_shedders, handle, [&](LoadShedder& shedder) {
    const uint32_t id = Id(priority);
    if (id >= LoadShedder::kPriorities) return Fault("This is not a priority");
    return shedder.Admit(id) ? 1.0 : 0.0;
  });
}

SEKERING_EXPORT(loadPressure)(double handle) {
  return With(&Limits::load_shedders, handle,
              [](LoadShedder& shedder) { return static_cast<double>(shedder.pressure()); });
}

SEKERING_EXPORT(loadDelay)(double handle) {
  return With(&Limits::load_shedders, handle,
              [](LoadShedder& shedder) { return ToMillis(shedder.delay()); });
}

// ---- Retries -----------------------------------------------------------------------------------

// The first `count` of `rules` are the rules.

SEKERING_EXPORT(backoffDelay)(double count, double retry, double random, double previous) {
  const std::optional<RetryRules> rules = RetryRulesOf(Numbers(count));
  return rules ? BackoffDelayMs(rules->backoff, retry, random, previous) : NoRules();
}

SEKERING_EXPORT(delaysInAdvance)(double retries, double forever) {
  return DelaysInAdvance(retries, Uint32(forever) != 0);
}

SEKERING_EXPORT(drawDelays)(double count) {
  const std::optional<RetryRules> rules = RetryRulesOf(Numbers(count));
  if (!rules) return NoRules();
  DrawDelays(rules->backoff, Env().delays);
  return 0;
}

SEKERING_EXPORT(decideRetry)
(double count, double attempt, double elapsed, double retryable, double retry_after, double budget,
 double random, double left) {
  const std::optional<RetryRules> rules = RetryRulesOf(Numbers(count));
  if (!rules || Id(budget) >= kBudgetVerdicts) return NoRules();
  const FailedAttempt failed{.number = attempt,
                             .elapsed_ms = elapsed,
                             .retryable = Uint32(retryable) != 0,
                             .retry_after_ms = retry_after,
                             .budget = static_cast<BudgetVerdict>(Id(budget)),
                             .left_ms = left,
                             .random = random};
  const auto [step, delay_ms] = DecideRetry(*rules, Env().delays, failed);
  return step == RetryStep::kWait ? delay_ms : -static_cast<double>(step);
}

}  // namespace sekering

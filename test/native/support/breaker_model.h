// What a breaker must do, written as plainly as possible: lists of what happened, numbers that do
// not wrap, and a new record for each period, so that nothing of one can reach into the next.

#ifndef SEKERING_TEST_SUPPORT_BREAKER_MODEL_H_
#define SEKERING_TEST_SUPPORT_BREAKER_MODEL_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "core/breaker.h"
#include "support/window_model.h"

namespace sekering {

class BreakerModel {
 public:
  /// A call as it was admitted, or a refusal.
  struct Call {
    bool admitted;
    uint64_t generation;
    State state;
    int probe;  // 0: an ordinary call
  };

  BreakerModel(const BreakerConfig& config, Micros now, uint64_t generation)
      : config_(config), born_(now), window_(config.buckets), first_generation_(generation) {
    Enter(State::kClosed);
  }

  State state() const { return states_.back(); }
  uint64_t generation() const { return first_generation_ + states_.size() - 1; }
  State StateBefore(uint32_t age) const {
    return age < states_.size() ? states_[states_.size() - 1 - age] : State::kClosed;
  }
  int64_t Epoch(Micros now) const {
    if (config_.bucket_length == 0) return rotations_;
    // Those who share a breaker count buckets from the clock's zero, the others from its birth.
    const Micros age = config_.shared ? now : now - born_;
    return std::max<Micros>(age, 0) / config_.bucket_length;
  }
  bool Warming(Micros now) const { return config_.warm_up > 0 && now < born_ + config_.warm_up; }
  const WindowModel& window() const { return window_; }

  // ---- Transitions ---------------------------------------------------------------------------

  bool Open(Micros now) { return state() != State::kOpen && OpenNow(0, now); }
  bool Close(Micros now) {
    return (state() == State::kOpen || state() == State::kHalfOpen) && CloseNow(now);
  }
  bool HalfOpen() { return state() != State::kHalfOpen && Enter(State::kHalfOpen); }
  bool Trip(const Call& call, Micros reset_min, Micros now) {
    return call.generation == generation() && state() != State::kOpen && OpenNow(reset_min, now);
  }
  bool Poll(Micros now) {
    if (state() != State::kOpen || OpenFor(now) != 0) return false;
    return config_.success_threshold == 0 ? CloseNow(now) : Enter(State::kHalfOpen);
  }
  Micros OpenFor(Micros now) const {
    if (state() != State::kOpen) return 0;
    return present_.open_until >= kLastMoment ? kNever
                                              : std::max<Micros>(present_.open_until - now, 0);
  }

  // ---- Admission -----------------------------------------------------------------------------

  Call Admit(Micros now, double random) {
    Poll(now);
    if (state() == State::kRamping) {
      const Micros age = now - present_.ramp_began;
      if (age >= config_.ramp_up) {
        Enter(State::kClosed);
      } else {
        const double share = static_cast<double>(age) / static_cast<double>(config_.ramp_up);
        return {random < 0.1 || random < share, generation(), state(), 0};
      }
    }
    if (state() == State::kClosed) return {true, generation(), state(), 0};
    if (state() == State::kOpen) return {false, generation(), state(), 0};
    const int probe = TakeLease(now);
    return {probe != 0, generation(), state(), probe};
  }
  bool HasFreeProbe(Micros now) const {
    return state() == State::kHalfOpen && FreeLease(now) < config_.half_open_probes;
  }
  void Abandon(const Call& call) {
    for (Lease& lease : present_.leases) {
      if (lease.probe == call.probe) lease = {};
    }
  }

  // ---- Outcomes ------------------------------------------------------------------------------

  void Count(Counter counter, uint32_t count, Micros now) {
    window_.Add(counter, Epoch(now), count);
    if (counter == Counter::kFailures) failures_.push_back({Epoch(now), count, false});
  }
  void CountSuccesses(uint32_t count, Micros now) {
    Count(Counter::kSuccesses, count, now);
    present_.failures_in_a_row = 0;
    for (uint32_t i = 0; i < count; ++i) last_calls_.push_back({false, false});
  }

  bool Record(const Call& call, bool failed, bool timed_out, Micros latency, Micros now) {
    const bool slow = latency >= config_.slow_call;
    if (timed_out) Count(Counter::kTimeouts, 1, now);
    Count(failed ? Counter::kFailures : Counter::kSuccesses, 1, now);
    if (slow) Count(Counter::kSlowCalls, 1, now);
    const auto ms = static_cast<uint32_t>(std::min<Micros>((latency + 500) / 1000, UINT32_MAX));
    if (config_.percentiles) window_.AddLatency(ms, Epoch(now), timed_out ? 2 : 1);

    if (call.generation != generation()) return false;
    if (state() == State::kHalfOpen) {
      if (failed) return true;
      Abandon(call);
      if (++present_.probes_won >= config_.success_threshold) CloseNow(now);
      return false;
    }
    last_calls_.push_back({failed, slow});
    present_.failures_in_a_row = failed ? present_.failures_in_a_row + 1 : 0;
    const bool matters = failed || slow;
    return matters && state() != State::kOpen && !Warming(now) && MustTrip(now);
  }

  void Rotate() { ++rotations_; }
  void Forget() {
    window_.Zero();
    failures_.clear();
    last_calls_.clear();
    present_.failures_in_a_row = 0;
    trips_in_a_row_ = 0;
  }

 private:
  /// Times are kept in 48 bits: what is later means never.
  static constexpr Micros kLastMoment = (Micros{1} << 48) - 1;

  struct Lease {
    int probe = 0;
    Micros deadline = 0;
    /// A lease ends with the millisecond of its deadline.
    bool Holds(Micros now) const { return probe != 0 && now / 1000 <= deadline / 1000; }
  };
  struct Failures {
    int64_t epoch;
    uint32_t count;
    bool before_closing;
  };
  struct LastCall {
    bool failed;
    bool slow;
  };
  /// All that belongs to one period.
  struct Present {
    Micros open_until = 0;
    Micros ramp_began = 0;
    uint32_t failures_in_a_row = 0;
    uint32_t probes_won = 0;
    std::vector<Lease> leases;
  };

  bool Enter(State state) {
    states_.push_back(state);
    present_ = {};
    present_.leases.resize(config_.half_open_probes);
    return true;
  }

  bool OpenNow(Micros reset_min, Micros now) {
    ++trips_in_a_row_;
    auto wait = static_cast<double>(config_.reset_initial);
    for (uint32_t i = 1; i < trips_in_a_row_; ++i) wait *= config_.reset_factor;
    const Micros reset = wait < static_cast<double>(config_.reset_max) ? static_cast<Micros>(wait)
                                                                       : config_.reset_max;
    Enter(State::kOpen);
    present_.open_until = now + std::max(reset, std::min(reset_min, kResetMinMax));
    return true;
  }

  bool CloseNow(Micros now) {
    trips_in_a_row_ = 0;
    for (Failures& failures : failures_) failures.before_closing = true;
    last_calls_.clear();
    Enter(config_.ramp_up > 0 ? State::kRamping : State::kClosed);
    present_.ramp_began = now;
    return true;
  }

  uint32_t FreeLease(Micros now) const {
    uint32_t i = 0;
    while (i < config_.half_open_probes && present_.leases[i].Holds(now)) ++i;
    return i;
  }
  int TakeLease(Micros now) {
    const uint32_t free = FreeLease(now);
    if (free == config_.half_open_probes) return 0;
    present_.leases[free] = {++probes_, now + config_.probe_lease};
    return probes_;
  }

  static bool IsAbove(uint64_t part, uint64_t whole, double percentage) {
    return percentage >= 0 && part > 0 &&
           (whole == 0 ||
            static_cast<double>(part) / static_cast<double>(whole) * 100 > percentage);
  }
  static bool IsAtLeast(uint64_t part, uint64_t whole, double percentage) {
    return percentage >= 0 && whole > 0 &&
           static_cast<double>(part) / static_cast<double>(whole) * 100 >= percentage;
  }

  bool MustTrip(Micros now) const {
    const TripRules& rules = config_.rules;
    const auto sum = [&](Counter counter) { return window_.Sum(counter, Epoch(now)); };
    if (rules.consecutive_failures > 0 &&
        present_.failures_in_a_row >= rules.consecutive_failures) {
      return true;
    }
    if (sum(Counter::kFires) < rules.volume_threshold) return false;
    if (rules.failure_count > 0 && FailuresSinceClosing(now) >= rules.failure_count) return true;
    if (rules.sliding_window_size > 0) return LastCallsTrip();
    const uint64_t completed = sum(Counter::kFailures) + sum(Counter::kSuccesses);
    return IsAbove(sum(Counter::kFailures), sum(Counter::kFires),
                   rules.error_threshold_percentage) ||
           IsAtLeast(sum(Counter::kSlowCalls), completed, rules.slow_call_threshold_percentage);
  }

  uint64_t FailuresSinceClosing(Micros now) const {
    uint64_t sum = 0;
    for (const Failures& failures : failures_) {
      const bool in_window = failures.epoch > Epoch(now) - config_.buckets;
      if (in_window && !failures.before_closing) sum += failures.count;
    }
    return sum;
  }

  bool LastCallsTrip() const {
    const TripRules& rules = config_.rules;
    const size_t size = std::min<size_t>(last_calls_.size(), rules.sliding_window_size);
    uint64_t failed = 0;
    uint64_t slow = 0;
    for (size_t i = last_calls_.size() - size; i < last_calls_.size(); ++i) {
      failed += last_calls_[i].failed;
      slow += last_calls_[i].slow;
    }
    return size >= rules.minimum_calls &&
           (IsAbove(failed, size, rules.error_threshold_percentage) ||
            IsAtLeast(slow, size, rules.slow_call_threshold_percentage));
  }

  BreakerConfig config_;
  Micros born_;
  WindowModel window_;
  std::vector<Failures> failures_;
  std::vector<LastCall> last_calls_;
  uint64_t first_generation_;
  std::vector<State> states_;
  Present present_;
  uint32_t trips_in_a_row_ = 0;
  int64_t rotations_ = 0;
  int probes_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_BREAKER_MODEL_H_

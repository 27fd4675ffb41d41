// A shared breaker, a clock and a few participants with short programs, for the explorer. What must
// hold in every state is checked here; what must hold at the end of a program is each test's.

#ifndef SEKERING_TEST_SUPPORT_BREAKER_PROTOCOL_H_
#define SEKERING_TEST_SUPPORT_BREAKER_PROTOCOL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/breaker.h"
#include "core/leases.h"
#include "core/words.h"
#include "support/explorer.h"

namespace sekering {

enum class Op : uint8_t {
  kFire,     // counts a call
  kAdmit,    // may it pass? If not, the program ends
  kSucceed,  // what was admitted
  kFail,     // what was admitted; trips if that is called for
  kAbandon,  // what was admitted
  kPoll,
  kOpen,
  kClose,
  kHalfOpen,
  kRotate,
  kTick,  // time passes
  kReap,  // ends the leases of `after`, if nobody holds its place
  kJoin,  // takes a dead one's place, and ends the leases that it finds there
};

struct Program {
  std::vector<Op> ops;
  /// A process of its own, unless told: a successor has the place of one that died.
  int place = -1;
  /// Begins once this one is dead.
  int after = -1;
  bool mortal = false;
};

/// What a participant carries from one operation to the next.
struct Caller {
  uint64_t period = 0;
  uint64_t probe = kNoProbe.value();
  uint64_t until = 0;  // when the probe's lease ends
  bool admitted = false;
  bool refused = false;

  uint64_t Hash(uint64_t hash) const {
    hash = Mix(hash, period << 32 | probe);
    return Mix(hash, until << 2 | admitted << 1 | refused);
  }
};

class Protocol {
 public:
  using Local = Caller;
  /// Of the last operation's steps of a participant: undone with them.
  struct Ghost {
    uint32_t transitions = 0;
    bool claims = false;
  };

  static constexpr Micros kStart = 1'000'000;
  static constexpr size_t kWordsMax = 256;

  /// The usual configuration: shared, small, trips by what the test sets.
  static BreakerConfig Config() {
    BreakerConfig config;
    config.shared = true;
    config.percentiles = false;
    config.buckets = 2;
    config.bucket_length = 1'000'000;
    config.reset_initial = config.reset_max = 10'000;
    config.probe_lease = 5'000;
    return config;
  }

  Protocol(const BreakerConfig& config, std::vector<Program> programs)
      : programs_(std::move(programs)),
        runners_(programs_.size()),
        ghosts_(programs_.size()),
        breaker_(config, hot(), nullptr),
        count_(2 + Breaker::HotCells(config)) {
    EXPECT_LE(count_, kWordsMax);
    clock().store(kStart);
    breaker_.Initialize(kStart);
  }

  // What the tests set before, and read in the end.
  Micros tick = 6'000;
  std::function<void()> at_end = [] {};
  std::function<void()> always = [] {};
  Breaker& breaker() { return breaker_; }
  SteppedCell& clock() { return words_[0]; }
  BreakerMemory& memory() { return *InPlace<BreakerMemory>(hot()); }
  Micros now() { return static_cast<Micros>(clock().load()); }
  State state() { return StateOf(breaker_.period()); }
  uint64_t Sum(Counter counter) { return breaker_.window().Sum(counter, breaker_.EpochAt(now())); }
  /// A circuit that has just become half-open.
  void BeginHalfOpen() {
    breaker_.Open(now());
    breaker_.HalfOpen();
  }

  /// Walks through all orders, or those with a few interruptions.
  void Explore(uint32_t interruptions_max = kAnyNumber) {
    Explorer<Protocol> explorer(*this, runners_);
    explorer.Explore(interruptions_max);
    if (failed()) ADD_FAILURE() << "by this way:\n" << explorer.story();
    EXPECT_GT(explorer.states(), 20u);
    ::testing::Test::RecordProperty("states", std::to_string(explorer.states()));
  }

  // ---- For the explorer
  // --------------------------------------------------------------------------

  uint64_t* words() { return reinterpret_cast<uint64_t*>(words_.data()); }
  size_t count() const { return count_; }
  bool failed() const { return ::testing::Test::HasFailure(); }
  bool Mortal(size_t i) const { return programs_[i].mortal; }
  bool Waits(size_t i) const {
    return programs_[i].after >= 0 && !runners_[programs_[i].after].dead;
  }
  bool Ended(size_t i, const Runner<Caller>& runner) const {
    return runner.local.refused || runner.at == programs_[i].ops.size();
  }

  void Perform(size_t i, uint32_t at, Caller& self) {
    const Op op = programs_[i].ops[at];
    if (op == Op::kTick) {
      clock().fetch_add(static_cast<uint64_t>(tick));
      return;
    }
    if (op == Op::kReap || op == Op::kJoin) {
      EndLeases(Place(programs_[i].after), op == Op::kJoin);
      return;
    }
    ghosts_[i].claims = Act(i, op, self, now());
  }

  Ghost Stepped(size_t i, const Step& step, bool finished) {
    const Ghost before = ghosts_[i];
    const auto* state = reinterpret_cast<const uint64_t*>(&memory().state);
    if (step.word == state && step.before != *state) {
      ghosts_[i].transitions += IsStateWord(step.before);  // A repair is claimed by nobody.
      CheckTransition(step.before, *state);
    }
    if (finished) {
      CheckClaims(programs_[i].ops[runners_[i].at - 1], ghosts_[i]);
      ghosts_[i] = {};
    }
    return before;
  }
  void Unstep(size_t i, Ghost ghost) { ghosts_[i] = ghost; }

  void Check() {
    CheckHolders();
    always();
    CheckRevival();
  }
  void CheckEnd() { at_end(); }

 private:
  SteppedCell* hot() { return words_.data() + 2; }
  /// Whether the place of the participant that died has been taken.
  SteppedCell& taken() { return words_[1]; }

  uint32_t Place(int i) const {
    return static_cast<uint32_t>(programs_[i].place >= 0 ? programs_[i].place : i);
  }

  /// As participants of a region do it: the kernel is asked about each lease that is found.
  void EndLeases(uint32_t place, bool joins) {
    const auto is_dead = [&](Participant participant) {
      return participant == Participant(place) && (joins || taken().load() == 0);
    };
    if (joins) taken().store(1);
    sekering::EndLeases(hot(), is_dead);
  }

  /// Returns what the operation claims to have changed.
  bool Act(size_t i, Op op, Caller& self, Micros now) {
    const Period period(static_cast<uint32_t>(self.period));
    const Probe probe(static_cast<uint32_t>(self.probe));
    const auto place = Place(static_cast<int>(i));
    switch (op) {
      case Op::kFire:
        breaker_.Add(Counter::kFires, breaker_.EpochAt(now), Count(1));
        return false;
      case Op::kAdmit: {
        const Admission call = breaker_.Admit(now, 0.5, Participant(place));
        self = {call.period.value(), call.probe.value(),
                static_cast<uint64_t>(now + breaker_.config().probe_lease), call.admitted,
                !call.admitted};
        return false;
      }
      case Op::kSucceed:
        self = {};
        breaker_.Record({false, false, 0, period, probe, Process(place + 1)}, now);
        return false;
      case Op::kFail:
        self = {};
        return breaker_.Record({true, false, 0, period, probe, Process(place + 1)}, now) &&
               breaker_.Trip(period, 0, now);
      case Op::kAbandon:
        self = {};
        breaker_.Abandon(period, probe);
        return false;
      case Op::kPoll:
        return breaker_.Poll(now);
      case Op::kOpen:
        return breaker_.Open(now);
      case Op::kClose:
        return breaker_.Close(now);
      case Op::kHalfOpen:
        return breaker_.HalfOpen();
      default:
        breaker_.Rotate();
        return false;
    }
  }

  /// The generation goes up by one, the history has one state more, and the step is one that a
  /// circuit can take.
  static void CheckTransition(uint64_t before, uint64_t after) {
    const auto generation = static_cast<uint32_t>(before >> 32);
    // What damage leaves is a half-open circuit without a past.
    const uint32_t history = IsStateWord(before) ? static_cast<uint32_t>(before) : 0;
    const uint32_t state = after & 3;
    EXPECT_EQ(after, StateWord(Generation(generation + 1), history << 2 | state));
    EXPECT_TRUE(!IsStateWord(before) || (before & 3) != state);
  }

  /// Whoever changed the state says so, and nobody else does.
  static void CheckClaims(Op op, const Ghost& ghost) {
    switch (op) {
      case Op::kFail:
      case Op::kPoll:
      case Op::kOpen:
      case Op::kClose:
      case Op::kHalfOpen:
        EXPECT_EQ(ghost.transitions, ghost.claims ? 1u : 0u);
        break;
      case Op::kAdmit:  // By its poll, or as the last of a ramp.
        EXPECT_LE(ghost.transitions, 2u);
        break;
      case Op::kSucceed:
        EXPECT_LE(ghost.transitions, 1u);
        break;
      default:
        EXPECT_EQ(ghost.transitions, 0u);
    }
  }

  /// Of the living, no more probe in one period than may, within their leases; and nobody passes an
  /// open circuit, or a half-open one without a lease.
  void CheckHolders() {
    const auto time = static_cast<uint64_t>(now());
    for (const Runner<Caller>& one : runners_) {
      if (!one.local.admitted) continue;
      const State state = StateOf(Period(static_cast<uint32_t>(one.local.period)));
      EXPECT_NE(state, State::kOpen);
      EXPECT_EQ(state == State::kHalfOpen, one.local.probe != kNoProbe.value());
      uint32_t holders = 0;
      for (const Runner<Caller>& other : runners_) {
        holders += IsProbing(other, time) && other.local.period == one.local.period;
      }
      EXPECT_LE(holders, breaker_.config().half_open_probes) << "at " << time;
    }
  }

  /// Admitted as a probe, and nothing done towards settling yet.
  static bool IsProbing(const Runner<Caller>& one, uint64_t time) {
    return one.local.admitted && one.local.probe != kNoProbe.value() && !one.dead &&
           one.answers.empty() && time < one.local.until;
  }

  /// If everybody stopped for ever here and now, a newcomer would find its way: the dead are
  /// reaped, time passes, and calls that succeed close the circuit; calls that fail open it again.
  void CheckRevival() {
    const std::array<uint64_t, kWordsMax> saved = Save();
    const BreakerConfig& config = breaker_.config();
    sekering::EndLeases(hot(), [](Participant) { return true; });
    Micros time = now() + kFar;
    const uint32_t tries_max = config.success_threshold + 4;
    for (uint32_t i = 0; i < tries_max && state() != State::kClosed; ++i, time += kFar) {
      const State before = state();
      const Admission call = breaker_.Admit(time, 0.999, kNewcomer);
      if (before != State::kOpen) {
        EXPECT_TRUE(call.admitted) << "wedged";
      }
      if (call.admitted)
        breaker_.Record({false, false, 0, call.period, call.probe, Process(99)}, time);
    }
    EXPECT_EQ(state(), State::kClosed) << "wedged";
    breaker_.Trip(breaker_.period(), 0, time);
    EXPECT_EQ(state(), State::kOpen);
    EXPECT_LE(breaker_.OpenFor(time), config.reset_max);
    std::copy_n(saved.begin(), count_, words());
  }

  std::array<uint64_t, kWordsMax> Save() {
    std::array<uint64_t, kWordsMax> saved;
    std::copy_n(words(), count_, saved.begin());
    return saved;
  }

  static constexpr Micros kFar = 1'000'000'000;
  static constexpr Participant kNewcomer{77};

  std::vector<Program> programs_;
  std::vector<Runner<Caller>> runners_;
  std::vector<Ghost> ghosts_;
  std::array<SteppedCell, kWordsMax> words_{};
  Breaker breaker_;
  size_t count_;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_BREAKER_PROTOCOL_H_

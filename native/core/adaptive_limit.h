// How many calls may run at once, found from their latency: an upstream that gets slower under our
// load gets fewer calls, and one with room gets more.
//
// The algorithm is the gradient of Netflix's concurrency-limits (Gradient2Limit; "Performance Under
// Load", 2018), with the base latency of Envoy's adaptive concurrency filter:
//
//   gradient = clamp(tolerance * base / latency, 1/2, 1)
//   target   = limit * gradient + sqrt(limit)
//   limit    = (limit + target) / 2
//
// sqrt(limit) is the room for growth and for a short queue: in an upstream that can do C calls at
// once, the limit settles at tolerance * C + sqrt(limit). Why not the others: Gradient2 itself
// compares with a long average of the latency, which follows an upstream that stays slow, so the
// limit drifts up to its maximum. Vegas compares with the smallest latency ever seen, so an
// upstream whose latencies vary by themselves looks overloaded. Here both sides of the fraction are
// means of the same kind, and the base is measured while few calls run, as in Envoy.
//
// **Rounds.** All decisions are made at the end of a round, and see only what began in it: calls
// from before the last change say nothing about the present limit. The first calls of a round, as
// many as the limit (20 to 200), are its cohort. A round ends when 9/10 of the cohort have ended.
// The rest are the slowest, and are left out: a few slow or hanging calls decide nothing. (If more
// hang, the round ends once ten times as many calls have ended as the cohort has.) No time is
// involved, so the pace is that of the upstream.
//
// **Base latency.** A round in which at most a quarter of the limit was in use measures it. If
// there is none, a *probe* does: a round with a quarter of the limit. A probe is made only while
// more than half of the limit is in use, and only after the first round, when the limit has halved
// or doubled since the base was measured, or after a round that was too slow by a base of 50 rounds
// ago. So the base follows an upstream that has become slower or faster by itself, but not one that
// is slow because of us.
//
// **Drops.** Calls that the upstream was too busy for have no latency. If a part d of the round was
// dropped, the limit is multiplied by 1 - d/2 as well, as DCTCP does (RFC 8257), and sqrt(limit) by
// 1 - d.
//
// **Use.** The limit grows only after a round in which more than half of it was in use.

#ifndef SEKERING_CORE_ADAPTIVE_LIMIT_H_
#define SEKERING_CORE_ADAPTIVE_LIMIT_H_

#include <cstdint>
#include <optional>

#include "core/units.h"

namespace sekering {

struct AdaptiveRules {
  static constexpr double kLimitMax = 1e6;
  static constexpr double kToleranceMax = 1000;

  /// Arguments outside of 1 to kLimitMax, or of 1 to kToleranceMax, count as the nearest number
  /// within (NaN as 1), a max below min as min, and an initial limit beyond either as that one.
  static AdaptiveRules Make(double initial, double min, double max, double tolerance) noexcept;

  double initial = 20;
  double min = 1;
  double max = 200;
  double tolerance = 1.25;
};

/// The round whose cohort a call belongs to, or 0: its end says nothing.
using Ticket = Strong<struct TicketTag>;

/// JavaScript has the same numbers (lib/primitives/limits.js).
enum class CallEnd : uint8_t {
  kSuccess = 0,  // after its latency
  kDrop = 1,     // it timed out, or the upstream had no room for it
  kIgnored = 2,  // anything else, which says nothing about the load
};
inline constexpr uint32_t kCallEnds = 3;

class AdaptiveLimit {
 public:
  explicit AdaptiveLimit(const AdaptiveRules& rules) noexcept;

  /// A call begins, unless as many run as may.
  std::optional<Ticket> TryBegin() noexcept;

  /// A call that has begun ends. `latency` counts for successes. False, and no change, if no call
  /// runs.
  bool End(Ticket ticket, CallEnd end, Micros latency) noexcept;

  uint32_t limit() const noexcept { return static_cast<uint32_t>(limit_); }
  uint32_t active() const noexcept { return active_; }
  /// How many calls may run now: the limit, or less in a probe.
  uint32_t places() const noexcept;
  /// 0 while it is unknown.
  Micros base_latency() const noexcept { return static_cast<Micros>(base_); }

 private:
  struct Round {
    Ticket number{1};
    bool probe = false;
    /// Of the cohort: how many it has, have begun, and have ended.
    uint32_t size = 0;
    uint32_t begun = 0;
    uint32_t settled = 0;
    /// Among these.
    uint32_t successes = 0;
    uint32_t drops = 0;
    double latencies = 0;
    /// The most that ran when one of its calls began.
    uint32_t peak = 0;
    /// Calls that have ended, of whatever round.
    uint32_t ended = 0;
  };

  void BeginRound(Ticket number, bool probe) noexcept;
  void CloseRound() noexcept;

  AdaptiveRules rules_;
  /// With fractions.
  double limit_;
  uint32_t active_ = 0;
  /// In microseconds; 0 while it is unknown.
  double base_ = 0;
  /// The limit when the base was measured, and the rounds since.
  double measured_at_;
  uint32_t rounds_since_ = 0;
  Round round_;
};

}  // namespace sekering

#endif  // SEKERING_CORE_ADAPTIVE_LIMIT_H_

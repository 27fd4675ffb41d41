#include "core/adaptive_limit.h"

#include <algorithm>
#include <cmath>

namespace sekering {
namespace {

constexpr uint32_t kCohortMin = 20;
constexpr uint32_t kCohortMax = 200;
/// The slowest part of a cohort that is left out: one in so many.
constexpr uint32_t kSlowest = 10;
/// A round ends at the latest when so many times its cohort have ended.
constexpr uint32_t kEndedMax = 10;
/// After so many rounds, one with a high latency lets the base be measured again.
constexpr uint32_t kRoundsMax = 50;
/// The part of the limit that measures the base.
constexpr double kQuiet = 4;
constexpr double kSmoothing = 0.5;
constexpr double kGradientMin = 0.5;
/// Below that, latencies say more about this process than about the upstream. In microseconds.
constexpr double kBaseMin = 100;

double Within(double number, double min, double max) noexcept {
  return number >= min ? std::min(number, max) : min;  // NaN is min, too.
}

Ticket After(Ticket number) noexcept {
  return Ticket(std::max(number.value() + 1, uint32_t{1}));  // 0 means no round.
}

}  // namespace

AdaptiveRules AdaptiveRules::Make(double initial, double min, double max,
                                  double tolerance) noexcept {
  AdaptiveRules rules;
  rules.min = Within(min, 1, kLimitMax);
  rules.max = Within(max, rules.min, kLimitMax);
  rules.initial = Within(initial, rules.min, rules.max);
  rules.tolerance = Within(tolerance, 1, kToleranceMax);
  return rules;
}

AdaptiveLimit::AdaptiveLimit(const AdaptiveRules& rules) noexcept
    : rules_(rules), limit_(rules.initial), measured_at_(rules.initial) {
  BeginRound(Ticket(1), false);
}

uint32_t AdaptiveLimit::places() const noexcept {
  const double places = round_.probe ? std::max(limit_ / kQuiet, rules_.min) : limit_;
  return static_cast<uint32_t>(places);
}

std::optional<Ticket> AdaptiveLimit::TryBegin() noexcept {
  if (active_ >= places()) return std::nullopt;
  ++active_;
  round_.peak = std::max(round_.peak, active_);
  if (round_.begun == round_.size) return Ticket(0);
  ++round_.begun;
  return round_.number;
}

bool AdaptiveLimit::End(Ticket ticket, CallEnd end, Micros latency) noexcept {
  if (active_ == 0) return false;
  --active_;
  ++round_.ended;
  if (ticket == round_.number) {
    ++round_.settled;
    if (end == CallEnd::kSuccess) {
      ++round_.successes;
      round_.latencies += static_cast<double>(std::clamp<Micros>(latency, 0, kNever));
    } else if (end == CallEnd::kDrop) {
      ++round_.drops;
    }
  }
  const uint32_t enough = round_.size - round_.size / kSlowest;
  if (round_.settled >= enough || round_.ended >= kEndedMax * round_.size) CloseRound();
  return true;
}

void AdaptiveLimit::BeginRound(Ticket number, bool probe) noexcept {
  round_ =
      Round{.number = number, .probe = probe, .size = std::clamp(limit(), kCohortMin, kCohortMax)};
}

void AdaptiveLimit::CloseRound() noexcept {
  const auto& [number, probe, size, begun, settled, successes, drops, latencies, peak, ended] =
      round_;
  const bool quiet = probe || peak <= limit_ / kQuiet;
  const bool used = !probe && peak > limit_ / 2;
  const bool first = base_ == 0;
  const double latency = successes > 0 ? latencies / successes : 0;
  if (successes > 0 && (quiet || first)) base_ = std::max(latency, kBaseMin);

  const uint32_t count = successes + drops;
  const double dropped = count > 0 ? static_cast<double>(drops) / count : 0;
  const double allowed = rules_.tolerance * base_;
  const bool slow = latency > allowed;
  const double gradient = slow ? std::max(allowed / latency, kGradientMin) : 1;
  const double room = used && count > 0 ? std::sqrt(limit_) * (1 - dropped) : 0;
  const double next = limit_ * gradient * (1 - dropped / 2) + room;
  limit_ = std::clamp(limit_ + (next - limit_) * kSmoothing, rules_.min, rules_.max);

  ++rounds_since_;
  if (quiet) {
    rounds_since_ = 0;
    measured_at_ = limit_;
  }
  const bool moved = limit_ <= measured_at_ / 2 || limit_ >= measured_at_ * 2;
  const bool due = first || moved || (slow && rounds_since_ >= kRoundsMax);
  BeginRound(After(number), used && due);
}

}  // namespace sekering

#include "core/permits.h"

#include <numeric>

namespace sekering {

template class Bulkhead<1>;

namespace {

// Bounds that keep every sum of ticks below 2^64: the time (2^52 microseconds, 142 years, at most
// 2^10 ticks each), a full bucket (2^61), the cost of a demand (2^62), and what a clock may go
// backwards (2^36).
constexpr Micros kTimeMax = Micros{1} << 52;
constexpr uint64_t kTicksPerMicroMax = 1 << 10;
constexpr uint64_t kToleranceMax = uint64_t{1} << 61;
constexpr uint64_t kDemandMax = uint64_t{1} << 62;

constexpr uint64_t kTokenUnit = 1'000'000'000;

uint64_t TimeOf(Micros now) noexcept {
  return static_cast<uint64_t>(std::clamp<Micros>(now, 0, kTimeMax));
}

/// Rounded up: after that long the tokens are there, not just before.
Micros MicrosOf(uint64_t ticks, uint64_t ticks_per_micro) noexcept {
  const uint64_t micros = ticks / ticks_per_micro + (ticks % ticks_per_micro != 0 ? 1 : 0);
  return std::min(static_cast<Micros>(micros), kNever);
}

double WithinTokens(double tokens) noexcept {
  return tokens > 0 ? std::min(tokens, RetryRate::kTokensMax) : 0;  // NaN is 0 too.
}

}  // namespace

TokenRate TokenRate::Make(uint64_t limit, Micros interval, uint64_t burst) noexcept {
  TokenRate rate;
  limit = std::min(limit, kLimitMax);
  if (limit == 0 || burst == 0) return rate;  // Tolerates not even one token's cost.
  const uint64_t length = static_cast<uint64_t>(std::clamp<Micros>(interval, 1, kIntervalMax));
  const uint64_t divisor = std::gcd(limit, length);
  rate.ticks_per_micro_ = limit / divisor;
  rate.cost_ = length / divisor;
  if (rate.ticks_per_micro_ > kTicksPerMicroMax) {
    rate.ticks_per_micro_ = kTicksPerMicroMax;
    rate.cost_ = std::max<uint64_t>(length * kTicksPerMicroMax / limit, 1);
  }
  rate.tolerance_ = std::min(burst, kToleranceMax / rate.cost_) * rate.cost_;
  return rate;
}

Micros TokenBucket::TryTake(const TokenRate& rate, Micros now, uint64_t n) noexcept {
  if (n > rate.burst()) return kNever;
  const uint64_t time = TimeOf(now) * rate.ticks_per_micro_;
  const uint64_t empty = time + rate.tolerance_;
  const uint64_t damaged = empty + kBackwardsMax * rate.ticks_per_micro_;
  uint64_t seen = full_at_.load();
  for (;;) {
    if (seen > damaged) {
      if (full_at_.compare_exchange_weak(seen, empty)) seen = empty;
      continue;
    }
    const uint64_t next = std::max(seen, time) + n * rate.cost_;
    if (next > empty && n > 0) {
      return MicrosOf(next - empty, rate.ticks_per_micro_);
    }
    if (full_at_.compare_exchange_weak(seen, next)) return 0;
  }
}

Micros TokenBucket::Wait(const TokenRate& rate, Micros now, uint64_t n) const noexcept {
  if (rate.tolerance_ == 0 || n > kDemandMax / rate.cost_) return kNever;
  const uint64_t time = TimeOf(now) * rate.ticks_per_micro_;
  const uint64_t empty = time + rate.tolerance_;
  const uint64_t seen = full_at_.load();
  const bool damaged = seen > empty + kBackwardsMax * rate.ticks_per_micro_;
  const uint64_t next = (damaged ? empty : std::max(seen, time)) + n * rate.cost_;
  if (next <= empty || n == 0) return 0;
  return MicrosOf(next - empty, rate.ticks_per_micro_);
}

double TokenBucket::Available(const TokenRate& rate, Micros now) const noexcept {
  const uint64_t time = TimeOf(now) * rate.ticks_per_micro_;
  const uint64_t empty = time + rate.tolerance_;
  const uint64_t seen = std::max(full_at_.load(), time);
  if (seen >= empty) return 0;
  return static_cast<double>(empty - seen) / static_cast<double>(rate.cost_);
}

RetryRate RetryRate::Make(double ratio, double reserve_per_second, double max) noexcept {
  constexpr double kUnit = static_cast<double>(kTokenUnit);
  constexpr Micros kThousandSeconds = 1'000'000'000;
  RetryRate rate;
  // Rounded up, so that three deposits of a third are a token; but a sum such as 0.1 * 1e9 is not
  // to be rounded up for the last bit of its floating-point value.
  rate.deposit_ = static_cast<uint64_t>(std::ceil(WithinTokens(ratio) * kUnit - 1e-3));
  rate.max_ = static_cast<uint64_t>(WithinTokens(max) * kUnit);
  const double reserve = std::min(WithinTokens(reserve_per_second), TokenRate::kLimitMax / 1e3);
  rate.reserve_ = TokenRate::Make(static_cast<uint64_t>(std::llround(reserve * 1e3)),
                                  kThousandSeconds, static_cast<uint64_t>(std::ceil(reserve)));
  return rate;
}

void RetryBudget::Deposit(const RetryRate& rate) noexcept {
  uint64_t seen = earned_.load();
  for (;;) {
    const uint64_t next = std::min(std::min(seen, rate.max_) + rate.deposit_, rate.max_);
    if (next == seen || earned_.compare_exchange_weak(seen, next)) return;
  }
}

bool RetryBudget::TryWithdraw(const RetryRate& rate, Micros now) noexcept {
  if (reserve_.TryTake(rate.reserve_, now) == 0) return true;
  uint64_t seen = earned_.load();
  for (;;) {
    const uint64_t earned = std::min(seen, rate.max_);
    if (earned < kTokenUnit) return false;
    if (earned_.compare_exchange_weak(seen, earned - kTokenUnit)) return true;
  }
}

double RetryBudget::Balance(const RetryRate& rate, Micros now) const noexcept {
  const uint64_t earned = std::min(earned_.load(), rate.max_);
  return static_cast<double>(earned) / static_cast<double>(kTokenUnit) +
         reserve_.Available(rate.reserve_, now);
}

}  // namespace sekering

#include "core/chaos.h"

#include <cmath>

namespace sekering {
namespace {

constexpr double kSeedMax = 9007199254740991.0;  // 2^53 - 1, the largest safe integer.
/// Rates such as 0.8, 0.05, 0.05 and 0.1 add up to 1, but their doubles to more.
constexpr double kRatesMax = 1.0 + 1e-9;

bool IsWhole(double ms) {
  return ms >= 0 && ms == std::floor(ms);
}

bool IsFault(const InjectedFault& fault) {
  if (!(fault.rate >= 0 && fault.rate <= 1)) return false;
  if (!IsWhole(fault.delay_ms_min) || !IsWhole(fault.delay_ms_max)) return false;
  return fault.delay_ms_min == fault.delay_ms_max ||
         (fault.delay_ms_min < fault.delay_ms_max && std::isfinite(fault.delay_ms_max));
}

}  // namespace

double FaultInjector::Draw() noexcept {
  // SplitMix64: any seed will do, and so few operations that a test can check each number.
  state_ += 0x9E3779B97F4A7C15;
  uint64_t mixed = state_;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
  mixed ^= mixed >> 31;
  return static_cast<double>(mixed >> 11) * 0x1p-53;
}

uint32_t FaultInjector::Next() noexcept {
  const double chosen = Draw();
  const double within = Draw();
  ++calls_;
  double rates = 0;
  for (uint32_t i = 0; i < faults_.size(); ++i) {
    InjectedFault& fault = faults_[i];
    rates += fault.rate;
    if (chosen >= rates) continue;
    ++fault.count;
    delay_ms_ = fault.delay_ms_min;
    if (fault.delay_ms_max > fault.delay_ms_min) {
      // No sum within floor(): a fused multiplication would give other numbers on some platforms.
      const double choices = fault.delay_ms_max - fault.delay_ms_min + 1;
      delay_ms_ += std::floor(within * choices);
    }
    return i;
  }
  delay_ms_ = 0;
  return kNone;
}

std::optional<std::vector<InjectedFault>> FaultsOf(std::span<const double> numbers) {
  if (numbers.empty() || numbers.size() % kFaultNumbers != 0) return std::nullopt;
  std::vector<InjectedFault> faults;
  double rates = 0;
  for (size_t i = 0; i < numbers.size(); i += kFaultNumbers) {
    const InjectedFault fault{
        .rate = numbers[i], .delay_ms_min = numbers[i + 1], .delay_ms_max = numbers[i + 2]};
    if (!IsFault(fault)) return std::nullopt;
    rates += fault.rate;
    faults.push_back(fault);
  }
  if (rates > kRatesMax) return std::nullopt;
  return faults;
}

std::optional<uint64_t> SeedOf(double number) noexcept {
  if (!IsWhole(number) || number > kSeedMax) return std::nullopt;
  return static_cast<uint64_t>(number);
}

}  // namespace sekering

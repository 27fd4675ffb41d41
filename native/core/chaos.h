// Faults that are injected on purpose: which calls get one, which one, and for how long it delays.
//
// The same seed gives the same faults, on every platform. Each call draws two numbers, whatever
// becomes of it: so other delays do not change which calls get a fault.

#ifndef SEKERING_CORE_CHAOS_H_
#define SEKERING_CORE_CHAOS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace sekering {

struct InjectedFault {
  /// Share of the calls, from 0 to 1. Those of all faults add up to 1 at most, since a call gets
  /// one fault or none.
  double rate = 0;
  /// The delay is a whole number of milliseconds between these. If they are equal it may be
  /// infinite: the call hangs.
  double delay_ms_min = 0;
  double delay_ms_max = 0;
  /// How many calls got it.
  uint64_t count = 0;
};

class FaultInjector {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  FaultInjector(uint64_t seed, std::vector<InjectedFault> faults) noexcept
      : state_(seed), faults_(std::move(faults)) {}

  /// The number of the fault that the next call gets; kNone if it gets none.
  uint32_t Next() noexcept;

  /// How long that fault delays the call.
  double delay_ms() const noexcept { return delay_ms_; }

  uint64_t calls() const noexcept { return calls_; }
  std::span<const InjectedFault> faults() const noexcept { return faults_; }

 private:
  /// In [0, 1).
  double Draw() noexcept;

  uint64_t state_;
  uint64_t calls_ = 0;
  double delay_ms_ = 0;
  std::vector<InjectedFault> faults_;
};

// ---- Faults as numbers -------------------------------------------------------------------------

/// Faults as JavaScript passes them (lib/primitives/chaos.js): rate, least delay, greatest delay of
/// each. Nothing if the numbers are not faults.
std::optional<std::vector<InjectedFault>> FaultsOf(std::span<const double> numbers);
inline constexpr size_t kFaultNumbers = 3;

/// A seed as JavaScript passes it: a whole number from 0 to 2^53 - 1.
std::optional<uint64_t> SeedOf(double number) noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_CHAOS_H_

// Which calls a process that is overloaded still takes: those of high priority.
//
// What is overloaded shows in the delay of the event loop: how late its timers fire. As in CoDel
// (RFC 8289), a delay counts only while it lasts: of two measurements in a row, the smaller one is
// compared with a target, so one long turn changes nothing. While it is above the target, the
// pressure rises, the faster the later the loop is; otherwise it falls. As in Netflix's prioritized
// load shedding ("Enhancing Netflix Reliability with Service-Level Prioritized Load Shedding",
// 2024), the pressure reaches the lowest priority first: of priority p, the part clamp(pressure -
// p, 0, 1) is shed. The highest priority is never shed.

#ifndef SEKERING_CORE_LOAD_SHEDDER_H_
#define SEKERING_CORE_LOAD_SHEDDER_H_

#include <array>
#include <cstdint>

#include "core/units.h"

namespace sekering {

class LoadShedder {
 public:
  static constexpr uint32_t kPriorities = 10;
  /// The pressure is counted in thousandths: so it is the same on every processor.
  static constexpr int64_t kOne = 1000;
  static constexpr int64_t kPressureMax = (kPriorities - 1) * kOne;
  /// How much the pressure changes with a measurement.
  static constexpr int64_t kRiseMin = 100;
  static constexpr int64_t kRiseMax = kOne;
  static constexpr int64_t kFall = 250;

  /// The longest delay that is no overload, above 0.
  explicit LoadShedder(Micros target) noexcept : target_(target) {}

  /// The event loop was so late.
  void AddDelay(Micros delay) noexcept;

  /// Whether a call of this priority, below kPriorities, is taken. Those that are not are spread
  /// evenly.
  bool Admit(uint32_t priority) noexcept;

  /// 0 to kPressureMax.
  int64_t pressure() const noexcept { return pressure_; }
  /// The last one.
  Micros delay() const noexcept { return delay_; }

 private:
  Micros target_;
  Micros delay_ = 0;
  int64_t pressure_ = 0;
  /// By priority: the part of a call that is still to be shed.
  std::array<int64_t, kPriorities> owed_{};
};

}  // namespace sekering

#endif  // SEKERING_CORE_LOAD_SHEDDER_H_

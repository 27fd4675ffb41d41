#include "core/load_shedder.h"

#include <algorithm>
#include <cassert>

namespace sekering {

void LoadShedder::AddDelay(Micros delay) noexcept {
  const Micros lasting = std::min(delay_, delay);
  delay_ = delay;
  int64_t change = -kFall;
  if (lasting > target_) {
    // The longest rise is at three times the target.
    const Micros excess = std::min(lasting - target_, 2 * target_);
    change = std::max(excess * kRiseMax / (2 * target_), kRiseMin);
  }
  pressure_ = std::clamp<int64_t>(pressure_ + change, 0, kPressureMax);
}

bool LoadShedder::Admit(uint32_t priority) noexcept {
  assert(priority < kPriorities);
  int64_t& owed = owed_[priority];
  const int64_t share = pressure_ - priority * kOne;
  if (share <= 0) {
    owed = 0;
    return true;
  }
  owed += std::min(share, kOne);
  if (owed < kOne) return true;
  owed -= kOne;
  return false;
}

}  // namespace sekering

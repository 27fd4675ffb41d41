#include "binding/shared_record.h"

#include "binding/shared.h"

namespace sekering {

Region& SharedRecord::region() const {
  return home_.region;
}

void SharedRecord::FollowMove() {
  const Cell* const before = at_.hot;
  const Attachment now = region().Reattach(key_, at_);
  if (now.error != RegionError::kNone || *now.description != key_.description) {
    alone_ = true;
    return;
  }
  at_ = now;
  if (at_.hot != before && on_move_ != nullptr) on_move_(user_, *this);
}

}  // namespace sekering

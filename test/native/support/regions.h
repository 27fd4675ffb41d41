// Small records in a region, and its bell.

#ifndef SEKERING_TEST_SUPPORT_REGIONS_H_
#define SEKERING_TEST_SUPPORT_REGIONS_H_

#include <poll.h>
#include <sys/socket.h>

#include <string>
#include <utility>

#include "core/region.h"

namespace sekering {

inline constexpr uint32_t kKind = 1;

inline RecordKey Key(std::string name, size_t hot_cells = 8, size_t cold_cells = 8) {
  return {kKind, std::move(name), Description{}, hot_cells, cold_cells};
}
inline Attachment Attach(Region& region, std::string name, size_t hot_cells = 8,
                         size_t cold_cells = 8) {
  return region.Attach(Key(std::move(name), hot_cells, cold_cells));
}

/// Takes what has arrived at its bell: how many datagrams.
inline int Rings(const Region& region) {
  int rings = 0;
  char byte;
  while (recv(region.bell(), &byte, 1, MSG_DONTWAIT) >= 0) ++rings;
  return rings;
}

inline bool IsRung(const Region& region, int wait_ms = 0) {
  pollfd bell{region.bell(), POLLIN, 0};
  return poll(&bell, 1, wait_ms) == 1;
}

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_REGIONS_H_

// The word of memory that processes share. A build that checks the protocol, access by access, puts
// another type in its place.

#ifndef SEKERING_CORE_CELL_H_
#define SEKERING_CORE_CELL_H_

#include <atomic>
#include <cstdint>

#ifdef SEKERING_CELL_HEADER
#include SEKERING_CELL_HEADER
#else
namespace sekering {
using Cell = std::atomic<uint64_t>;
}
#endif

namespace sekering {
static_assert(Cell::is_always_lock_free && sizeof(Cell) == 8);
}

#endif  // SEKERING_CORE_CELL_H_

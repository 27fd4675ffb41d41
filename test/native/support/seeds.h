// How many seeds a random test tries: fewer under a sanitizer, more on request.

#ifndef SEKERING_TEST_SUPPORT_SEEDS_H_
#define SEKERING_TEST_SUPPORT_SEEDS_H_

#include <cstdint>
#include <cstdlib>

namespace sekering {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr uint32_t kSanitizerSlowdown = 8;
#else
inline constexpr uint32_t kSanitizerSlowdown = 1;
#endif

/// `usual` seeds, times SEKERING_TEST_EFFORT where that is set (a long search for faults).
inline uint32_t Seeds(uint32_t usual) {
  const char* const effort = std::getenv("SEKERING_TEST_EFFORT");
  const long factor = effort == nullptr ? 1 : std::strtol(effort, nullptr, 10);
  return usual / kSanitizerSlowdown * static_cast<uint32_t>(factor > 0 ? factor : 1);
}

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_SEEDS_H_

#ifdef _WIN32

#include <cstdio>
#include <cstdlib>

#include "core/host.h"
#include "core/windows_user.h"

namespace sekering {

Process CurrentProcess() noexcept {
  return Process(static_cast<uint32_t>(GetCurrentProcessId()));
}

std::string HostName() {
  const WindowsUser user;
  char name[16];
  std::snprintf(name, sizeof name, "0-%08x", static_cast<unsigned>(user.Hash()));
  return name;
}

uint64_t StartOf(Process) noexcept {
  return 0;
}

uint64_t RandomNumber() noexcept {
  unsigned high = 0;
  unsigned low = 0;
  while ((high | low) == 0) {
    if (rand_s(&high) != 0 || rand_s(&low) != 0) return 0;
  }
  return uint64_t{high} << 32 | low;
}

}  // namespace sekering

#endif  // _WIN32

// Linux and macOS.

#ifndef _WIN32

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/host.h"

#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace sekering {

Process CurrentProcess() noexcept {
  return Process(static_cast<uint32_t>(getpid()));
}

uint64_t RandomNumber() noexcept {
  // Not getrandom(), which older C libraries do not have.
  const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  uint64_t number = 0;
  while (number == 0) {
    if (read(fd, &number, sizeof number) != sizeof number) break;
  }
  close(fd);
  return number;
}

#ifdef __APPLE__

std::string HostName() {
  char session[64] = "";
  size_t size = sizeof session - 1;
  sysctlbyname("kern.bootsessionuuid", session, &size, nullptr, 0);
  char name[16];
  std::snprintf(name, sizeof name, "0-%08lx", std::strtoul(session, nullptr, 16));
  return name;
}

uint64_t StartOf(Process process) noexcept {
  int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, static_cast<int>(process.value())};
  kinfo_proc info{};
  size_t size = sizeof info;
  if (sysctl(name, 4, &info, &size, nullptr, 0) != 0 || size == 0) return 0;
  const timeval& start = info.kp_proc.p_starttime;
  return static_cast<uint64_t>(start.tv_sec) * 1'000'000 + static_cast<uint64_t>(start.tv_usec);
}

#else

namespace {

/// The first bytes of a file; none if it cannot be read.
std::string ContentOf(const char* path) {
  char content[1024];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  const ssize_t bytes = read(fd, content, sizeof content);
  close(fd);
  return bytes > 0 ? std::string(content, static_cast<size_t>(bytes)) : "";
}

}  // namespace

std::string HostName() {
  char link[64] = "";  // pid:[4026531836]
  if (readlink("/proc/self/ns/pid", link, sizeof link - 1) < 0) link[0] = '\0';
  const char* const number = std::strchr(link, '[');
  const unsigned long long space = number == nullptr ? 0 : std::strtoull(number + 1, nullptr, 10);
  return std::to_string(space) + '-' + ContentOf("/proc/sys/kernel/random/boot_id").substr(0, 8);
}

uint64_t StartOf(Process process) noexcept {
  // That of its main thread: in the file of the process, emulators (QEMU) tell each thread about
  // itself. The program's name, in parentheses, may contain anything.
  const std::string id = std::to_string(process.value());
  const std::string stat = ContentOf(("/proc/" + id + "/task/" + id + "/stat").c_str());
  size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(stat.c_str() + at, nullptr, 10);
}

#endif

}  // namespace sekering

#endif  // !_WIN32

// What the operating system tells of this machine and of its processes.

#ifndef SEKERING_CORE_HOST_H_
#define SEKERING_CORE_HOST_H_

#include <cstdint>
#include <string>

#include "core/units.h"

namespace sekering {

Process CurrentProcess() noexcept;

/// With whom this process can share memory, as "<decimal>-<hexadecimal>". It differs for each boot
/// of the machine, as times count from it, and on Linux for each process namespace, as containers
/// may have a folder in common. On Windows, where no memory outlives its processes, it stands for
/// the user.
std::string HostName();

/// When a process began, in a unit of the system, since the number of a process is used again. 0 if
/// there is no such process; on Windows always.
uint64_t StartOf(Process process) noexcept;

/// 0, with errno, if the system has no random numbers for us.
uint64_t RandomNumber() noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_HOST_H_

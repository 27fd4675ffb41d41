// How participants wake each other's loops (binding/waker.h).
//
// On Linux and macOS each has a datagram socket, which its loop watches; a participant with news
// sends a datagram to the sockets of the others. On Windows each has an event with a name, which
// ends with its participant.
//
// A datagram says nothing but "look". Its content is never read, so its sender and number do not
// matter. The sockets have names in the folder of the regions, which only their user can enter, so
// nobody else can ring them. A name leads to its socket from every container that shares the
// folder. The number in it is random; participants find it in the region.
//
// The socket of a dead process leaves its name behind. RemoveDead tells, as the kernel connects
// nobody to it.

#ifndef SEKERING_CORE_DOORBELL_H_
#define SEKERING_CORE_DOORBELL_H_

#include <cstdint>
#include <string>

namespace sekering {

#ifdef _WIN32
using BellHandle = void*;  // An event.
#else
using BellHandle = int;  // A file descriptor.
#endif

class Doorbell {
 public:
  /// In front of the number, 16 hexadecimal digits. lib/base/regions.js has the same.
  static constexpr char kPrefix[] = "sekering-bell-";

  Doorbell() = default;
  ~Doorbell() { Close(); }
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  /// False, with errno, if there can be no socket in this folder: ENAMETOOLONG if its path has more
  /// bytes than an address can hold.
  bool Open(std::string folder) noexcept;
  void Close() noexcept;
  /// Takes the name of its socket away. It can still ring others.
  void Hide() noexcept;

  /// Readable or set once another participant has rung, until Silence.
  BellHandle handle() const { return handle_; }
  /// 0 before Open.
  uint64_t name() const { return name_; }

  /// Takes what has arrived. Look for news afterwards, so that a ring in between is not missed.
  void Silence() noexcept;

  /// Rings the bell of that name in the same folder. Whether it is ringing now: false if there is
  /// none any more, or if it cannot be rung from here.
  bool Ring(uint64_t name) noexcept;

  /// Removes a socket of ours that no process has open any more. False if there is none of that
  /// path, or if it is younger than a minute: a process may be about to finish it.
  static bool RemoveDead(const char* path) noexcept;

 private:
  uint64_t name_ = 0;
#ifdef _WIN32
  BellHandle handle_ = nullptr;
#else
  BellHandle handle_ = -1;
  std::string folder_;
  int sender_ = -1;
#endif
};

}  // namespace sekering

#endif  // SEKERING_CORE_DOORBELL_H_

// How participants wake each other's loops. Each has a datagram socket, which its loop watches
// (binding/waker.h); a participant with news sends a datagram to the sockets of the others.
//
// A datagram says nothing but "look". Its content is never read, so its sender and number do not
// matter. The sockets are in the abstract namespace: they vanish with their process, however it
// dies, and leave no file behind. The name is random, so that no other process can take it first;
// participants find it in the region.
//
// Abstract names belong to a network namespace. A participant that shares the memory, but not the
// network, is not woken: it learns what has happened when it makes calls.

#ifndef SEKERING_CORE_DOORBELL_H_
#define SEKERING_CORE_DOORBELL_H_

#include <cstdint>

namespace sekering {

class Doorbell {
 public:
  Doorbell() = default;
  ~Doorbell();
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  /// False, with errno, if there is no socket.
  bool Open() noexcept;
  void Close() noexcept;

  /// Readable once another participant has rung, until Silence.
  int fd() const { return fd_; }
  /// 0 before Open.
  uint64_t name() const { return name_; }

  /// Takes what has arrived. Look for news afterwards, so that a ring in between is not missed.
  void Silence() noexcept;

  /// Rings the bell of that name, if there still is one.
  void Ring(uint64_t name) noexcept;

 private:
  int fd_ = -1;
  int sender_ = -1;
  uint64_t name_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_DOORBELL_H_

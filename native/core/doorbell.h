// How participants wake each other's loops: each has a datagram socket, which its loop watches
// (binding/waker.h), and whoever has news sends a datagram to those of the others.
//
// A datagram says nothing but "look", and nobody believes it more than that. Its content is never
// read, so it matters neither who sent it nor how many there are. The sockets are in the abstract
// namespace: they vanish with their process, however it dies, and leave no file behind. The name is
// random, so that nobody else can take it first; participants find it in the region.
//
// Abstract names are those of a network namespace. Who shares the memory, but not the network, is
// not woken: he learns what has happened when he makes calls.

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

  /// False, with errno, when there is no socket to be had.
  bool Open() noexcept;
  void Close() noexcept;

  /// Readable once somebody has rung, until Silence.
  int fd() const { return fd_; }
  /// 0 before Open.
  uint64_t name() const { return name_; }

  /// Takes what has arrived. What it was about is looked at afterwards, so that who rings meanwhile
  /// is not missed.
  void Silence() noexcept;

  /// Rings another's bell, if there still is one of that name.
  void Ring(uint64_t name) noexcept;

 private:
  int fd_ = -1;
  int sender_ = -1;
  uint64_t name_ = 0;
};

}  // namespace sekering

#endif  // SEKERING_CORE_DOORBELL_H_

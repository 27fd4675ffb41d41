#include "core/doorbell.h"

#ifdef __linux__
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#endif

namespace sekering {

Doorbell::~Doorbell() {
  Close();
}

#ifdef __linux__

namespace {

struct Address {
  sockaddr_un address{};
  socklen_t length;

  explicit Address(uint64_t name) {
    address.sun_family = AF_UNIX;
    // The first byte is 0: an abstract name.
    const int written = std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
                                      "sekering-%016llx", static_cast<unsigned long long>(name));
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + written);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

int NewSocket() {
  return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

bool Send(int sender, const Address& to) {
  return sendto(sender, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, to.get(), to.length) == 1;
}

}  // namespace

bool Doorbell::Open() noexcept {
  fd_ = NewSocket();
  sender_ = NewSocket();
  if (fd_ < 0 || sender_ < 0) return false;
  uint64_t name = 0;
  while (name == 0) {
    if (getrandom(&name, sizeof name, 0) != sizeof name && errno != EINTR) return false;
  }
  const Address own(name);
  if (bind(fd_, own.get(), own.length) != 0) return false;
  name_ = name;
  return true;
}

void Doorbell::Close() noexcept {
  if (fd_ >= 0) close(fd_);
  if (sender_ >= 0) close(sender_);
  fd_ = sender_ = -1;
  name_ = 0;
}

void Doorbell::Silence() noexcept {
  // If more than these have arrived, the socket is readable again.
  char byte;
  for (int taken = 0; taken < 64 && recv(fd_, &byte, 1, MSG_DONTWAIT) >= 0; ++taken) {
  }
}

void Doorbell::Ring(uint64_t name) noexcept {
  const Address to(name);
  if (Send(sender_, to) || errno != EAGAIN) return;
  // Either the receiver's queue is full: then it has yet to look. Or ours is full of datagrams to
  // stopped processes: a new socket has none of those.
  const int fresh = NewSocket();
  if (fresh < 0) return;
  close(sender_);
  sender_ = fresh;
  Send(sender_, to);
}

#else

bool Doorbell::Open() noexcept {
  return false;
}
void Doorbell::Close() noexcept {}
void Doorbell::Silence() noexcept {}
void Doorbell::Ring(uint64_t) noexcept {}

#endif

}  // namespace sekering

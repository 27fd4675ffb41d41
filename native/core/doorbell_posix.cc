// Linux and macOS.

#ifndef _WIN32

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <utility>

#include "core/doorbell.h"
#include "core/host.h"

namespace sekering {

namespace {

// A process gives its socket a name in microseconds, unless it is stopped just then.
constexpr time_t kFinishedAfterS = 60;

class Address {
 public:
  explicit Address(const char* path) { Set("%s", path); }
  Address(const std::string& folder, uint64_t name) {
    Set("%s%s%016llx", folder.c_str(), Doorbell::kPrefix, static_cast<unsigned long long>(name));
  }

  /// False, with errno, if the path has more bytes than an address.
  bool Fits() const {
    if (!fits_) errno = ENAMETOOLONG;
    return fits_;
  }
  const char* path() const { return address_.sun_path; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  static constexpr socklen_t size() { return sizeof(sockaddr_un); }

 private:
  template <class... Parts>
  void Set(const char* format, Parts... parts) {
    address_.sun_family = AF_UNIX;
    const int written =
        std::snprintf(address_.sun_path, sizeof address_.sun_path, format, parts...);
    fits_ = static_cast<size_t>(written) < sizeof address_.sun_path;
  }

  sockaddr_un address_{};
  bool fits_ = false;
};

#if defined(__linux__) && !defined(SEKERING_PORTABLE)

int NewSocket() {
  return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

#else

int NewSocket() {
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd >= 0) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  return fd;
}

#endif

bool Send(int sender, const Address& to) {
  return sendto(sender, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, to.get(), to.size()) == 1;
}

}  // namespace

bool Doorbell::Open(std::string folder) noexcept {
  folder_ = std::move(folder) + '/';
  handle_ = NewSocket();
  sender_ = NewSocket();
  const uint64_t name = RandomNumber();
  if (handle_ < 0 || sender_ < 0 || name == 0) return false;
  const Address own(folder_, name);
  if (!own.Fits() || bind(handle_, own.get(), own.size()) != 0) return false;
  name_ = name;
  // Whoever can write to it can ring it.
  return chmod(own.path(), S_IRUSR | S_IWUSR) == 0;
}

void Doorbell::Hide() noexcept {
  if (name_ != 0) unlink(Address(folder_, name_).path());
}

void Doorbell::Close() noexcept {
  Hide();
  if (handle_ >= 0) close(handle_);
  if (sender_ >= 0) close(sender_);
  handle_ = sender_ = -1;
  name_ = 0;
}

void Doorbell::Silence() noexcept {
  // If more than these have arrived, the socket is readable again.
  char byte;
  for (int taken = 0; taken < 64 && recv(handle_, &byte, 1, MSG_DONTWAIT) >= 0; ++taken) {
  }
}

bool Doorbell::Ring(uint64_t name) noexcept {
  const Address to(folder_, name);
  if (Send(sender_, to)) return true;
  if (errno != EAGAIN) return false;
  // Either the receiver's queue is full: then it has yet to look. Or ours is full of datagrams to
  // stopped processes: a new socket has none of those.
  const int fresh = NewSocket();
  if (fresh < 0) return false;
  close(sender_);
  sender_ = fresh;
  return Send(sender_, to) || errno == EAGAIN;
}

bool Doorbell::RemoveDead(const char* path) noexcept {
  const Address at(path);
  struct stat status {};
  if (!at.Fits() || lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode) ||
      status.st_uid != geteuid() || std::time(nullptr) - status.st_mtime < kFinishedAfterS) {
    return false;
  }
  const int caller = NewSocket();
  if (caller < 0) return false;
  const bool is_dead = connect(caller, at.get(), at.size()) != 0 && errno == ECONNREFUSED;
  close(caller);
  return is_dead && unlink(path) == 0;
}

}  // namespace sekering

#endif  // !_WIN32

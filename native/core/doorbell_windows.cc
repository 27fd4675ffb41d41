#ifdef _WIN32

#include <cstdio>

#include "core/doorbell.h"
#include "core/host.h"
#include "core/windows_user.h"

namespace sekering {

namespace {

struct Event {
  explicit Event(uint64_t number) {
    std::snprintf(name, sizeof name, "Local\\%s%016llx", Doorbell::kPrefix,
                  static_cast<unsigned long long>(number));
  }
  char name[64];
};

}  // namespace

bool Doorbell::Open(std::string) noexcept {
  const uint64_t name = RandomNumber();
  if (name == 0) return false;
  // It is reset when it wakes somebody.
  WindowsUser user;
  handle_ = CreateEventA(user.attributes(), FALSE, FALSE, Event(name).name);
  if (handle_ == nullptr) return false;
  name_ = name;
  return true;
}

void Doorbell::Hide() noexcept {}

void Doorbell::Close() noexcept {
  if (handle_ != nullptr) CloseHandle(handle_);
  handle_ = nullptr;
  name_ = 0;
}

void Doorbell::Silence() noexcept {
  ResetEvent(handle_);
}

bool Doorbell::Ring(uint64_t name) noexcept {
  const HANDLE event = OpenEventA(EVENT_MODIFY_STATE, FALSE, Event(name).name);
  if (event == nullptr) return false;
  const bool rings = SetEvent(event) != 0;
  CloseHandle(event);
  return rings;
}

bool Doorbell::RemoveDead(const char*) noexcept {
  return false;
}

}  // namespace sekering

#endif  // _WIN32

// The user of this process, on Windows, who alone may use the objects that are made with
// attributes().

#ifndef SEKERING_CORE_WINDOWS_USER_H_
#define SEKERING_CORE_WINDOWS_USER_H_

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <cstdint>

namespace sekering {

class WindowsUser {
 public:
  WindowsUser() noexcept;
  WindowsUser(const WindowsUser&) = delete;
  WindowsUser& operator=(const WindowsUser&) = delete;

  /// A number that stands for the user.
  uint32_t Hash() const noexcept;
  /// For a new object: it is the user's, and nobody else may use it.
  SECURITY_ATTRIBUTES* attributes() noexcept { return &attributes_; }
  /// Whether an object is the user's.
  bool Owns(HANDLE object) const noexcept;

 private:
  static constexpr DWORD kBytes = 256;  // More than either can have.

  PSID id() const noexcept { return reinterpret_cast<const TOKEN_USER*>(user_)->User.Sid; }

  /// TOKEN_USER, which the id follows.
  alignas(8) unsigned char user_[kBytes] = {};
  alignas(8) unsigned char rights_[kBytes] = {};
  SECURITY_DESCRIPTOR descriptor_{};
  SECURITY_ATTRIBUTES attributes_{};
};

}  // namespace sekering

#endif  // SEKERING_CORE_WINDOWS_USER_H_

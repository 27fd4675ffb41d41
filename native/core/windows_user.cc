#ifdef _WIN32

#include "core/windows_user.h"

#include <aclapi.h>

#include "core/region_layout.h"

namespace sekering {

WindowsUser::WindowsUser() noexcept {
  HANDLE token = nullptr;
  DWORD size = 0;
  if (OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) == 0) return;
  GetTokenInformation(token, TokenUser, user_, kBytes, &size);
  CloseHandle(token);
  if (id() == nullptr) return;

  auto* const rights = reinterpret_cast<ACL*>(rights_);
  InitializeAcl(rights, kBytes, ACL_REVISION);
  AddAccessAllowedAce(rights, ACL_REVISION, GENERIC_ALL, id());
  InitializeSecurityDescriptor(&descriptor_, SECURITY_DESCRIPTOR_REVISION);
  SetSecurityDescriptorOwner(&descriptor_, id(), FALSE);
  SetSecurityDescriptorDacl(&descriptor_, TRUE, rights, FALSE);
  attributes_ = {sizeof attributes_, &descriptor_, FALSE};
}

uint32_t WindowsUser::Hash() const noexcept {
  return id() == nullptr ? 0 : static_cast<uint32_t>(sekering::Hash(id(), GetLengthSid(id())));
}

bool WindowsUser::Owns(HANDLE object) const noexcept {
  PSID owner = nullptr;
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  if (id() == nullptr ||
      GetSecurityInfo(object, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION, &owner, nullptr,
                      nullptr, nullptr, &descriptor) != ERROR_SUCCESS) {
    return false;
  }
  const bool is_ours = owner != nullptr && EqualSid(owner, id()) != 0;
  LocalFree(descriptor);
  return is_ours;
}

}  // namespace sekering

#endif  // _WIN32

// Only in the binaries of `npm run prebuild:all`, which have libc++ linked in.
//
// libc++abi takes along 150 KB that make the names of C++ types readable, since it prints the type
// of an exception that nobody catches. Nothing here throws, so this function stands in their place.
// It answers that it cannot read the name, and libc++abi prints the name as it is.

#include <cstddef>

extern "C" char* __cxa_demangle(const char* name, char* buffer, size_t* length, int* status);

char* __cxa_demangle(const char* /*name*/, char* /*buffer*/, size_t* /*length*/, int* status) {
  constexpr int kInvalidName = -2;
  if (status != nullptr) *status = kInvalidName;
  return nullptr;
}

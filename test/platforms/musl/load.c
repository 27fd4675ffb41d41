// Loads a binary of ours as Node.js does, and fails if anything is missing that neither musl nor
// Node.js has. The functions of Node.js are stubs, which the test writes: nothing calls them.

#include <dlfcn.h>
#include <stdio.h>

int main(int count, char** arguments) {
  void* const binary = count == 2 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  if (binary == NULL) {
    fprintf(stderr, "%s\n", count == 2 ? dlerror() : "usage: load <file>");
    return 1;
  }
  int (*const version)(void) = (int (*)(void))dlsym(binary, "node_api_module_get_api_version_v1");
  if (version == NULL || dlsym(binary, "napi_register_module_v1") == NULL) {
    fputs("This is no addon for Node-API\n", stderr);
    return 1;
  }
  printf("%d\n", version());
  return 0;
}

// Bun for musl needs a libstdc++ for musl, which Debian does not have. The objects of the one for
// glibc ask glibc for very little that musl lacks. This is that little.

// There are no headers beside -nostdlib.
unsigned long getauxval(unsigned long type);

#define INSIDE __attribute__((visibility("hidden")))

INSIDE void* __dso_handle = 0;
INSIDE char __libc_single_threaded = 0;

// Nothing here unwinds, or asks for random numbers.
INSIDE int _dl_find_object(void* address, void* result) {
  (void)address;
  (void)result;
  return -1;
}
INSIDE unsigned arc4random(void) { __builtin_trap(); }

INSIDE unsigned long __getauxval(unsigned long type) { return getauxval(type); }

// Reads a fuzzer's bytes as a program: numbers of the kinds that break things.

#ifndef SEKERING_TEST_FUZZ_INPUT_H_
#define SEKERING_TEST_FUZZ_INPUT_H_

#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

#include "core/breaker_config.h"
#include "core/words.h"

// Unlike assert(), it names the broken promise, and works in every kind of build.
#define PROMISE(condition)                                                         \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

namespace sekering {

/// Any number that JavaScript could pass, usually a sensible one.
inline double AnyNumber(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return input.ConsumeFloatingPoint<double>();
    case 1:
      return input.ConsumeIntegral<int64_t>();
    default:
      return input.ConsumeIntegralInRange(0, 100);
  }
}

/// A configuration that a breaker can have.
inline std::optional<BreakerConfig> AnyConfig(FuzzedDataProvider& input, bool shared) {
  std::array<double, kConfigFields> numbers;
  for (double& number : numbers) number = AnyNumber(input);
  return BreakerConfigOf(numbers, shared);
}

/// A damaged word: any bits, or those of a valid word at the wrong place or time.
inline uint64_t AnyWord(FuzzedDataProvider& input, Micros now) {
  const auto number = input.ConsumeIntegral<uint32_t>();
  switch (input.ConsumeIntegralInRange(0, 4)) {
    case 0:
      return StateWord(Generation(number), input.ConsumeIntegral<uint32_t>());
    case 1:
      return Stamp(Generation(number), now + input.ConsumeIntegral<int32_t>());
    case 2:
      return Pack(number, input.ConsumeIntegral<uint32_t>());
    case 3:
      return number % 2 == 0 ? 0 : UINT64_MAX;
    default:
      return input.ConsumeIntegral<uint64_t>();
  }
}

}  // namespace sekering

#endif  // SEKERING_TEST_FUZZ_INPUT_H_

// A breaker's configuration as JavaScript passes it and as a shared record keeps it: numbers in the
// order of lib/primitives/breaker-config.js.

#ifndef SEKERING_BINDING_BREAKER_CONFIG_H_
#define SEKERING_BINDING_BREAKER_CONFIG_H_

#include <napi.h>

#include "core/breaker.h"
#include "core/region.h"

namespace sekering {

/// How many of a description's numbers are used.
inline constexpr size_t kConfigFields = 20;

/// Of a Float64Array.
Description DescriptionOf(napi_env env, napi_value numbers);

BreakerConfig ConfigOf(const Description& description, bool shared);

}  // namespace sekering

#endif  // SEKERING_BINDING_BREAKER_CONFIG_H_

// A breaker's configuration as numbers: as JavaScript passes it, and as a shared record keeps it.

#ifndef SEKERING_CORE_BREAKER_CONFIG_H_
#define SEKERING_CORE_BREAKER_CONFIG_H_

#include <cstddef>
#include <optional>
#include <span>

#include "core/breaker.h"

namespace sekering {

/// The numbers of a configuration, in the order of lib/primitives/breaker-config.js.
inline constexpr size_t kConfigFields = 20;

/// Nothing if the numbers are not a configuration that a breaker can have. Numbers behind the
/// fields are ignored.
std::optional<BreakerConfig> BreakerConfigOf(std::span<const double> numbers, bool shared) noexcept;

}  // namespace sekering

#endif  // SEKERING_CORE_BREAKER_CONFIG_H_

// Units of the core, and the numbers that must not be mixed up. Time is passed in by the caller;
// the core reads no clock.

#ifndef SEKERING_CORE_UNITS_H_
#define SEKERING_CORE_UNITS_H_

#include <cmath>
#include <compare>
#include <cstdint>

namespace sekering {

/// Microseconds of a monotonic clock, or a length of time.
using Micros = int64_t;

/// Far enough to mean never, and small enough that sums of a few of them do not overflow.
inline constexpr Micros kNever = INT64_MAX / 8;

/// Converts JavaScript's milliseconds. Fractions are kept to a microsecond, NaN and negative values
/// count as 0, and values that are too large as kNever.
inline Micros FromMillis(double ms) {
  if (!(ms > 0)) return 0;
  const double micros = ms * 1000.0;
  if (micros >= static_cast<double>(kNever)) return kNever;
  return static_cast<Micros>(std::llround(micros));
}

inline double ToMillis(Micros micros) {
  return static_cast<double>(micros) / 1000.0;
}

/// a + b, kept within [0, kNever].
inline Micros Later(Micros a, Micros b) {
  const Micros sum = a + b;  // Both are within kNever, an eighth of the range.
  return sum < 0 ? 0 : (sum > kNever ? kNever : sum);
}

/// A 32-bit number with a meaning of its own. It converts to and from plain numbers only where the
/// code says so; `Tag` makes each meaning a type.
template <class Tag>
class Strong {
 public:
  constexpr Strong() = default;
  explicit constexpr Strong(uint32_t value) : value_(value) {}
  constexpr uint32_t value() const { return value_; }
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;

 private:
  uint32_t value_ = 0;
};

/// How often something happened.
using Count = Strong<struct CountTag>;

/// The number of a bucket of time. Epochs wrap, so only their distance has a meaning.
using Epoch = Strong<struct EpochTag>;
constexpr Epoch operator+(Epoch epoch, uint32_t buckets) {
  return Epoch(epoch.value() + buckets);
}
constexpr Epoch operator-(Epoch epoch, uint32_t buckets) {
  return Epoch(epoch.value() - buckets);
}
constexpr uint32_t operator-(Epoch a, Epoch b) {
  return a.value() - b.value();
}

/// How many transitions a breaker has made. It wraps; words that have less room keep its low bits.
using Generation = Strong<struct GenerationTag>;
constexpr Generation Next(Generation generation) {
  return Generation(generation.value() + 1);
}

/// A participant's place in shared memory: below kParticipantsMax. 0 in memory that is not shared.
using Participant = Strong<struct ParticipantTag>;

/// The process that made a call. 0 means none.
using Process = Strong<struct ProcessTag>;

/// A latency in whole milliseconds, the unit of the histogram.
using Millis = Strong<struct MillisTag>;

/// A length of time in sixteenths of a millisecond, in which JavaScript measures. It wraps after
/// three days.
using Ticks = Strong<struct TicksTag>;
constexpr Micros MicrosOf(Ticks ticks) {
  return Micros{ticks.value()} * 125 / 2;
}
constexpr Millis MillisOf(Ticks ticks) {
  return Millis((ticks.value() + 8) / 16);
}

}  // namespace sekering

#endif  // SEKERING_CORE_UNITS_H_

#include "core/breaker_config.h"

#include <algorithm>

namespace sekering {
namespace {

enum Field : size_t {
  kBucketLength,
  kBuckets,
  kWithPercentiles,
  kErrorThresholdPercentage,
  kSlowCallThresholdPercentage,
  kVolumeThreshold,
  kConsecutiveFailures,
  kFailureCount,
  kSlidingWindowSize,
  kMinimumCalls,
  kSlowCall,
  kHalfOpenProbes,
  kSuccessThreshold,
  kProbeLease,
  kResetInitial,
  kResetFactor,
  kResetMax,
  kRampUp,
  kWarmUp,
  kTripWitnesses,
  kFields,
};
static_assert(kFields == kConfigFields);

/// NaN counts as 0.
uint32_t Whole(double value) {
  return value > 0 ? static_cast<uint32_t>(std::min(value, 4294967295.0)) : 0;
}

TripRules RulesOf(std::span<const double> numbers) {
  TripRules rules;
  rules.error_threshold_percentage = numbers[kErrorThresholdPercentage];
  rules.slow_call_threshold_percentage = numbers[kSlowCallThresholdPercentage];
  rules.volume_threshold = Whole(numbers[kVolumeThreshold]);
  rules.consecutive_failures = Whole(numbers[kConsecutiveFailures]);
  rules.failure_count = Whole(numbers[kFailureCount]);
  rules.sliding_window_size = Whole(numbers[kSlidingWindowSize]);
  rules.minimum_calls = Whole(numbers[kMinimumCalls]);
  return rules;
}

}  // namespace

std::optional<BreakerConfig> BreakerConfigOf(std::span<const double> numbers,
                                             bool shared) noexcept {
  if (numbers.size() < kFields) return std::nullopt;
  BreakerConfig config;
  config.rules = RulesOf(numbers);
  config.bucket_length = FromMillis(numbers[kBucketLength]);
  config.buckets = Whole(numbers[kBuckets]);
  config.percentiles = numbers[kWithPercentiles] != 0;
  config.shared = shared;
  config.slow_call = FromMillis(numbers[kSlowCall]);
  config.half_open_probes = Whole(numbers[kHalfOpenProbes]);
  config.success_threshold = Whole(numbers[kSuccessThreshold]);
  config.probe_lease = FromMillis(numbers[kProbeLease]);
  config.reset_initial = FromMillis(numbers[kResetInitial]);
  config.reset_factor = numbers[kResetFactor];
  config.reset_max = FromMillis(numbers[kResetMax]);
  config.ramp_up = FromMillis(numbers[kRampUp]);
  config.warm_up = FromMillis(numbers[kWarmUp]);
  config.trip_witnesses = Whole(numbers[kTripWitnesses]);
  const bool possible = config.buckets >= 1 && config.buckets <= kBucketsMax &&
                        config.half_open_probes >= 1 && config.half_open_probes <= kProbesMax &&
                        config.reset_factor >= 1 &&  // Not NaN.
                        config.rules.sliding_window_size <= LastCalls::kSizeMax;
  if (!possible) return std::nullopt;
  return config;
}

}  // namespace sekering

#include "binding/breaker_config.h"

#include <algorithm>
#include <cassert>

#include "binding/convert.h"

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
static_assert(kFields == kConfigFields && kFields <= kDescriptionMax);

uint32_t Whole(double value) {
  return static_cast<uint32_t>(std::clamp(value, 0.0, 4294967295.0));
}

TripRules RulesOf(const Description& description) {
  TripRules rules;
  rules.error_threshold_percentage = description[kErrorThresholdPercentage];
  rules.slow_call_threshold_percentage = description[kSlowCallThresholdPercentage];
  rules.volume_threshold = Whole(description[kVolumeThreshold]);
  rules.consecutive_failures = Whole(description[kConsecutiveFailures]);
  rules.failure_count = Whole(description[kFailureCount]);
  rules.sliding_window_size = Whole(description[kSlidingWindowSize]);
  rules.minimum_calls = Whole(description[kMinimumCalls]);
  return rules;
}

}  // namespace

Description DescriptionOf(napi_env env, napi_value numbers) {
  Shared<double> array;
  array.Reset(env, numbers);
  Description description{};
  std::copy_n(array.data(), std::min<size_t>(array.length(), kFields), description.begin());
  return description;
}

BreakerConfig ConfigOf(const Description& description, bool shared) {
  BreakerConfig config;
  config.rules = RulesOf(description);
  config.bucket_length = FromMillis(description[kBucketLength]);
  config.buckets = Whole(description[kBuckets]);
  config.percentiles = description[kWithPercentiles] != 0;
  config.shared = shared;
  config.slow_call = FromMillis(description[kSlowCall]);
  config.half_open_probes = Whole(description[kHalfOpenProbes]);
  config.success_threshold = Whole(description[kSuccessThreshold]);
  config.probe_lease = FromMillis(description[kProbeLease]);
  config.reset_initial = FromMillis(description[kResetInitial]);
  config.reset_factor = description[kResetFactor];
  config.reset_max = FromMillis(description[kResetMax]);
  config.ramp_up = FromMillis(description[kRampUp]);
  config.warm_up = FromMillis(description[kWarmUp]);
  config.trip_witnesses = Whole(description[kTripWitnesses]);
  assert(config.buckets >= 1 && config.buckets <= kBucketsMax);
  assert(config.half_open_probes >= 1 && config.half_open_probes <= kProbesMax);
  assert(config.rules.sliding_window_size <= LastCalls::kSizeMax);
  return config;
}

}  // namespace sekering

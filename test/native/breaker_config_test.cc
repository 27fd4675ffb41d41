#include "core/breaker_config.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace sekering {
namespace {

using Numbers = std::array<double, kConfigFields>;

/// Different numbers, in their order, of which all are possible.
Numbers Possible() {
  return {250, 20, 1, 50, 60, 5, 3, 4, 100, 7, 1500, 2, 6, 9000, 1000, 1.5, 8000, 400, 600, 2};
}

TEST(BreakerConfigNumbers, BecomeAConfiguration) {
  const auto config = BreakerConfigOf(Possible(), true);
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->shared);
  EXPECT_EQ(config->bucket_length, 250'000);
  EXPECT_EQ(config->buckets, 20u);
  EXPECT_TRUE(config->percentiles);
  EXPECT_EQ(config->rules.error_threshold_percentage, 50);
  EXPECT_EQ(config->rules.slow_call_threshold_percentage, 60);
  EXPECT_EQ(config->rules.volume_threshold, 5u);
  EXPECT_EQ(config->rules.consecutive_failures, 3u);
  EXPECT_EQ(config->rules.failure_count, 4u);
  EXPECT_EQ(config->rules.sliding_window_size, 100u);
  EXPECT_EQ(config->rules.minimum_calls, 7u);
  EXPECT_EQ(config->slow_call, 1'500'000);
  EXPECT_EQ(config->half_open_probes, 2u);
  EXPECT_EQ(config->success_threshold, 6u);
  EXPECT_EQ(config->probe_lease, 9'000'000);
  EXPECT_EQ(config->reset_initial, 1'000'000);
  EXPECT_EQ(config->reset_factor, 1.5);
  EXPECT_EQ(config->reset_max, 8'000'000);
  EXPECT_EQ(config->ramp_up, 400'000);
  EXPECT_EQ(config->warm_up, 600'000);
  EXPECT_EQ(config->trip_witnesses, 2u);
}

TEST(BreakerConfigNumbers, ThatNoBreakerCanHave) {
  const auto with = [](size_t field, double number) {
    Numbers numbers = Possible();
    numbers[field] = number;
    return BreakerConfigOf(numbers, false).has_value();
  };
  constexpr size_t kBucketsAt = 1;
  constexpr size_t kSlidingWindowAt = 8;
  constexpr size_t kProbesAt = 11;
  constexpr size_t kResetFactorAt = 15;
  EXPECT_TRUE(with(kBucketsAt, kBucketsMax));
  EXPECT_TRUE(with(kSlidingWindowAt, 0));
  EXPECT_TRUE(with(kProbesAt, kProbesMax));
  EXPECT_FALSE(with(kBucketsAt, 0));
  EXPECT_FALSE(with(kBucketsAt, kBucketsMax + 1));
  EXPECT_FALSE(with(kBucketsAt, std::nan("")));
  EXPECT_FALSE(with(kSlidingWindowAt, LastCalls::kSizeMax + 1));
  EXPECT_FALSE(with(kProbesAt, 0));
  EXPECT_FALSE(with(kProbesAt, kProbesMax + 1));
  EXPECT_TRUE(with(kResetFactorAt, 1));
  EXPECT_FALSE(with(kResetFactorAt, 0.9));
  EXPECT_FALSE(with(kResetFactorAt, -1));
  EXPECT_FALSE(with(kResetFactorAt, std::nan("")));
  EXPECT_FALSE(BreakerConfigOf({Possible().data(), kConfigFields - 1}, false));
}

TEST(BreakerConfigNumbers, HugeOnesAreKeptWithinTheirType) {
  Numbers numbers = Possible();
  numbers[6] = 1e300;
  numbers[10] = INFINITY;
  const auto config = BreakerConfigOf(numbers, false);
  EXPECT_EQ(config->rules.consecutive_failures, UINT32_MAX);
  EXPECT_EQ(config->slow_call, kNever);
}

}  // namespace
}  // namespace sekering

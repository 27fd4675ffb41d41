#include "core/units.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/times.h"

namespace sekering {
namespace {

TEST(Units, MillisBecomeMicros) {
  EXPECT_EQ(FromMillis(0), 0);
  EXPECT_EQ(FromMillis(1), 1000);
  EXPECT_EQ(FromMillis(0.001), 1);
  EXPECT_EQ(FromMillis(10000), 10'000'000);
  EXPECT_EQ(FromMillis(1.5), 1500);
}

TEST(Units, FractionsOfAMicrosecondAreRounded) {
  EXPECT_EQ(FromMillis(0.0004), 0);
  EXPECT_EQ(FromMillis(0.0005), 1);
  EXPECT_EQ(FromMillis(0.0016), 2);
  EXPECT_EQ(FromMillis(0.1 + 0.2), 300);
}

TEST(Units, WhatIsNoTimeCountsAsNone) {
  EXPECT_EQ(FromMillis(-1), 0);
  EXPECT_EQ(FromMillis(-0.0), 0);
  EXPECT_EQ(FromMillis(-kInfinity), 0);
  EXPECT_EQ(FromMillis(std::nan("")), 0);
  EXPECT_EQ(FromMillis(std::numeric_limits<double>::denorm_min()), 0);
}

TEST(Units, WhatIsTooLongCountsAsNever) {
  EXPECT_EQ(FromMillis(kInfinity), kNever);
  EXPECT_EQ(FromMillis(std::numeric_limits<double>::max()), kNever);
  EXPECT_EQ(FromMillis(static_cast<double>(kNever)), kNever);
  // 2^31 ms is where setTimeout gives up; here it is an ordinary time.
  EXPECT_EQ(FromMillis(2147483648.0), 2'147'483'648'000);
  // The largest safe integer of JavaScript, in milliseconds, is beyond kNever.
  EXPECT_EQ(FromMillis(9007199254740991.0), kNever);
  EXPECT_LT(FromMillis(1e12), kNever);
}

TEST(Units, ThereAndBack) {
  for (const double ms : {0.0, 0.001, 0.5, 1.0, 63.999, 10'000.0, 86'400'000.0, 3.15e11}) {
    EXPECT_DOUBLE_EQ(ToMillis(FromMillis(ms)), ms);
  }
  EXPECT_EQ(ToMillis(-1500), -1.5);
}

TEST(Units, LaterIsKeptInBounds) {
  EXPECT_EQ(Later(1, 2), 3);
  EXPECT_EQ(Later(kNever, 0), kNever);
  EXPECT_EQ(Later(kNever, 1), kNever);
  EXPECT_EQ(Later(kNever, kNever), kNever);
  EXPECT_EQ(Later(kNever - 5, 5), kNever);
  EXPECT_EQ(Later(-7, 5), 0);
  EXPECT_EQ(Later(-kNever, kNever), 0);
  EXPECT_EQ(Later(-kNever, -kNever), 0);
}

}  // namespace
}  // namespace sekering

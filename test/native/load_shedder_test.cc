#include "core/load_shedder.h"

#include <gtest/gtest.h>

#include <utility>

namespace sekering {
namespace {

constexpr Micros kTarget = 50'000;

/// How many of a hundred calls are taken.
int Taken(LoadShedder& shedder, uint32_t priority) {
  int taken = 0;
  for (int i = 0; i < 100; ++i) taken += shedder.Admit(priority) ? 1 : 0;
  return taken;
}

void Measure(LoadShedder& shedder, Micros delay, int times) {
  for (int i = 0; i < times; ++i) shedder.AddDelay(delay);
}

TEST(LoadShedder, TakesAllWhileTheLoopIsInTime) {
  LoadShedder shedder(kTarget);
  Measure(shedder, kTarget, 100);
  EXPECT_EQ(shedder.pressure(), 0);
  EXPECT_EQ(Taken(shedder, 0), 100);
}

TEST(LoadShedder, OneLateTurnChangesNothing) {
  LoadShedder shedder(kTarget);
  for (int i = 0; i < 100; ++i) {
    shedder.AddDelay(100 * kTarget);
    EXPECT_EQ(shedder.pressure(), 0);
    shedder.AddDelay(0);
  }
}

TEST(LoadShedder, ThePressureRisesFasterWhenTheLoopIsLater) {
  for (const auto& [delay, rise] :
       {std::pair<Micros, int64_t>{kTarget + 1, 100}, {2 * kTarget, 500}, {100 * kTarget, 1000}}) {
    LoadShedder shedder(kTarget);
    Measure(shedder, delay, 2);
    EXPECT_EQ(shedder.pressure(), rise);
  }
}

TEST(LoadShedder, LowPrioritiesAreShedFirst) {
  LoadShedder shedder(kTarget);
  Measure(shedder, 2 * kTarget, 6);
  EXPECT_EQ(shedder.pressure(), 2500);
  EXPECT_EQ(Taken(shedder, 0), 0);
  EXPECT_EQ(Taken(shedder, 1), 0);
  EXPECT_EQ(Taken(shedder, 2), 50);
  EXPECT_EQ(Taken(shedder, 3), 100);
}

TEST(LoadShedder, WhatIsShedIsSpreadEvenly) {
  LoadShedder shedder(kTarget);
  Measure(shedder, 2 * kTarget, 2);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(shedder.Admit(0));
    EXPECT_FALSE(shedder.Admit(0));
  }
}

TEST(LoadShedder, TheHighestPriorityIsNeverShed) {
  LoadShedder shedder(kTarget);
  Measure(shedder, 1000 * kTarget, 1000);
  EXPECT_EQ(shedder.pressure(), LoadShedder::kPressureMax);
  EXPECT_EQ(Taken(shedder, 9), 100);
  EXPECT_EQ(Taken(shedder, 8), 0);
}

TEST(LoadShedder, ThePressureFallsWhenTheLoopIsInTimeAgain) {
  LoadShedder shedder(kTarget);
  Measure(shedder, 1000 * kTarget, 5);
  EXPECT_EQ(shedder.pressure(), 4000);
  Measure(shedder, 0, 4);
  EXPECT_EQ(shedder.pressure(), 3000);
  Measure(shedder, 0, 100);
  EXPECT_EQ(shedder.pressure(), 0);
  EXPECT_EQ(Taken(shedder, 0), 100);
}

}  // namespace
}  // namespace sekering

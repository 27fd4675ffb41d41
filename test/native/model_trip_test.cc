// scratch
#include <gtest/gtest.h>
#include "support/breaker_protocol.h"
namespace sekering {
namespace {
using enum Op;
void Walk(Protocol& p) { std::printf("   states: %zu\n", p.ExploreAll()); }
TEST(Model, TwoTripStreak) {
  auto c = Protocol::Config(); c.rules.consecutive_failures = 2;
  Protocol p(c, {{{kAdmit, kFail}}, {{kAdmit, kFail}}});
  p.at_end = [&] { EXPECT_EQ(p.state(), State::kOpen); EXPECT_EQ(p.breaker().generation(), 1u); };
  Walk(p);
}
TEST(Model, TwoTripVolume) {
  auto c = Protocol::Config(); c.rules.volume_threshold = 2; c.rules.error_threshold_percentage = 50;
  Protocol p(c, {{{kFire, kAdmit, kFail}}, {{kFire, kAdmit, kFail}}});
  p.at_end = [&] { EXPECT_EQ(p.state(), State::kOpen); EXPECT_EQ(p.breaker().generation(), 1u); };
  Walk(p);
}
TEST(Model, ThreeTripStreak) {
  auto c = Protocol::Config(); c.rules.consecutive_failures = 3;
  Protocol p(c, {{{kAdmit, kFail}}, {{kAdmit, kFail}},{{kAdmit, kFail}}});
  p.at_end = [&] { EXPECT_EQ(p.state(), State::kOpen); EXPECT_EQ(p.breaker().generation(), 1u); };
  Walk(p);
}
TEST(Model, Probes) {
  auto c = Protocol::Config(); 
  Protocol p(c, {{{kAdmit, kFail}}, {{kAdmit, kSucceed}},{{kTick, kTick, kPoll}}});
  p.BeginHalfOpen();
  Walk(p);
}
TEST(Model, Reap) {
  auto c = Protocol::Config(); 
  Protocol p(c, {{{kAdmit, kFail}, -1, -1, true}, {{kReap}, -1, 0},{{kAdmit, kSucceed}}});
  p.BeginHalfOpen();
  Walk(p);
}
}
}

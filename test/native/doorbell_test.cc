// Bells: who rings is heard by those who are there, and held up by nobody.

#include "core/doorbell.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/processes.h"

namespace sekering {
namespace {

bool IsRung(const Doorbell& bell) {
  pollfd poll_of{bell.fd(), POLLIN, 0};
  return poll(&poll_of, 1, 0) == 1;
}

TEST(Doorbell, RingsUntilItIsSilenced) {
  Doorbell one;
  Doorbell other;
  ASSERT_TRUE(one.Open() && other.Open());
  EXPECT_NE(one.name(), other.name());
  EXPECT_FALSE(IsRung(one));
  other.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
  EXPECT_FALSE(IsRung(other));
  one.Silence();
  EXPECT_FALSE(IsRung(one));
  one.Silence();
  one.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
}

TEST(Doorbell, OneThatIsRungOftenIsSilencedAsWell) {
  Doorbell one;
  Doorbell other;
  ASSERT_TRUE(one.Open() && other.Open());
  for (int i = 0; i < 10'000; ++i) other.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
  // A queue may be longer than what is taken at once.
  for (int i = 0; i < 1000 && IsRung(one); ++i) one.Silence();
  EXPECT_FALSE(IsRung(one));
  other.Ring(one.name());
  EXPECT_TRUE(IsRung(one));
}

TEST(Doorbell, ThoseThatNobodyAnswersHoldUpNoOther) {
  Doorbell own;
  ASSERT_TRUE(own.Open());
  std::vector<Doorbell> deaf(100);
  for (Doorbell& bell : deaf) {
    ASSERT_TRUE(bell.Open());
    for (int i = 0; i < 1000; ++i) own.Ring(bell.name());
  }
  Doorbell last;
  ASSERT_TRUE(last.Open());
  own.Ring(last.name());
  EXPECT_TRUE(IsRung(last));
}

TEST(Doorbell, ThatOfADeadProcessIsGone) {
  SharedWithChildren<uint64_t> name;
  Gate gate(2);
  Children children;
  const pid_t child = children.Start([&] {
    Doorbell own;
    if (!own.Open()) return false;
    *name = own.name();
    gate.Pass();
    return pause() == 0;
  });
  gate.Pass();
  const auto is_there = [&] {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(*name));
    std::ifstream file("/proc/net/unix");
    const std::string all{std::istreambuf_iterator<char>(file), {}};
    return all.find(text) != std::string::npos;
  };
  EXPECT_TRUE(is_there());
  children.Kill(child);
  EXPECT_FALSE(is_there());
  Doorbell own;
  ASSERT_TRUE(own.Open());
  own.Ring(*name);
  own.Ring(own.name());
  EXPECT_TRUE(IsRung(own));
}

}  // namespace
}  // namespace sekering

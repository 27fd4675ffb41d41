// What the system tells of this machine and its processes.

#include "core/host.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "support/processes.h"

namespace sekering {
namespace {

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

TEST(Host, ItsNameIsThatOfTheProcessNamespaceAndTheBoot) {
  char link[64] = "";
  ASSERT_GT(readlink("/proc/self/ns/pid", link, sizeof link - 1), 0);
  std::smatch name;
  const std::string host = HostName();
  ASSERT_TRUE(std::regex_match(host, name, std::regex("(\\d+)-([0-9a-f]{8})"))) << host;
  EXPECT_EQ("pid:[" + name[1].str() + "]", link);
  EXPECT_EQ(ContentOf("/proc/sys/kernel/random/boot_id").substr(0, 8), name[2].str());
}

TEST(Host, ThisProcessHasANumberAndAStart) {
  EXPECT_EQ(CurrentProcess().value(), static_cast<uint32_t>(getpid()));
  // The 22nd field, counted from the name, which ends with the last parenthesis.
  const std::string stat = ContentOf("/proc/self/stat");
  std::stringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string field;
  for (int i = 2; i < 22; ++i) fields >> field;
  EXPECT_EQ(std::to_string(StartOf(CurrentProcess())), field);
}

TEST(Host, AProcessThatHasEndedHasNoStart) {
  Children children;
  const pid_t child = children.Start([]() -> bool {
    for (;;) pause();
  });
  const Process process(static_cast<uint32_t>(child));
  EXPECT_GE(StartOf(process), StartOf(CurrentProcess()));
  children.Kill(child);
  EXPECT_EQ(StartOf(process), 0u);
  EXPECT_EQ(StartOf(Process()), 0u);
}

TEST(Host, RandomNumbersDiffer) {
  EXPECT_NE(RandomNumber(), 0u);
  EXPECT_NE(RandomNumber(), RandomNumber());
}

}  // namespace
}  // namespace sekering

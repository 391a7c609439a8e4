// `xnic line` between real peers: the kernel's stack in network namespaces of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::Contains;
using testing::HasSubstr;

class LineNetwork : public testing::TestWithParam<const char*> {};

TEST_P(LineNetwork, CarriesPingsAndStreamsAndSurvivesAKill) {
  const std::string command = std::string(XNIC_SOURCE) + "/tests/sim/line_network_test.sh " +
                              XNIC_COMMAND + " " + data_object("ports.o") + " " + GetParam() +
                              " 2>&1";
  std::FILE* const pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string out;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out += static_cast<char>(c);
  const int status = pclose(pipe);
  ASSERT_TRUE(WIFEXITED(status)) << out;
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << out;
  ASSERT_EQ(WEXITSTATUS(status), 0) << out;
  const std::vector<std::string> said = lines(out);
  EXPECT_THAT(said, Contains(HasSubstr(" 0% packet loss"))) << out;
  EXPECT_THAT(said, Contains("after SIGKILL: reached"));
  EXPECT_THAT(said, Contains("stream: 300000"));
  EXPECT_THAT(said, Contains("line: ended with 0"));
  const json report = json::parse(said.back());
  EXPECT_GT(report["packets"], 100);
  uint64_t ends = report["delivered"].get<uint64_t>() + report["transmitted"].get<uint64_t>();
  for (const auto& [reason, count] : report["drops"].items()) ends += count.get<uint64_t>();
  EXPECT_EQ(report["packets"], ends);
}

INSTANTIATE_TEST_SUITE_P(Drivers, LineNetwork, testing::Values("net_af_packet", "net_af_xdp"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace xnic::command

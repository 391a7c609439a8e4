// `xnic line` between real peers: the kernel's stack in network namespaces of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>

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

// Two interfaces that are each other's wire, as long as this lives.
class VethPair {
 public:
  VethPair() {
    made_ = shell("ip link add " + ours + " type veth peer name " + theirs) == 0;
    for (const std::string& name : {ours, theirs}) {
      shell("sysctl -qw net.ipv6.conf." + name + ".disable_ipv6=1");
      shell("ip link set " + name + " up");
    }
  }
  ~VethPair() { shell("ip link del " + ours); }
  bool made() const { return made_; }
  void send(const traces::Bytes& frame) const {
    const int fd = socket(AF_PACKET, SOCK_RAW, 0);
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(if_nametoindex(ours.c_str()));
    sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    close(fd);
  }

  const std::string ours = "xva" + std::to_string(getpid() % 100'000);
  const std::string theirs = "xvb" + std::to_string(getpid() % 100'000);

 private:
  static int shell(const std::string& command) {
    return std::system(("(" + command + ") >/dev/null 2>&1").c_str());
  }
  bool made_;
};

// Linux keeps a tag beside a frame that it receives; DPDK's driver puts it back unless told not to.
TEST(LineVlan, ReachesProgramsBesideTheFrameWhereTheDeviceTakesItOut) {
  if (geteuid() != 0) GTEST_SKIP() << "it takes root to make an interface";
  const VethPair wire;
  if (!wire.made()) GTEST_SKIP() << "this machine permits no veth pairs";
  traces::Bytes frame(64);
  const traces::Bytes head = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 42, 0x88, 0xb5};
  std::ranges::copy(head, frame.begin());
  for (const bool strips : {false, true}) {
    const traces::TemporaryFolder folder;
    Words words = {"line",
                   "--attach",
                   "nic0/xdp.native=" + data_object("rx_metadata.o:ask"),
                   "--port",
                   "dpdk:net_af_packet0,iface=" + wire.theirs,
                   "--duration",
                   "3s",
                   "--control",
                   folder / "control"};
    if (strips) words.emplace_back("--strip-vlan");
    auto running = std::async(std::launch::async, [&] { return xnic(words); });
    const auto ended = [&] {
      return running.wait_for(std::chrono::milliseconds(100)) == std::future_status::ready;
    };
    while (!std::filesystem::is_socket(folder / "control")) {
      if (ended()) GTEST_SKIP() << running.get().err;
    }
    while (!ended()) wire.send(frame);
    const Ran ran = running.get();
    EXPECT_EQ(ran.code, 0) << ran.err;
    const bool told = ran.err.find("trace: tag 0") != std::string::npos;
    const bool without = ran.err.find("trace: tag -61") != std::string::npos;  // -ENODATA
    EXPECT_EQ(told, strips) << ran.err;
    EXPECT_EQ(without, !strips) << ran.err;
  }
  // A file has no device that could.
  const Ran refused = xnic({"line", data_object("reflect.o"), "--program", "reflect",
                            "--strip-vlan", "--port", "dpdk:net_null0", "--packets", "1"});
  EXPECT_EQ(refused.code, 4);
  EXPECT_THAT(refused.err, HasSubstr("--strip-vlan"));
}

}  // namespace
}  // namespace xnic::command

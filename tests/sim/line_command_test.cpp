// What a user of `xnic line` gets, over ports of DPDK that need no hardware. What leaves them is
// held against what the untimed replay of the same captures writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;
using traces::Bytes;
using traces::TemporaryFolder;

constexpr int kNotAvailable = 77;
// net_pcap cuts what it writes to RTE_ETHER_MAX_JUMBO_FRAME_LEN.
constexpr size_t kLongestWritten = 0x3f00;

// The frames of a capture in the classic format, in this machine's byte order
// (draft-ietf-opsawg-pcap).
std::vector<Bytes> frames_of(const std::string& path) {
  constexpr size_t kFileHeader = 24;
  constexpr size_t kRecordHeader = 16;
  constexpr size_t kCapturedAt = 8;
  const Bytes file = traces::read_file(path);
  std::vector<Bytes> frames;
  for (size_t at = kFileHeader; at + kRecordHeader <= file.size();) {
    uint32_t length;
    std::memcpy(&length, &file[at + kCapturedAt], sizeof length);
    at += kRecordHeader;
    if (at + length > file.size()) break;
    frames.emplace_back(file.begin() + static_cast<ptrdiff_t>(at),
                        file.begin() + static_cast<ptrdiff_t>(at + length));
    at += length;
  }
  return frames;
}

// The first frame in which two captures differ, in words; empty if there is none.
std::string difference(const std::vector<Bytes>& ours, const std::vector<Bytes>& theirs) {
  for (size_t i = 0; i < std::max(ours.size(), theirs.size()); ++i) {
    if (i >= ours.size() || i >= theirs.size()) {
      return std::to_string(ours.size()) + " frames, not " + std::to_string(theirs.size());
    }
    if (ours[i] == theirs[i]) continue;
    const auto [a, b] = std::ranges::mismatch(ours[i], theirs[i]);
    return "frame " + std::to_string(i + 1) + ", " + std::to_string(ours[i].size()) +
           " bytes, not " + std::to_string(theirs[i].size()) + ", differs at byte " +
           std::to_string(a - ours[i].begin());
  }
  return "";
}

// A port that reads one file and writes another.
std::string pcap_port(int number, const std::string& in, const std::string& out) {
  std::string device = "dpdk:net_pcap" + std::to_string(number);
  if (!in.empty()) device += ",rx_pcap=" + in;
  return device + ",tx_pcap=" + out;
}

#define XNIC_NEEDS_DPDK(ran) \
  if ((ran).code == kNotAvailable) GTEST_SKIP() << (ran).err

struct Case {
  const char* name;
  Words programs;
};

class LineCommand : public testing::TestWithParam<Case> {};

std::vector<Case> cases() {
  const auto tx = [](const char* name) {
    return Case{name, {"--attach", "nic0/xdp.native=" + data_object("reflect.o:") + name}};
  };
  return {
      tx("reflect"),
      tx("resize"),
      tx("reflect_frags"),
      {"cross", {"--attach", "nic0/xdp.native=" + data_object("ports.o:cross")}},
      {"mirror", {"--attach", "nic0/tc.ingress=" + data_object("ports.o:mirror")}},
      {"balance", {"--attach", "nic0/xdp.native=" + example("load_balancer.o")}},
      {"adjust_head", {"--attach", "nic0/xdp.native=" + test_object("adjust_head.o:push_header")}}};
}

TEST_P(LineCommand, WritesTheFramesThatTheUntimedReplayWrites) {
  size_t written = 0;
  for (const std::string& path : traces::shipped_captures()) {
    // DPDK's driver reads the format in which its frames are written.
    if (!path.ends_with(".pcap")) continue;
    const TemporaryFolder folder;
    const std::string net = std::string(XNIC_SOURCE) + "/examples/net/two-ports.toml";
    const Ran replay =
        xnic(Words{"run", "--untimed", "-r", path, "--net", net} + GetParam().programs +
             Words{"--write", "nic0=" + (folder / "0"), "--write", "nic1=" + (folder / "1"), "-j"});
    ASSERT_EQ(replay.code, 0) << replay.err;
    const Ran line = xnic(Words{"line", "--net", net} + GetParam().programs +
                          Words{"--port", pcap_port(0, path, folder / "line0"), "--port",
                                pcap_port(1, "", folder / "line1"), "-j"});
    XNIC_NEEDS_DPDK(line);
    ASSERT_EQ(line.code, 0) << line.err;
    for (const std::string port : {"0", "1"}) {
      std::vector<Bytes> expected = frames_of(folder / port);
      for (Bytes& frame : expected) frame.resize(std::min(frame.size(), kLongestWritten));
      EXPECT_EQ(difference(frames_of(folder / ("line" + port)), expected), "")
          << path << ", nic" << port;
      written += expected.size();
    }
    const json ours = json::parse(line.out);
    const json theirs = json::parse(replay.out);
    for (const char* count : {"packets", "delivered", "transmitted", "drops", "copies"}) {
      EXPECT_EQ(ours[count], theirs[count]) << path << ", " << count;
    }
    ASSERT_EQ(ours["hooks"].size(), theirs["hooks"].size());
    for (size_t i = 0; i < ours["hooks"].size(); ++i) {
      EXPECT_EQ(ours["hooks"][i]["verdicts"], theirs["hooks"][i]["verdicts"]) << path;
    }
  }
  if (std::string(GetParam().name) != "balance") {
    EXPECT_GT(written, 0u) << "the case shows nothing";
  }
}

INSTANTIATE_TEST_SUITE_P(Programs, LineCommand, testing::ValuesIn(cases()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(LineThreads, SpreadsAPortOfOneQueueOverAllThreads) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "this machine has one CPU";
  const TemporaryFolder folder;
  const std::string path = capture("bulk.pcap");
  const Ran line = xnic({"line", "--attach", "nic0/xdp.native=" + data_object("reflect.o:resize"),
                         "--lcores", "0,1", "--port", pcap_port(0, path, folder / "two"), "-j"});
  XNIC_NEEDS_DPDK(line);
  ASSERT_EQ(line.code, 0) << line.err;
  const Ran one = xnic({"line", "--attach", "nic0/xdp.native=" + data_object("reflect.o:resize"),
                        "--port", pcap_port(0, path, folder / "one"), "-j"});
  ASSERT_EQ(one.code, 0) << one.err;
  const auto sorted = [&](const char* name) {
    std::vector<Bytes> frames = frames_of(folder / name);
    std::ranges::sort(frames);
    return frames;
  };
  EXPECT_EQ(difference(sorted("two"), sorted("one")), "");
  EXPECT_EQ(json::parse(line.out)["drops"], json::parse(one.out)["drops"]);
  EXPECT_EQ(json::parse(line.out)["lcores"].size(), 2u);
}

TEST(LineThreads, HandFramesToTheCpuThatACpumapNames) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "this machine has one CPU";
  const TemporaryFolder folder;
  const std::string path = capture("bulk.pcap");
  json entries = json::array();
  for (const char* cpu : {"0x00", "0x01"}) {
    entries.push_back({{"key", {cpu, "0x00", "0x00", "0x00"}},
                       {"value", {"0x00", "0x08", "0x00", "0x00"}}});  // 2,048 frames wait
  }
  std::ofstream((folder / "cpus.json")) << entries;
  const std::string object = data_object("cpus.o");
  const Ran line = xnic({"line", "--attach", "nic0/xdp.native=" + object, "--attach",
                         "nic0/tc.ingress=" + object, "--map", "cpus=" + (folder / "cpus.json"),
                         "--lcores", "0,1", "--port", pcap_port(0, path, folder / "out"), "-j"});
  XNIC_NEEDS_DPDK(line);
  ASSERT_EQ(line.code, 0) << line.err;
  std::vector<Bytes> sent;
  for (const Bytes& frame : frames_of(path)) {
    const uint8_t cpu = frame.size() % 4;
    if (cpu > 1) continue;  // the map has no such entry
    Bytes& marked = sent.emplace_back(Bytes{cpu, 0, 0, 0, cpu, 0, 0, 0});
    marked.insert(marked.end(), frame.begin(), frame.end());
  }
  std::vector<Bytes> came = frames_of(folder / "out");
  std::ranges::sort(sent);
  std::ranges::sort(came);
  EXPECT_EQ(difference(came, sent), "");
  const json report = json::parse(line.out);
  EXPECT_EQ(report["transmitted"], sent.size());
  EXPECT_FALSE(report["drops"].contains("cpumap_full"));
}

TEST(LinePackets, EndsAfterSoManyFrames) {
  const Ran ran = xnic({"line", data_object("reflect.o"), "--program", "reflect", "--packets",
                        "1003", "--port", "dpdk:net_null0,size=100", "-j"});
  XNIC_NEEDS_DPDK(ran);
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["packets"], 1003);
  EXPECT_EQ(report["transmitted"], 1003);
  EXPECT_EQ(report["lcores"][0]["received_bytes"], 100'300);
  EXPECT_EQ(report["ports"][0]["sent"], 1003);
}

TEST(LineErrors, SayInOneSentenceWhatIsWrong) {
  struct Wrong {
    Words words;
    int code;
    const char* what;
  };
  const Words program = {"line", data_object("reflect.o"), "--program", "reflect", "--port"};
  const Ran there = xnic(program + Words{"dpdk:net_null0", "--packets", "1"});
  XNIC_NEEDS_DPDK(there);
  for (const Wrong& wrong : {
           Wrong{program + Words{"eth0"}, 2, "write it as"},
           Wrong{program + Words{"dpdk:"}, 2, "write it as"},
           Wrong{program + Words{"nic7=dpdk:net_null0"}, 2, "nic7"},
           Wrong{program + Words{"dpdk:no_such_driver0"}, 4, "no_such_driver0"},
           Wrong{program + Words{"dpdk:0000:ff:1f.7"}, 4, "0000:ff:1f.7"},
           Wrong{program + Words{"dpdk:net_pcap0,rx_pcap=/nowhere"}, 4, "/nowhere"},
           Wrong{program + Words{"dpdk:net_null0", "--lcores", "9999"}, 2, "--lcores 9999"},
           Wrong{program + Words{"dpdk:net_null0", "--lcores", "0,0"}, 2, "--lcores 0,0"},
           Wrong{program + Words{"dpdk:net_null0", "--burst", "0"}, 2, "--burst 0"},
           Wrong{program + Words{"dpdk:net_null0", "--duration", "soon"}, 2, "--duration soon"},
           Wrong{program + Words{"dpdk:net_null0", "--", "--no-such-option"}, 4, "DPDK"},
       }) {
    const Ran ran = xnic(wrong.words);
    EXPECT_EQ(ran.code, wrong.code) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(wrong.what));
    EXPECT_EQ(ran.out, "");
    // A note on memory may come in front.
    EXPECT_LE(lines(ran.err).size(), 2u) << ran.err;
  }
}

}  // namespace
}  // namespace xnic::command

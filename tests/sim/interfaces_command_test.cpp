// Runs of `xnic run` with several interfaces: captures for each, hooks at each, and what leaves.
// mergecap and tcpdump are the oracles for order and bytes; what the hooks do to a packet is
// compared with the kernel in stack_kernel_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;

const std::string kNet = std::string(XNIC_SOURCE) + "/examples/net/two-ports.toml";

Words two_ports(const Words& more) { return Words{"run", "--net", kNet} + more; }

std::string ports(const std::string& program) { return data_object("ports.o:") + program; }

json report_of(const Words& words) {
  const Ran ran = xnic(words + Words{"-j"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  return ran.code == 0 ? json::parse(ran.out) : json();
}

// Each frame's bytes, in order.
std::vector<std::string> frames(const std::string& path) {
  return traces::lines_of("tcpdump -t -nn -xx -r '" + path + "' 2>/dev/null | grep '0x'");
}

TEST(Interfaces, CapturesOfSeveralAreMergedByTimeAndEachEntersAtItsOwn) {
  const traces::TemporaryFolder folder;
  const std::string merged = folder / "merged.pcap";
  traces::lines_of("mergecap -F pcap -w '" + merged + "' '" + capture("http4.pcap") + "' '" +
                   capture("dns.pcap") + "'");
  // The same ports, which forward nothing, so that frames stay as they came.
  const std::string net = folder / "net.toml";
  traces::lines_of("sed 's/forwarding = true/forwarding = false/' '" + kNet + "' > '" + net + "'");
  const size_t http = tshark_count(capture("http4.pcap"), "frame");
  const size_t dns = tshark_count(capture("dns.pcap"), "frame");
  for (const Words& clock : {Words{}, Words{"--untimed"}}) {
    const std::string out = folder / (clock.empty() ? "timed" : "untimed");
    const json report = report_of(
        Words{"run", "--net", net, "--attach", "nic0/xdp.native=" + ports("any_length"), "--attach",
              "nic1/xdp.generic=" + ports("any_length"), "-r", "nic0=" + capture("http4.pcap"),
              "-r", "nic1=" + capture("dns.pcap"), "--max-gap", "1000000", "-o", out} +
        clock);
    EXPECT_EQ(report["packets"], http + dns);
    ASSERT_EQ(report["hooks"].size(), 2u);
    EXPECT_EQ(report["hooks"][0]["interface"], "nic0");
    EXPECT_EQ(report["hooks"][0]["runs"], http);
    EXPECT_EQ(report["hooks"][1]["interface"], "nic1");
    EXPECT_EQ(report["hooks"][1]["hook"], "xdp.generic");
    EXPECT_EQ(report["hooks"][1]["runs"], dns);
    EXPECT_EQ(report["captures"][1]["interface"], "nic1");
    EXPECT_EQ(report["captures"][1]["packets"], dns);
    EXPECT_EQ(report["capture"]["packets"], http + dns);
    EXPECT_EQ(frames(out + "/verdicts.pcapng"), frames(merged));
    EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", "frame.interface_name == \"nic1\""), dns);
    size_t at_nic1 = 0;
    for (const std::string& line : lines(text_of(out + "/packets.ndjson"))) {
      const json one = json::parse(line);
      EXPECT_EQ(one["interface"] == "nic1", one["hook"] == "xdp.generic");
      at_nic1 += one["interface"] == "nic1" ? 1 : 0;
    }
    EXPECT_EQ(at_nic1, dns);
  }
}

TEST(Interfaces, WriteHoldsWhatLeavesByteForByteAndInOrder) {
  const traces::TemporaryFolder folder;
  for (const Words& clock : {Words{}, Words{"--untimed"}}) {
    const json report = report_of(
        two_ports({"--attach", "nic0/xdp.native=" + ports("cross"), "--attach",
                   "nic1/xdp.native=" + ports("cross"), "-r", "nic0=" + capture("http4.pcap"), "-r",
                   "nic1=" + capture("ping.pcap"), "--write", "nic0=" + (folder / "0.pcap"),
                   "--write", "nic1=" + (folder / "1.pcap")}) +
        clock);
    EXPECT_EQ(report["transmitted"], report["packets"]);
    EXPECT_EQ(frames(folder / "1.pcap"), frames(capture("http4.pcap")));
    EXPECT_EQ(frames(folder / "0.pcap"), frames(capture("ping.pcap")));
  }
}

TEST(Interfaces, ANonFragsProgramIsRefusedWhereTheMtuDoesNotFitAPage) {
  const traces::TemporaryFolder folder;
  const std::string text =
      "[[interface]]\nname = \"nic0\"\n[[interface]]\nname = \"nic1\"\nmtu = 9000\n";
  const std::string net = folder.write("jumbo.toml", {text.begin(), text.end()});
  const auto run = [&](const std::string& attach) {
    return xnic({"run", "--net", net, "--attach", attach, "-r", capture("ping.pcap")});
  };
  const Ran refused = run("nic1/xdp.native=" + ports("cross"));
  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.err, HasSubstr("program cross takes packets of one buffer only"));
  EXPECT_THAT(refused.err, HasSubstr("the MTU of nic1, 9000, does not fit one: at most 3506"));
  EXPECT_EQ(run("nic1/xdp.native=" + ports("any_length")).code, 0);
  EXPECT_EQ(run("nic1/xdp.generic=" + ports("cross")).code, 0);
  EXPECT_EQ(run("nic0/xdp.native=" + ports("cross")).code, 0);
}

TEST(Interfaces, ASocketOfAnXskmapReceivesWhatIsRedirectedToIt) {
  const traces::TemporaryFolder folder;
  const Words words = two_ports({"--attach", "xdp.native=" + ports("to_socket"), "-r",
                                 capture("http4.pcap"), "--write", "nic0=" + (folder / "0.pcap")});
  const json all = report_of(words + Words{"--xsk", "sockets=" + (folder / "all.pcap")});
  EXPECT_EQ(frames(folder / "all.pcap"), frames(capture("http4.pcap")));
  EXPECT_EQ(all["delivered"], all["packets"]);
  EXPECT_EQ(all["hooks"][0]["verdicts"]["XDP_REDIRECT"], all["packets"]);
  // Those of one queue; the others pass.
  size_t received = 0;
  const json queues =
      report_of(words + Words{"--xsk", "sockets:0=" + (folder / "q0.pcap"), "-o", folder / "out"});
  received = tshark_count(folder / "q0.pcap", "frame");
  EXPECT_EQ(received, tshark_count(folder / "out/verdicts.pcapng", "frame.interface_queue == 0"));
  EXPECT_EQ(queues["hooks"][0]["verdicts"].value("XDP_REDIRECT", size_t{0}), received);
  const Ran wrong = xnic(words + Words{"--xsk", "sockets:64=" + (folder / "x.pcap")});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("sockets is no xskmap with a place 64"));
}

TEST(Interfaces, ACloneLeavesBesideThePacketUnlessAnEgressProgramStopsIt) {
  const traces::TemporaryFolder folder;
  const Words words = two_ports({"--attach", "tc.ingress=" + ports("mirror"), "-r",
                                 capture("vlan.pcap"), "--write", "nic1=" + (folder / "1.pcap")});
  const json free = report_of(words);
  EXPECT_EQ(free["delivered"], free["packets"]);
  EXPECT_EQ(free["copies"], json({{"transmitted", free["packets"]}}));
  EXPECT_EQ(frames(folder / "1.pcap"), frames(capture("vlan.pcap")));
  const json stopped = report_of(
      words + Words{"--attach", "nic1/tc.egress=" + ports("shoot"), "-o", folder / "out"});
  EXPECT_EQ(stopped["copies"], json({{"dropped", free["packets"]}}));
  EXPECT_EQ(stopped["hooks"][1]["verdicts"]["TC_ACT_SHOT"], free["packets"]);
  EXPECT_EQ(tshark_count(folder / "1.pcap", "frame"), 0u);
  EXPECT_THAT(text_of(folder / "out/packets.ndjson"), HasSubstr("\"copy\":true"));
}

TEST(Interfaces, AClassifierDropsWhatItMatches) {
  const size_t longer = tshark_count(capture("http4.pcap"), "frame.len > 100");
  const std::string program = "tc.ingress=" + ports("longer");
  const auto verdicts = [&](const std::string& options) {
    return report_of({"run", "--attach", program + options, "-r", capture("http4.pcap")});
  };
  const json dropped = verdicts(",classifier,action=drop");
  EXPECT_EQ(dropped["drops"], json({{"tc_shot", longer}}));
  const json passed = verdicts(",classifier,classid=1:10");
  EXPECT_EQ(passed["delivered"], passed["packets"]);
  EXPECT_EQ(passed["hooks"][0]["verdicts"]["TC_ACT_OK"], longer);
}

TEST(Interfaces, DiffComparesInTheNetworkOfTheNamespaceThatItRunsIn) {
  if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "This process may not make a network namespace.";
  const traces::TemporaryFolder folder;
  const std::string net = folder / "net.json";
  traces::lines_of(
      "ip link add name nic0 index 2 type veth peer name nic1 index 3 && "
      "ip link set nic1 mtu 300 && ip link set nic0 up && ip link set nic1 up && "
      "ip -j -d addr > '" +
      net + "'");
  const Words words = {"diff", data_object("ports.o"), "-r", capture("http4.pcap"), "--program",
                       "fits"};
  const Ran same = xnic(words + Words{"--net", net});
  if (same.code == 77) GTEST_SKIP() << same.err;
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  // Without it, ours has no such interface.
  EXPECT_EQ(xnic(words).code, 1);
}

TEST(Interfaces, WhatIsWrongIsNamed) {
  const std::string some = capture("ping.pcap");
  const std::string program = ports("any_length");
  const struct {
    Words words;
    const char* says;
  } kCases[] = {
      {{"--attach", "nic7/xdp.native=" + program, "-r", some},
       "there is no interface nic7; there are lo, nic0, nic1"},
      {{"--attach", "xdp.native=" + program, "-r", "nic7=" + some},
       "there is no interface nic7; there are lo, nic0, nic1"},
      {{"--attach", "xdp.native=" + program, "-r", "nic0="}, "write it as INTERFACE=CAPTURE"},
      {{"--attach", "xdp.native=" + program, "-r", "lo=" + some}, "nothing comes in from outside"},
      {{"--attach", "xdp.native=" + program, "-r", "-", "-r", "nic1=-"}, "read once only"},
      {{"--attach", "lo/xdp.native=" + program, "-r", some}, "lo has no driver that runs XDP"},
      {{"--attach", "xdp.native=" + program + ",classifier", "-r", some},
       "only tc.ingress and tc.egress have options"},
      {{"--attach", "tc.ingress=" + ports("mirror") + ",priority=3", "-r", some},
       "'priority=3' is no option"},
      {{"--attach", "tc.ingress=" + ports("mirror") + ",action=drop", "-r", some},
       "add classifier"},
      {{"--attach", "tc.ingress=" + ports("mirror") + ",classid=banana", "-r", some},
       "'classid=banana' is no option"},
      {{"--attach", "xdp.native=" + program, "-r", some, "--xsk", "nothing=x.pcap"},
       "--xsk nothing: there is no map of this name"},
  };
  for (const auto& wrong : kCases) {
    const Ran ran = xnic(two_ports(wrong.words));
    EXPECT_EQ(ran.code, 2) << wrong.says;
    EXPECT_THAT(ran.err, HasSubstr(wrong.says));
  }
}

}  // namespace
}  // namespace xnic::command

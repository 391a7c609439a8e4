// What `xnic run --threads N` leaves, byte for byte, for programs whose state is each flow's or
// CPU's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;

// Maps as sets of entries: where a hash puts one depends on what came before.
json sorted(json maps) {
  for (auto& part : maps) {
    if (part.is_array() || part.is_object()) part = sorted(part);
  }
  if (maps.is_array()) std::sort(maps.begin(), maps.end());
  return maps;
}

struct Left {
  std::string verdicts;
  std::string packets;
  std::string sent;
  json report;
  json maps;
};

Left run(const Words& words, int threads) {
  const traces::TemporaryFolder folder;
  const std::string out = folder / "out";
  const std::string maps = folder / "maps.json";
  const std::string sent = folder / "sent.pcap";
  const Ran ran = xnic(words + Words{"--untimed", "--threads", std::to_string(threads), "--set",
                                     "receive.queues=4", "-o", out, "--dump-maps", maps, "--write",
                                     "nic0=" + sent});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.err, testing::Not(HasSubstr("--threads")));
  Left left{.verdicts = text_of(out + "/verdicts.pcapng"),
            .packets = text_of(out + "/packets.ndjson"),
            .sent = text_of(sent),
            .report = json_of(out + "/report.json"),
            .maps = sorted(json_of(maps))};
  for (const char* differs : {"command", "wall_seconds", "packets_per_wall_second"}) {
    EXPECT_EQ(left.report.erase(differs), 1u) << differs;
  }
  return left;
}

void expect_the_same(const Words& words) {
  const Left alone = run(words, 1);
  EXPECT_FALSE(alone.packets.empty());
  for (const int threads : {2, 4}) {
    SCOPED_TRACE(threads);
    const Left left = run(words, threads);
    EXPECT_TRUE(left.verdicts == alone.verdicts);
    EXPECT_TRUE(left.packets == alone.packets);
    EXPECT_TRUE(left.sent == alone.sent);
    EXPECT_EQ(left.report, alone.report);
    EXPECT_EQ(left.maps, alone.maps);
  }
}

TEST(ThreadsCommand, LeavesTheSameForTheExamples) {
  for (const std::string name : {"mixed.pcapng", "bulk-gso.pcap", "portscan.pcap"}) {
    SCOPED_TRACE(name);
    expect_the_same(firewall_and_mark(capture(name)) + Words{"--loop", "3"});
  }
  expect_the_same({"run", example("load_balancer.o"), "-r", capture("mixed.pcapng")});
}

TEST(ThreadsCommand, LeavesTheSameForPacketsThatAreSentAndChanged) {
  expect_the_same({"run", "--attach", "xdp.native=" + test_object("adjust_head.o:push_header"),
                   "-r", capture("mixed.pcapng"), "--loop", "2"});
}

TEST(ThreadsCommand, SaysWhyOneThreadRunsAll) {
  const Words words = {"run", "-r", capture("dns.pcap"), "--untimed", "--threads", "2"};
  const std::string firewall = example("firewall.o");
  const Ran card = xnic(words + Words{"--attach", "xdp.offload=" + firewall});
  EXPECT_EQ(card.code, 0) << card.err;
  EXPECT_THAT(card.err, HasSubstr("--threads 2: one thread runs all packets, since xdp.offload of "
                                  "nic0 runs on the card's one engine"));
  const Ran events = xnic(words + Words{firewall, "--events"});
  EXPECT_EQ(events.code, 0) << events.err;
  EXPECT_THAT(events.err, HasSubstr("--threads 2: one thread runs all packets, since --events"));
}

TEST(ThreadsCommand, SaysWhenThereAreTooFewQueues) {
  const Ran ran = xnic(
      {"run", example("firewall.o"), "-r", capture("dns.pcap"), "--untimed", "--threads", "2"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.err, HasSubstr("--threads 2: 1 has work, for the card has 1 receive queues"));
}

TEST(ThreadsCommand, IsRefusedWhereItMakesNoSense) {
  const Words words = {"run", example("firewall.o"), "-r", capture("dns.pcap")};
  const Ran timed = xnic(words + Words{"--threads", "2"});
  EXPECT_EQ(timed.code, 2);
  EXPECT_THAT(timed.err, HasSubstr("--threads needs --untimed"));
  const Ran none = xnic(words + Words{"--untimed", "--threads", "0"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("--threads 0: give at least 1"));
}

}  // namespace
}  // namespace xnic::command

// Input that is wrong: each kind ends with one sentence on stderr that names the culprit, with its
// exit code, and with nothing written. The sentences are part of what users meet, so their telling
// words are in the tables.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;
using traces::Bytes;

class Malformed : public testing::Test {
 protected:
  // Runs with `-o` and expects one sentence with these words, and no file behind.
  void expect_refused(const Words& words, int code, const std::vector<std::string>& telling,
                      const Streams& streams = {}) {
    const std::string out = folder_ / "out";
    const Ran ran = xnic(words + Words{"-o", out}, streams);
    SCOPED_TRACE(testing::PrintToString(words));
    EXPECT_EQ(ran.code, code);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    EXPECT_TRUE(ran.err.starts_with("xnic: ")) << ran.err;
    for (const std::string& word : telling) EXPECT_THAT(ran.err, HasSubstr(word));
    EXPECT_FALSE(is_file(out)) << testing::PrintToString(folder_.listing());
  }

  std::string random_file(const std::string& name, size_t size, uint32_t seed) {
    std::mt19937 random(seed);
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    return folder_.write(name, bytes);
  }

  const std::string firewall_ = example("firewall.o");
  const std::string ping_ = capture("ping.pcap");
  traces::TemporaryFolder folder_;
};

TEST_F(Malformed, RandomBytesAreNoObjectCaptureMapOrProfile) {
  for (const size_t size : {0u, 1u, 63u, 5'000u}) {
    const std::string junk = random_file("junk", size, static_cast<uint32_t>(size) + 1);
    expect_refused({"run", junk, "-r", ping_}, 4, {junk, "not an ELF file", "clang"});
    expect_refused({"run", firewall_, "-r", junk}, 4, {junk});
    expect_refused({"run", firewall_, "-r", "-"}, 4, {"standard input"}, {.in = junk});
    expect_refused({"run", firewall_, "-r", ping_, "--map", "blocked_addresses=" + junk}, 4,
                   {junk});
    if (size != 0) expect_refused({"run", firewall_, "-r", ping_, "--nic", junk}, 4, {junk});
  }
}

TEST_F(Malformed, ACutElfFileNeverCrashes) {
  const Bytes whole = traces::read_file(firewall_);
  for (size_t eighth = 1; eighth < 8; ++eighth) {
    const Bytes cut(whole.begin(),
                    whole.begin() + static_cast<ptrdiff_t>(whole.size() * eighth / 8));
    const std::string path = folder_.write("cut.o", cut);
    expect_refused({"run", path, "-r", ping_}, 4, {path});
  }
}

TEST_F(Malformed, ADamagedElfFileRunsOrIsRefusedButNeverCrashes) {
  const Bytes whole = traces::read_file(firewall_);
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    Bytes bytes = whole;
    for (int i = 0; i < 8; ++i) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    const Ran ran = xnic({"run", folder_.write("bad.o", bytes), "-r", ping_, "-j"});
    EXPECT_THAT(ran.code, testing::AnyOf(0, 2, 3, 4, 5)) << ran.err;
    if (ran.code != 0) {
      EXPECT_THAT(ran.err, HasSubstr("xnic: "));
    }
  }
}

TEST_F(Malformed, ObjectsThatCannotBeRunSayWhy) {
  expect_refused({"run", data_object("no_program.o"), "-r", ping_}, 4,
                 {"no_program.o", "no BPF program"});
  expect_refused({"run", data_object("no_hook.o"), "-r", ping_}, 4,
                 {"no_hook.o", "lost", "nowhere", "xdp"});
  expect_refused({"run", folder_ / "absent.o", "-r", ping_}, 4, {"absent.o", "no such file"});
  expect_refused({"run", folder_ / ".", "-r", ping_}, 4, {"BPF object"});
  expect_refused({"run", test_object("map_kinds.o"), "-r", ping_}, 2,
                 {"xdp.native", "--program", "use_array", "use_lpm_trie"});
  expect_refused({"run", "-r", ping_, "--attach", "xdp.native=" + test_object("map_kinds.o")}, 2,
                 {"OBJECT:PROGRAM", "use_array", "use_lpm_trie"});
  expect_refused({"run", firewall_, "-r", ping_, "--program", "absent"}, 2,
                 {"firewall.o", "absent", "firewall (section xdp)"});
  expect_refused({"run", "-r", ping_, "--attach", "tc.ingress=" + firewall_}, 2,
                 {"tc.ingress", "firewall (section xdp)"});
}

TEST_F(Malformed, TypesThatAreNoneAreNamed) {
  const std::string text = folder_.write("letter", {'d', 'e', 'a', 'r'});
  for (const std::string& path : {folder_ / "absent.btf", text, ping_}) {
    expect_refused({"run", firewall_, "-r", ping_, "--btf", path}, 4, {path, "BTF"});
  }
  // Any object with types will do for one that relocates nothing.
  EXPECT_EQ(xnic({"run", firewall_, "-r", ping_, "--btf", firewall_}).code, 0);
}

TEST_F(Malformed, ACutCaptureGivesThePacketsBeforeTheCutAndAWarning) {
  const traces::Capture whole = traces::make_pcap(traces::samples(5), {});
  const auto end = whole.ends[3];
  for (const size_t cut : {end + 1, end + 16, whole.ends[4] - 1}) {
    const std::string path = folder_.write(
        "cut.pcap", Bytes(whole.bytes.begin(), whole.bytes.begin() + static_cast<ptrdiff_t>(cut)));
    const Ran ran = xnic({"run", firewall_, "-r", path, "-j"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(json::parse(ran.out)["packets"], 3);
    EXPECT_THAT(ran.err, HasSubstr(path));
    EXPECT_THAT(ran.err, HasSubstr("byte " + std::to_string(end)));
    EXPECT_THAT(ran.err, HasSubstr("byte " + std::to_string(cut)));
    expect_refused({"run", firewall_, "-r", path, "--strict"}, 4,
                   {path, "truncated", "byte " + std::to_string(end)});
  }
}

TEST_F(Malformed, ARecordLongerThanTheLimitIsRefused) {
  auto packets = traces::samples(3);
  packets[1].bytes.resize(262'145);
  for (const auto& made : {traces::make_pcap(packets, {}), traces::make_pcapng(packets, {})}) {
    const std::string path = folder_.write("long.pcap", made.bytes);
    expect_refused({"run", firewall_, "-r", path}, 4, {path, "packet 2"});
    expect_refused({"run", firewall_, "-r", path, "--untimed"}, 4, {path, "packet 2"});
  }
}

TEST_F(Malformed, OtherLinkTypesAreRefusedByName) {
  // Numbers of https://www.tcpdump.org/linktypes.html
  const std::vector<std::pair<uint32_t, std::string>> types = {
      {101, "RAW"}, {113, "LINUX_SLL"}, {105, "IEEE802_11"}, {228, "IPV4"}};
  for (const auto& [number, name] : types) {
    const auto made = traces::make_pcap(traces::samples(1), {.link_type = number});
    const std::string path = folder_.write("other.pcap", made.bytes);
    expect_refused({"run", firewall_, "-r", path}, 4, {path, name, "Ethernet"});
  }
}

TEST_F(Malformed, CapturesThatAreNoneAreNamed) {
  expect_refused({"run", firewall_, "-r", folder_ / "absent.pcap"}, 4, {"absent.pcap"});
  expect_refused({"run", firewall_, "-r", XNIC_SOURCE}, 4, {XNIC_SOURCE, "directory"});
  expect_refused({"run", firewall_, "-r", firewall_}, 4, {firewall_, "capture"});
  expect_refused({"run", firewall_, "-r", ping_, "udp prot 53"}, 2,
                 {"udp prot 53", "syntax error"});
}

TEST_F(Malformed, MapFilesThatDoNotFitAreNamedWithThePlace) {
  const auto with = [&](const std::string& map) {
    return Words{"run", firewall_, "-r", ping_, "--map", map};
  };
  const auto file = [&](const std::string& text) {
    return "blocked_addresses=" + folder_.write("map.json", Bytes(text.begin(), text.end()));
  };
  expect_refused(with("blocked_addresses"), 2, {"NAME=FILE.json"});
  expect_refused(with("=x.json"), 2, {"NAME=FILE.json"});
  expect_refused(with("blocked_addresses="), 2, {"NAME=FILE.json"});
  expect_refused(with("absent=" + example_map("blocked_addresses.json")), 2,
                 {"absent", "blocked_addresses, blocked_networks"});
  expect_refused(with("blocked_addresses=" + (folder_ / "absent.json")), 4, {"absent.json"});
  expect_refused(with("blocked_addresses=" XNIC_SOURCE), 4, {XNIC_SOURCE});
  expect_refused(with(file("[{")), 4, {"map.json", "line 1"});
  expect_refused(with(file("7")), 4, {"map.json"});
  expect_refused(with(file(R"([{"key":["0x01"],"value":["0x00"]}])")), 4, {"map.json", "key"});
  expect_refused(with(file(R"([{"key":["0x1ff","0","0","0"],"value":0}])")), 4, {"map.json"});
  expect_refused(with(file(R"([{"value":["0x00"]}])")), 4, {"map.json", "key"});
}

TEST_F(Malformed, OptionsThatMakeNoSenseAreRefused) {
  struct Row {
    Words words;
    std::vector<std::string> telling;
  };
  const std::vector<Row> rows = {
      {{"--rate", "fast"}, {"fast", "10Gbps"}},
      {{"--rate", "-1Mpps"}, {"-1Mpps"}},
      {{"--rate", "0%"}, {"0%"}},
      {{"--rate", "10"}, {"10"}},
      {{"--rate", "10Gbps", "--untimed"}, {"--rate", "--untimed"}},
      {{"--loop", "0"}, {"--loop 0"}},
      {{"--loop", "-1"}, {"--loop", "-1"}},
      {{"--loop", "many"}, {"--loop", "many"}},
      {{"--mtu", "big"}, {"--mtu", "big"}},
      {{"--mtu", "-5"}, {"--mtu", "-5"}},
      {{"--mtu", "99999999999"}, {"--mtu", "99999999999"}},
      {{"--seed", "-1"}, {"--seed", "-1"}},
      {{"--seed", "1.5"}, {"--seed", "1.5"}},
      {{"--max-gap", "soon"}, {"--max-gap", "soon"}},
      {{"--max-gap", "-1s"}, {"--max-gap", "-1s"}},
      {{"--engine", "steam"}, {"--engine", "steam", "jit", "interpreter"}},
      {{"--frobnicate"}, {"--frobnicate", "--help"}},
      {{"--attach", "xdp.native"}, {"HOOK=OBJECT[:PROGRAM]"}},
      {{"--attach", "xdp.nowhere=x.o"}, {"xdp.nowhere", "xdp.offload", "tc.egress"}},
      {{"--attach", "eth7/xdp.native=x.o"}, {"eth7", "nic0"}},
  };
  for (const Row& row : rows) {
    expect_refused(Words{"run", firewall_, "-r", ping_} + row.words, 2, row.telling);
  }
  expect_refused({"run", firewall_, "-r", ping_, "--nic", "no-such-card"}, 4,
                 {"no-such-card", "generic-100g"});
  expect_refused({"run", firewall_}, 2, {"--read", "--help"});
  expect_refused({"run", "-r", ping_}, 2, {"OBJECT", "--attach"});
  expect_refused({"run", "-r", ping_, "--attach", "xdp.native=" + firewall_, "--program", "x"}, 2,
                 {"--program"});
}

TEST_F(Malformed, ARunTooLongForTheClockIsAnError) {
  auto packets = traces::samples(2);
  packets[1].timestamp_ns = packets[0].timestamp_ns + 20'000'000'000'000'000;
  const std::string path = folder_.write("long.pcap", traces::make_pcap(packets, {}).bytes);
  expect_refused({"run", firewall_, "-r", path, "--max-gap", "9000000000s"}, 4, {"clock"});
}

TEST_F(Malformed, OutputThatCannotBeWrittenIsAnErrorThatLeavesNothing) {
  const Words words = {"run", firewall_, "-r", ping_, "-o"};
  const std::string file = folder_.write("file", Bytes{'x'});
  for (const std::string& place : {file, file + "/below", std::string("/proc/xnic")}) {
    const Ran ran = xnic(words + Words{place});
    EXPECT_EQ(ran.code, 4) << place;
    EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("xnic: " + place));
    EXPECT_EQ(ran.out, "");
  }
  EXPECT_EQ(folder_.listing(), std::vector<std::string>{"file"});
  EXPECT_EQ(text_of(file), "x");
}

TEST_F(Malformed, OutputOfAnEarlierRunIsReplacedWholeOrNotAtAll) {
  const std::string out = folder_ / "out";
  ASSERT_EQ(xnic({"run", firewall_, "-r", ping_, "-o", out}).code, 0);
  const std::string before = text_of(out + "/verdicts.pcapng");
  const traces::Capture whole = traces::make_pcap(traces::samples(5), {});
  const std::string cut =
      folder_.write("cut.pcap", Bytes(whole.bytes.begin(), whole.bytes.end() - 1));
  EXPECT_EQ(xnic({"run", firewall_, "-r", cut, "--strict", "-o", out}).code, 4);
  EXPECT_EQ(text_of(out + "/verdicts.pcapng"), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(out), {}), 3);
}

TEST_F(Malformed, StandardOutputThatTakesNothingIsAnError) {
  for (const Words& words :
       {Words{"run", firewall_, "-r", ping_}, Words{"run", firewall_, "-r", ping_, "-j"},
        Words{"--version"}, Words{"--help"}, Words{"run", "--help"}}) {
    const Ran full = xnic(words, {.out = "/dev/full"});
    EXPECT_EQ(full.code, 5) << testing::PrintToString(words);
    EXPECT_EQ(full.err, "xnic: standard output cannot be written: No space left on device\n");
    const Ran closed = xnic(words, {.close_out = true});
    EXPECT_EQ(closed.code, 5) << testing::PrintToString(words);
    EXPECT_EQ(closed.err, "xnic: standard output cannot be written: Bad file descriptor\n");
  }
}

TEST_F(Malformed, AClosedStandardOutputNeverEndsUpInAnotherFile) {
  const std::string out = folder_ / "out";
  const Ran ran = xnic({"run", firewall_, "-r", ping_, "-o", out}, {.close_out = true});
  EXPECT_EQ(ran.code, 5);
  EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", "frame"), tshark_count(ping_, "frame"));
  EXPECT_EQ(json_of(out + "/report.json")["capture"]["path"], ping_);
}

TEST(Words, HelpNamesEveryOptionAndUnknownCommandsAreTold) {
  const Ran none = xnic({});
  EXPECT_EQ(none.code, 2);
  EXPECT_EQ(none.out, "");
  EXPECT_THAT(none.err, HasSubstr("usage: xnic COMMAND"));
  EXPECT_THAT(none.err, HasSubstr("run"));
  const Ran unknown = xnic({"frobnicate"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(lines(unknown.err).size(), 1u);
  EXPECT_THAT(unknown.err, HasSubstr("xnic: there is no command frobnicate"));
  EXPECT_THAT(unknown.err, HasSubstr("--help"));
  const Ran help = xnic({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.out, none.err);
  const Ran run = xnic({"run", "--help"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
  for (const char* option : {"OBJECT", "FILTER", "--read", "--attach", "--program", "--map",
                             "--nic", "--untimed", "--rate", "--loop", "--max-gap", "--mtu",
                             "--seed", "--engine", "--output", "--json", "--strict", "77"}) {
    EXPECT_THAT(run.out, HasSubstr(option));
  }
}

}  // namespace
}  // namespace xnic::command

// What a user of `xnic run` gets: files, JSON, table, words on stderr. tshark is the oracle for
// verdicts.pcapng. What the programs themselves do is compared with the kernel in
// tests/differential; malformed input is in command_malformed_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::StartsWith;

// Codes as <linux/bpf.h> and <linux/pkt_cls.h> number them.
const std::map<std::string, int> kXdpCodes = {
    {"XDP_ABORTED", 0}, {"XDP_DROP", 1}, {"XDP_PASS", 2}, {"XDP_TX", 3}, {"XDP_REDIRECT", 4}};
const std::map<std::string, int> kTcCodes = {
    {"TC_ACT_UNSPEC", -1}, {"TC_ACT_OK", 0}, {"TC_ACT_SHOT", 2}, {"TC_ACT_REDIRECT", 7}};

uint64_t sum(const json& counts) {
  uint64_t total = 0;
  for (const auto& [name, count] : counts.items()) total += count.get<uint64_t>();
  return total;
}

json report_of(const Words& words, const Streams& streams = {}) {
  const Ran ran = xnic(words + Words{"-j"}, streams);
  EXPECT_EQ(ran.code, 0) << ran.err;
  return json::parse(ran.out);
}

json ndjson_of(const std::string& path) {
  json all = json::array();
  for (const std::string& line : lines(text_of(path))) all.push_back(json::parse(line));
  return all;
}

void expect_conserved(const json& report) {
  EXPECT_EQ(report["packets"].get<uint64_t>(), report["delivered"].get<uint64_t>() +
                                                   report["transmitted"].get<uint64_t>() +
                                                   sum(report["drops"]));
}

TEST(RunCommand, TsharkCountsTheVerdictsThatTheReportAndTheTableShow) {
  for (const Words& clock : {Words{}, Words{"--untimed"}}) {
    const traces::TemporaryFolder folder;
    const std::string out = folder / "out";
    const Ran ran = xnic(firewall_and_mark(capture("mixed.pcapng")) + clock + Words{"-o", out});
    ASSERT_EQ(ran.code, 0) << ran.err;
    const json report = json_of(out + "/report.json");
    ASSERT_EQ(report["hooks"].size(), 2u);
    EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", "frame"), report["capture"]["packets"]);
    for (const json& hook : report["hooks"]) {
      const bool xdp = hook["hook"] == "xdp.native";
      EXPECT_GE(hook["verdicts"].size(), xdp ? 2u : 1u) << "the run shows too little";
      for (const auto& [verdict, count] : hook["verdicts"].items()) {
        const int code = (xdp ? kXdpCodes : kTcCodes).at(verdict);
        const std::string filter =
            (xdp ? "frame.verdict.ebpf_xdp == " : "frame.verdict.ebpf_tc == ") +
            std::to_string(code);
        EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", filter), count) << filter;
        EXPECT_THAT(ran.out, testing::ContainsRegex(verdict + " +" + count.dump() + " "));
      }
    }
  }
}

TEST(RunCommand, UnknownCodesCountAsTheVerdictThatTookEffect) {
  const traces::TemporaryFolder folder;
  for (const std::string name : {"xdp_return_first_byte", "tc_return_first_byte"}) {
    const std::string out = folder / name;
    const std::string hook = name.starts_with("xdp") ? "xdp.native" : "tc.ingress";
    const Ran ran = xnic({"run", "--attach", hook + "=" + test_object("return_codes.o:") + name,
                          "-r", capture("mixed.pcapng"), "-o", out});
    ASSERT_EQ(ran.code, 0) << ran.err;
    const json verdicts = json_of(out + "/report.json")["hooks"][0]["verdicts"];
    for (const auto& [verdict, count] : verdicts.items()) {
      const auto& codes = name.starts_with("xdp") ? kXdpCodes : kTcCodes;
      if (!codes.contains(verdict)) continue;
      const std::string field =
          name.starts_with("xdp") ? "frame.verdict.ebpf_xdp == " : "frame.verdict.ebpf_tc == ";
      EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", field + std::to_string(codes.at(verdict))),
                count)
          << verdict;
    }
  }
}

TEST(RunCommand, PacketLinesStandInCaptureOrderAndAddUpToTheReport) {
  const traces::TemporaryFolder folder;
  const std::string out = folder / "out";
  ASSERT_EQ(xnic(firewall_and_mark(capture("mixed.pcapng")) + Words{"-o", out}).code, 0);
  uint64_t last_packet = 0;
  uint64_t last_ns = 0;
  std::map<std::string, std::map<std::string, uint64_t>> counted;
  for (const json& line : ndjson_of(out + "/packets.ndjson")) {
    for (const char* text : {"hook", "program", "verdict"}) {
      ASSERT_TRUE(line[text].is_string()) << line;
    }
    for (const char* number : {"packet", "code", "len_in", "len_out", "sim_ns"}) {
      ASSERT_TRUE(line[number].is_number_integer()) << line;
    }
    const uint64_t packet = line["packet"];
    ASSERT_TRUE(packet == last_packet + 1 ||
                (packet == last_packet && line["hook"] == "tc.ingress" && line["sim_ns"] > last_ns))
        << line;
    const auto& codes = line["hook"] == "xdp.native" ? kXdpCodes : kTcCodes;
    EXPECT_EQ(line["code"], codes.at(line["verdict"])) << line;
    last_packet = packet;
    last_ns = line["sim_ns"];
    ++counted[line["hook"]][line["verdict"]];
  }
  const json report = json_of(out + "/report.json");
  for (const json& hook : report["hooks"]) {
    EXPECT_EQ(json(counted[hook["hook"]]), hook["verdicts"]);
  }
}

TEST(RunCommand, VerdictsKeepTheFramesAndTimesOfTheCaptureWithIdAndQueue) {
  const traces::TemporaryFolder folder;
  const std::string out = folder / "out";
  ASSERT_EQ(xnic(firewall_and_mark(capture("http4.pcap")) + Words{"-o", out}).code, 0);
  const auto bytes_and_times = [](const std::string& path) {
    return traces::lines_of("tshark -r '" + path +
                            "' -T fields -e frame.time_epoch -e frame.len -e ip.id -e tcp.seq_raw "
                            "2>/dev/null");
  };
  EXPECT_EQ(bytes_and_times(out + "/verdicts.pcapng"), bytes_and_times(capture("http4.pcap")));
  const auto ids = traces::lines_of("tshark -r '" + out +
                                    "/verdicts.pcapng' -Y frame.interface_queue -T fields -e "
                                    "frame.packet_id 2>/dev/null");
  ASSERT_EQ(ids.size(), tshark_count(capture("http4.pcap"), "frame"));
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], std::to_string(i + 1));
}

TEST(RunCommand, TheReportHasEveryFieldWithItsType) {
  const traces::TemporaryFolder folder;
  const std::string out = folder / "out";
  const Ran ran =
      xnic(firewall_and_mark(capture("ping.pcap")) + Words{"-j", "--seed", "7", "-o", out});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_EQ(report, json_of(out + "/report.json"));

  EXPECT_EQ(report["schema_version"], 1);
  EXPECT_EQ("xnic " + report["version"].get<std::string>() + "\n", xnic({"--version"}).out);
  EXPECT_THAT(report["command"].get<std::string>(), StartsWith("xnic run --attach xdp.native="));
  EXPECT_EQ(report["engine"], "jit");
  EXPECT_EQ(report["nic"], "generic-100g");
  EXPECT_EQ(report["seed"], 7);
  ASSERT_EQ(report["objects"].size(), 2u);
  for (const json& object : report["objects"]) {
    const std::string path = object["path"];
    const std::string sum = traces::lines_of("sha256sum '" + path + "'").at(0).substr(0, 64);
    EXPECT_EQ(object["sha256"], sum);
  }
  EXPECT_EQ(report["capture"]["path"], capture("ping.pcap"));
  EXPECT_EQ(report["capture"]["packets"], tshark_count(capture("ping.pcap"), "frame"));
  uint64_t bytes = 0;
  for (const std::string& length : traces::lines_of("tshark -r '" + capture("ping.pcap") +
                                                    "' -T fields -e frame.cap_len 2>/dev/null")) {
    bytes += std::stoull(length);
  }
  EXPECT_EQ(report["capture"]["bytes"], bytes);
  for (const json& hook : report["hooks"]) {
    EXPECT_TRUE(hook["hook"].is_string());
    EXPECT_TRUE(hook["program"].is_string());
    EXPECT_EQ(hook["runs"], sum(hook["verdicts"]));
    EXPECT_EQ(hook["faults"], 0);
    EXPECT_GT(hook["instructions"], hook["runs"]);
  }
  EXPECT_TRUE(report["drops"].is_object());
  EXPECT_TRUE(report["warnings"].is_array());
  EXPECT_TRUE(report["simulated_ns"].is_number_unsigned());
  EXPECT_GT(report["wall_seconds"].get<double>(), 0);
  EXPECT_NEAR(
      report["packets_per_wall_second"].get<double>() * report["wall_seconds"].get<double>(),
      report["packets"].get<double>(), 0.01);
  expect_conserved(report);
}

TEST(RunCommand, StandardInputIsReadAndTheLastWordsFilter) {
  const std::string path = capture("mixed.pcapng");
  const Words from_stdin = {"run", example("firewall.o"), "-r", "-"};
  const json all = report_of(from_stdin, {.in = path});
  EXPECT_EQ(all["packets"], tshark_count(path, "frame"));
  const json dns = report_of(from_stdin + Words{"udp", "port", "53"}, {.in = path});
  EXPECT_EQ(dns["packets"],
            traces::lines_of("tcpdump -r '" + path + "' udp port 53 2>/dev/null").size());
  EXPECT_LT(dns["packets"], all["packets"]);
  const json attached = report_of(
      {"run", "--attach", "xdp.native=" + example("firewall.o"), "-r", path, "udp port 53"});
  EXPECT_EQ(attached["packets"], dns["packets"]);
}

TEST(RunCommand, LoopsRepeatTheCaptureAndItsVerdicts) {
  const Words words = {"run", test_object("subprograms.o"), "-r", capture("mixed.pcapng")};
  const json once = report_of(words);
  const json thrice = report_of(words + Words{"--loop", "3"});
  EXPECT_EQ(thrice["packets"].get<uint64_t>(), 3 * once["packets"].get<uint64_t>());
  EXPECT_EQ(thrice["capture"]["packets"], once["capture"]["packets"]);
  for (const auto& [verdict, count] : once["hooks"][0]["verdicts"].items()) {
    EXPECT_EQ(thrice["hooks"][0]["verdicts"][verdict], 3 * count.get<uint64_t>());
  }
  expect_conserved(thrice);
}

TEST(RunCommand, AnIdleGapIsShortenedAndThatIsSaid) {
  const traces::TemporaryFolder folder;
  auto packets = traces::samples(3);
  for (auto& packet : packets) packet.bytes.resize(100);
  packets[1].timestamp_ns = packets[0].timestamp_ns + 1'000'000;
  packets[2].timestamp_ns = packets[1].timestamp_ns + 3'600'000'000'000;
  const std::string path = folder.write("gap.pcap", traces::make_pcap(packets, {}).bytes);
  const Words words = {"run", example("firewall.o"), "-r", path, "--untimed"};
  const json plain = report_of(words);
  EXPECT_EQ(plain["simulated_ns"], 1'001'000'000);
  EXPECT_THAT(plain["warnings"].dump(), HasSubstr("1 idle gap was shortened to 1s"));
  const json short_gap = report_of(words + Words{"--max-gap", "2ms"});
  EXPECT_EQ(short_gap["simulated_ns"], 3'000'000);
  const json whole = report_of(words + Words{"--max-gap", "3600"});
  EXPECT_EQ(whole["simulated_ns"], 3'600'001'000'000);
  EXPECT_EQ(whole["warnings"], json::array());
}

TEST(RunCommand, DropsForLackOfRoomAreCountedOnlyWithARate) {
  const Words words = firewall_and_mark(capture("mixed.pcapng")) + Words{"--loop", "20"};
  const json patient = report_of(words);
  expect_conserved(patient);
  EXPECT_FALSE(patient["drops"].contains("no_descriptor"));
  EXPECT_FALSE(patient["drops"].contains("rx_queue_full"));
  const json pushed = report_of(words + Words{"--rate", "100%"});
  expect_conserved(pushed);
  EXPECT_EQ(pushed["packets"], patient["packets"]);
  EXPECT_GT(pushed["drops"].value("no_descriptor", 0) + pushed["drops"].value("rx_queue_full", 0),
            0);
  const json slow =
      report_of(firewall_and_mark(capture("mixed.pcapng")) + Words{"--rate", "1kpps"});
  const double packets = slow["packets"];
  EXPECT_NEAR(slow["simulated_ns"].get<double>(), (packets - 1) * 1e6, 1e5);
}

TEST(RunCommand, FramesLongerThanTheMtuAreDroppedAsOversize) {
  const traces::TemporaryFolder folder;
  for (const Words& clock : {Words{}, Words{"--untimed"}}) {
    const std::string out = folder / (clock.empty() ? "timed" : "untimed");
    const json report = report_of(Words{"run", example("firewall.o"), "-r", capture("mixed.pcapng"),
                                        "--mtu", "500", "-o", out} +
                                  clock);
    const size_t longer = tshark_count(capture("mixed.pcapng"), "frame.len > 514");
    ASSERT_GT(longer, 0u);
    EXPECT_EQ(report["drops"]["oversize"], longer);
    EXPECT_EQ(report["hooks"][0]["runs"], report["packets"].get<uint64_t>() - longer);
    EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", "frame.comment == \"dropped: oversize\""),
              longer);
    EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", "!frame.verdict"), longer);
    expect_conserved(report);
  }
}

TEST(RunCommand, TracePrintkSpeaksOnStandardError) {
  const Ran ran = xnic({"run", test_object("misc_helpers.o"), "--program", "print", "-r",
                        capture("ping.pcap"), "-j"});
  EXPECT_EQ(ran.code, 0);
  const uint64_t packets = json::parse(ran.out)["packets"];
  std::vector<std::string> spoken = lines(ran.err);
  std::erase_if(spoken, [](const std::string& line) { return line.starts_with("xnic: "); });
  ASSERT_EQ(spoken.size(), packets);
  EXPECT_THAT(spoken, Each(StartsWith("trace: length ")));
}

TEST(RunCommand, AFaultAbortsThePacketAndIsSaidWithInstructionAndLine) {
  const traces::TemporaryFolder folder;
  const std::string path = capture("mixed.pcapng");
  for (const Words& clock : {Words{}, Words{"--untimed"}}) {
    for (const char* engine : {"jit", "interpreter"}) {
      const std::string out = folder / (std::string(engine) + (clock.empty() ? "1" : "2"));
      const Ran ran = xnic(Words{"run", data_object("runs_too_long.o"), "-r", path, "-j", "-o", out,
                                 "--engine", engine} +
                           clock);
      EXPECT_EQ(ran.code, 5) << ran.err;
      const json report = json::parse(ran.out);
      const size_t bad = tshark_count(path, "frame.len == 251");
      ASSERT_GT(bad, 0u);
      EXPECT_EQ(report["hooks"][0]["faults"], bad);
      EXPECT_EQ(report["hooks"][0]["verdicts"]["XDP_ABORTED"], bad);
      EXPECT_EQ(report["drops"]["xdp_aborted"], bad);
      EXPECT_EQ(tshark_count(out + "/verdicts.pcapng", "frame.verdict.ebpf_xdp == 0"), bad);
      EXPECT_THAT(ran.err, testing::ContainsRegex("packet [0-9]+, xdp.native: .*instruction "
                                                  "[0-9]+ .*runs_too_long.bpf.c:[0-9]+"));
      EXPECT_THAT(lines(ran.err).back(), HasSubstr(std::to_string(bad)));
    }
  }
}

TEST(RunCommand, AProgramThatReadsWhereItDidNotLookIsRefused) {
  const Ran ran =
      xnic({"run", data_object("unchecked_read.o"), "-r", capture("ping.pcap"), "--untimed"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr("unchecked_read.bpf.c"));
}

TEST(RunCommand, TheSeedChangesOnlyWhatIsRandom) {
  const traces::TemporaryFolder folder;
  const auto files = [&](const std::string& name, const Words& words) {
    const std::string out = folder / name;
    EXPECT_EQ(xnic(words + Words{"-o", out}).code, 0);
    return text_of(out + "/verdicts.pcapng") + text_of(out + "/packets.ndjson");
  };
  const Words random = {"run", data_object("prandom.o"), "-r", capture("mixed.pcapng"), "--seed"};
  EXPECT_EQ(files("a", random + Words{"1"}), files("b", random + Words{"1"}));
  EXPECT_NE(files("a", random + Words{"1"}), files("c", random + Words{"2"}));
  const Words firm = firewall_and_mark(capture("mixed.pcapng")) + Words{"--seed"};
  EXPECT_EQ(files("d", firm + Words{"1"}), files("e", firm + Words{"2"}));
}

TEST(RunCommand, AnInterfaceMayStandInFrontOfTheHook) {
  const json report = report_of(
      {"run", "--attach", "nic0/xdp.generic=" + example("firewall.o"), "-r", capture("ping.pcap")});
  EXPECT_EQ(report["hooks"][0]["hook"], "xdp.generic");
  EXPECT_EQ(report["hooks"][0]["runs"], report["packets"]);
}

TEST(RunCommand, PinnedMapsStayInXnicsOwnBpffsAndNeedNoWords) {
  const auto objects = xdp_filter_objects();
  if (objects.empty()) GTEST_SKIP() << "Debian's xdp-tools is not installed.";
  const Ran ran = xnic({"run", objects.front(), "-r", capture("http4.pcap")});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  EXPECT_FALSE(std::filesystem::exists("/sys/fs/bpf/xdp_stats_map"));
}

TEST(RunCommand, ProgramsAskTheNicForItsMetadataAtXdpNativeAlone) {
  const auto run = [](const std::string& hook, const Words& clock) {
    return xnic(Words{"run", "--attach", hook + "=" + data_object("rx_metadata.o") + ":ask", "-r",
                      capture("dns.pcap")} +
                clock);
  };
  for (const Words& clock : {Words{}, Words{"--untimed"}}) {
    const Ran ran = run("xdp.native", clock);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("trace: timestamp 0 past\n"));
    EXPECT_THAT(ran.err, testing::Not(HasSubstr("to come")));
    EXPECT_THAT(ran.err, HasSubstr("trace: hash 0 type 41\n"));  // XDP_RSS_TYPE_L4_IPV4_UDP
    EXPECT_THAT(ran.err, HasSubstr("trace: tag -61\n"));         // ENODATA
    EXPECT_THAT(ran.err, HasSubstr("trace: rcu\n"));
  }
  const Ran generic = run("xdp.generic", {});
  EXPECT_EQ(generic.code, 3);
  EXPECT_THAT(generic.err, HasSubstr("asks the device for metadata"));
}

}  // namespace
}  // namespace xnic::command

// `xnic line --generate`: what it counts, over ports within one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;

constexpr int kNotAvailable = 77;

#define XNIC_NEEDS_DPDK(ran) \
  if ((ran).code == kNotAvailable) GTEST_SKIP() << (ran).err

const Words kLoop = {"--tx", "dpdk:net_ring0", "--rx", "dpdk:net_ring0"};
const Words kCable = {"--port", "cable:a/0", "--tx", "cable:a/1", "--rx", "cable:a/1"};

TEST(LineTraffic, ComesBackWholeFromALoop) {
  for (const std::string& what : {std::string("64"), std::string("1518"), std::string("imix"),
                                  capture("http4.pcap"), capture("vlan.pcap")}) {
    const Ran ran = xnic(Words{"line", "--generate", what} + kLoop +
                         Words{"--rate", "200kpps", "--packets", "20000", "-j"});
    XNIC_NEEDS_DPDK(ran);
    ASSERT_EQ(ran.code, 0) << ran.err;
    const json traffic = json::parse(ran.out)["traffic"];
    EXPECT_EQ(traffic["sent"], 20'000) << what;
    EXPECT_EQ(traffic["received"], 20'000) << what;
    for (const char* count : {"lost", "reordered", "duplicated", "strange"}) {
      EXPECT_EQ(traffic[count], 0) << what << ", " << count;
    }
    const json& latency = traffic["latency_ps"];
    EXPECT_LE(latency["min"], latency["p50"]);
    EXPECT_LE(latency["p50"], latency["p90"]);
    EXPECT_LE(latency["p90"], latency["p99"]);
    EXPECT_LE(latency["p99"], latency["p999"]);
    EXPECT_LE(latency["p999"], latency["max"]);
  }
}

// No more frames than a cable holds: however slow this machine is, none is lost on the way.
TEST(LineTraffic, ComesBackFromProgramsAsTheReplayPredicts) {
  for (const std::string& what : {std::string("imix"), capture("http4.pcap")}) {
    for (const std::string program : {"reflect", "resize"}) {
      const Ran ran =
          xnic(Words{"line", data_object("reflect.o"), "--program", program, "--generate", what,
                     "--check", "--packets", "1000", "--rate", "20kpps", "-j"} +
               kCable);
      XNIC_NEEDS_DPDK(ran);
      ASSERT_EQ(ran.code, 0) << ran.err << ran.out;
      const json report = json::parse(ran.out);
      EXPECT_EQ(report["packets"], 1000);
      EXPECT_EQ(report["traffic"]["check"]["predicted"], report["transmitted"]) << program;
      EXPECT_GT(report["transmitted"], 0);
    }
  }
}

// A program that does something else every time does not do what was predicted.
TEST(LineTraffic, ToldApartFromWhatWasPredictedEndsWithOne) {
  const Ran ran =
      xnic(Words{"line", data_object("reflect.o"), "--program", "numbered", "--generate", "64",
                 "--check", "--packets", "100", "--rate", "20kpps", "-j"} +
           kCable);
  XNIC_NEEDS_DPDK(ran);
  EXPECT_EQ(ran.code, 1) << ran.err;
  const json check = json::parse(ran.out)["traffic"]["check"];
  EXPECT_EQ(check["predicted"], 100);
  EXPECT_GT(check["missing"], 0);
  EXPECT_EQ(check["missing"], check["unexpected"]);
  EXPECT_GT(check["examples"].size(), 0u);
}

TEST(LineTraffic, CountsWhatAProgramLoses) {
  const Ran ran = xnic(Words{"line", data_object("reflect.o"), "--program", "every_fourth",
                             "--generate", "64", "--packets", "1000", "--rate", "20kpps", "-j"} +
                       kCable);
  XNIC_NEEDS_DPDK(ran);
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json traffic = json::parse(ran.out)["traffic"];
  EXPECT_EQ(traffic["sent"], 1000);
  EXPECT_EQ(traffic["lost"], 250);
  EXPECT_EQ(traffic["received"], 750);
}

// A guest's driver on one side, its host's on the other. Frames that come before both have found
// each other are lost.
TEST(LineTraffic, PassesBetweenAGuestAndItsHost) {
  const traces::TemporaryFolder folder;
  const std::string socket = folder / "vhost";
  const std::string guest = "dpdk:net_virtio_user0,path=" + socket;
  const Ran ran = xnic({"line", data_object("reflect.o"), "--program", "reflect", "--port",
                        "dpdk:net_vhost0,iface=" + socket, "--generate", "64", "--tx", guest,
                        "--rx", guest, "--rate", "5kpps", "--packets", "5000", "-j"});
  XNIC_NEEDS_DPDK(ran);
  if (ran.code == 4) GTEST_SKIP() << ran.err;
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_GT(report["traffic"]["received"], 0);
  EXPECT_LE(report["traffic"]["received"], report["transmitted"]);
  EXPECT_EQ(report["traffic"]["strange"], 0);
  EXPECT_EQ(report["hooks"][0]["verdicts"]["XDP_TX"], report["packets"]);
}

TEST(LineTraffic, SearchOfALoopEndsWithoutLoss) {
  const Ran ran = xnic(
      Words{"line", "--generate", "1518", "--search", "ndr", "--duration", "50ms", "-j"} + kLoop);
  XNIC_NEEDS_DPDK(ran);
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json traffic = json::parse(ran.out)["traffic"];
  EXPECT_EQ(traffic["at_rate"]["lost"], 0);
  EXPECT_GT(traffic["frames_per_second"], 0);
  // 10 Gb/s, which net_ring says it has, is 812,744 frames a second of this length.
  EXPECT_LE(traffic["frames_per_second"], 812'745);
}

TEST(LineTraffic, SearchesOneLengthAfterTheOther) {
  const Words words = Words{"line",   "--generate", "1280,1518",  "--search", "pdr",
                            "--loss", "90%",        "--duration", "30ms"} +
                      kLoop;
  const Ran ran = xnic(words + Words{"-j"});
  XNIC_NEEDS_DPDK(ran);
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json lengths = json::parse(ran.out)["traffic"]["lengths"];
  ASSERT_EQ(lengths.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(lengths[i]["frame_bytes"], i == 0 ? 1280 : 1518);
    EXPECT_GT(lengths[i]["frames_per_second"], 0);
  }
  const std::vector<std::string> table = lines(xnic(words).out);
  ASSERT_EQ(table.size(), 3u);
  EXPECT_THAT(table[0], HasSubstr("pdr Mpps"));
  EXPECT_THAT(table[2], HasSubstr("1518"));
}

TEST(LineTrafficErrors, SayWhatDoesNotGoTogether) {
  struct Wrong {
    Words words;
    const char* what;
  };
  for (const Wrong& wrong : {
           Wrong{{"line", "--generate", "64"}, "--tx"},
           Wrong{Words{"line", "--rate", "1Mpps"} + kLoop, "--generate"},
           Wrong{Words{"line", "--generate", "20"} + kLoop, "64 to 1518"},
           Wrong{Words{"line", "--generate", "64,128"} + kLoop, "--search"},
           Wrong{Words{"line", "--generate", "64", "--search", "best"} + kLoop, "ndr and pdr"},
           Wrong{Words{"line", "--generate", "64", "--search", "pdr"} + kLoop, "--loss"},
           Wrong{Words{"line", "--generate", "64", "--search", "pdr", "--loss", "2"} + kLoop,
                 "--loss 2"},
           Wrong{Words{"line", "--generate", "64", "--check"} + kLoop, "OBJECT"},
           Wrong{{"line", data_object("reflect.o"), "--program", "reflect", "--port", "cable:a/0",
                  "--generate", "64", "--tx", "cable:a/0", "--rx", "cable:a/1"},
                 "another end"},
       }) {
    const Ran ran = xnic(wrong.words);
    XNIC_NEEDS_DPDK(ran);
    EXPECT_EQ(ran.code, 2) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(wrong.what));
  }
}

}  // namespace
}  // namespace xnic::command

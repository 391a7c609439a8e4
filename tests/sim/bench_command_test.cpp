// xnic bench on the command line: what it reports, and what it refuses. How long a run takes is no
// matter of tests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;

const Words kQuick = {"--repeats", "3", "--time", "1"};

json rows_of(const Ran& ran) {
  EXPECT_EQ(ran.code, 0) << ran.err;
  return ran.code == 0 ? json::parse(ran.out) : json::object();
}

class BenchCommand : public testing::Test {
 protected:
  // The verdict that a report gives for a program and engine; empty where it has no such row.
  static std::string verdict(const json& report, const std::string& program,
                             const std::string& engine) {
    for (const json& row : report["programs"]) {
      if (row["program"] == program && row["engine"] == engine) return row["verdict"];
    }
    return {};
  }

  const std::string object_ = data_object("verdict_map.o");
  traces::TemporaryFolder folder_;
};

TEST_F(BenchCommand, MeasuresEveryProgramWithEveryEngineOnAUdpFrame) {
  const json report =
      rows_of(xnic(Words{"bench", object_, "--engine", "jit,interpreter", "-j"} + kQuick));
  ASSERT_EQ(report["programs"].size(), 6u);
  for (const json& row : report["programs"]) {
    EXPECT_EQ(row["repeats"], 3);
    EXPECT_GE(row["ns_min"], 0.0);
    EXPECT_LE(row["ns_min"], row["ns_median"]);
    EXPECT_LE(row["ns_median"], row["ns_max"]);
  }
  for (const std::string engine : {"jit", "interpreter"}) {
    EXPECT_TRUE(report["empty_ns"].contains(engine));
    EXPECT_EQ(verdict(report, "from_map", engine), "XDP_ABORTED");
    EXPECT_EQ(verdict(report, "expects_udp", engine), "XDP_DROP");
    EXPECT_EQ(verdict(report, "shoot", engine), "TC_ACT_SHOT");
  }
}

TEST_F(BenchCommand, FillsMapsOnAllSidesAndAsksTheKernelInTheSameRun) {
  const std::string map =
      folder_.write("map.json", {'[', '{', '"', 'v', 'a', 'l', 'u', 'e', '"', ':', '3', '}', ']'});
  const Words words = Words{"bench", object_, "--map", "verdict=" + map, "-j"} + kQuick;
  EXPECT_EQ(verdict(rows_of(xnic(words)), "from_map", "jit"), "XDP_TX");
  const Ran ran = xnic(words + Words{"--against", "kernel"});
  if (ran.code == 77) GTEST_SKIP() << ran.err;
  const json report = rows_of(ran);
  EXPECT_EQ(verdict(report, "from_map", "jit"), "XDP_TX");
  EXPECT_EQ(verdict(report, "from_map", "kernel"), "XDP_TX");
  EXPECT_EQ(verdict(report, "expects_udp", "kernel"), "XDP_DROP");
  EXPECT_GT(report["empty_ns"]["kernel"], 0.0);
}

TEST_F(BenchCommand, TakesPacketsFromACapture) {
  const json report = rows_of(xnic(Words{"bench", object_, "-r", capture("dns.pcap"), "--program",
                                         "expects_udp", "--packets", "5", "-j"} +
                                   kQuick));
  EXPECT_EQ(report["programs"].size(), 1u);
  EXPECT_EQ(report["packets"]["count"], 5);
  EXPECT_EQ(verdict(report, "expects_udp", "jit"), "XDP_TX");
}

TEST_F(BenchCommand, SaysInOneSentenceWhatItCannotMeasure) {
  const std::map<int, std::vector<Words>> refused = {
      {2,
       {{"bench"},
        {"bench", object_, "--engine", "llvm"},
        {"bench", object_, "--seed", "-1"},
        {"bench", object_, "--program", "no"}}},
      {4,
       {{"bench", "nowhere.o"},
        {"bench", object_, "-r", capture("dns.pcap"), "--filter", "port 1"},
        {"bench", object_, "--map", "verdict=nowhere.json"}}}};
  for (const auto& [code, all] : refused) {
    for (const Words& words : all) {
      SCOPED_TRACE(testing::PrintToString(words));
      const Ran ran = xnic(words + kQuick);
      EXPECT_EQ(ran.code, code);
      EXPECT_EQ(ran.out, "");
      EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    }
  }
}

TEST_F(BenchCommand, PrintsATableForPeople) {
  const Ran ran = xnic(Words{"bench", object_, "--program", "from_map"} + kQuick);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("from_map"));
  EXPECT_THAT(ran.out, HasSubstr("XDP_ABORTED"));
  EXPECT_THAT(ran.out, testing::Not(HasSubstr("shoot")));
}

}  // namespace
}  // namespace xnic::command

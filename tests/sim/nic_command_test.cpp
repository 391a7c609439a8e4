// The profiles of cards, as a user reads and changes them.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/sim/command.h"
#include "tests/traces/support.h"

namespace xnic::command {
namespace {

json shown(const Words& more) {
  const Ran ran = xnic(Words{"nic", "show", "-j"} + more);
  EXPECT_EQ(ran.code, 0) << ran.err;
  return json::parse(ran.out);
}

json value(const json& profile, const std::string& name) {
  for (const json& row : profile["values"]) {
    if (row["name"] == name) return row;
  }
  return {};
}

TEST(NicCommand, ListsProfilesThatItCanShow) {
  const Ran ran = xnic({"nic", "list", "-j"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const json profiles = json::parse(ran.out)["profiles"];
  ASSERT_FALSE(profiles.empty());
  for (const json& profile : profiles) {
    EXPECT_EQ(shown({profile["name"]})["name"], profile["name"]);
  }
}

TEST(NicCommand, ShowsAFileThatItTakesAgain) {
  const Ran ran = xnic({"nic", "show", "generic-100g", "--set", "ring.descriptors=64"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const traces::TemporaryFolder folder;
  const std::string file = folder / "card.toml";
  std::ofstream(file) << ran.out;
  const json again = shown({file});
  EXPECT_EQ(value(again, "ring.descriptors")["value"], 64);
  EXPECT_EQ(value(again, "ring.descriptors")["origin"], "assumed");
  EXPECT_EQ(again, shown({"--set", "ring.descriptors=64"}));
}

// A link with one lane instead of sixteen cannot be faster.
TEST(NicCommand, WhatIsSetChangesTheRun) {
  const auto simulated = [](const Words& more) {
    const Ran ran = xnic(
        Words{"run", example("firewall.o"), "-r", capture("bulk.pcap"), "--rate", "100%", "-j"} +
        more);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return json::parse(ran.out)["latency_ps"]["max"].get<double>();
  };
  EXPECT_GT(simulated({"--set", "pcie.lanes=1"}), simulated({}));
}

TEST(NicCommand, SaysInOneSentenceWhatItDoesNotTake) {
  const std::map<int, std::vector<Words>> refused = {
      {2,
       {{"nic"},
        {"nic", "draw"},
        {"nic", "show", "--set", "ring.size=3"},
        {"nic", "show", "--set", "ring.descriptors"},
        {"nic", "show", "--set", "ring.descriptors=many"},
        {"nic", "show", "--set", "ring.descriptors=0"},
        {"nic", "show", "--set", "ring.descriptors=1.5"}}},
      {4, {{"nic", "show", "no-such-card"}}}};
  for (const auto& [code, all] : refused) {
    for (const Words& words : all) {
      SCOPED_TRACE(testing::PrintToString(words));
      const Ran ran = xnic(words);
      EXPECT_EQ(ran.code, code);
      EXPECT_EQ(ran.out, "");
      EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    }
  }
}

}  // namespace
}  // namespace xnic::command

// Saved state on the command line: --dump-maps, xnic map and --bpffs, from one run of the
// executable to the next, with input that is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;

class MapCommand : public testing::Test {
 protected:
  void SetUp() override {
    const Ran ran = xnic(firewall_and_mark(ping_) + Words{"--dump-maps", state_});
    ASSERT_EQ(ran.code, 0) << ran.err;
  }

  std::string write(const std::string& name, const std::string& text) {
    return folder_.write(name, traces::Bytes(text.begin(), text.end()));
  }
  // `xnic WORDS` ends with one sentence on stderr, this code, and the state file untouched.
  void expect_refused(const Words& words, int code, const std::vector<std::string>& telling) {
    SCOPED_TRACE(testing::PrintToString(words));
    const std::string before = text_of(state_);
    const Ran ran = xnic(words);
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    EXPECT_TRUE(ran.err.starts_with("xnic: ")) << ran.err;
    for (const std::string& word : telling) EXPECT_THAT(ran.err, HasSubstr(word));
    EXPECT_EQ(text_of(state_), before);
  }

  const std::string ping_ = capture("ping.pcap");
  const std::string firewall_ = example("firewall.o");
  traces::TemporaryFolder folder_;
  const std::string state_ = folder_ / "state.json";
  const std::string name_ = "blocked_addresses";
};

TEST_F(MapCommand, DumpsWhatTheRunLeft) {
  const Ran all = xnic({"map", "dump", state_});
  EXPECT_EQ(all.code, 0) << all.err;
  const json maps = json::parse(all.out);
  std::vector<std::string> names;
  for (const json& map : maps) names.push_back(map["name"]);
  EXPECT_THAT(names, testing::IsSupersetOf({"blocked_addresses", "blocked_networks"}));
  const Ran one = xnic({"map", "dump", state_, name_});
  EXPECT_EQ(one.code, 0);
  const json given = json_of(example_map("blocked_addresses.json"));
  EXPECT_EQ(json::parse(one.out).size(), given.size());
}

TEST_F(MapCommand, UpdatesLookUpAndDeleteAsTheMapWould) {
  const Words key = {"key", "hex", "0b", "0", "0", "2"};
  const Words value = {"value", "9", "0", "0", "0", "0", "0", "0", "0"};
  const Words lookup = Words{"map", "lookup", state_, name_} + key;
  expect_refused(lookup, 1, {"xnic: "});
  const Words update = Words{"map", "update", state_, name_} + key + value;
  EXPECT_EQ(xnic(update).code, 0);
  const Ran found = xnic(lookup);
  EXPECT_EQ(found.code, 0);
  EXPECT_EQ(json::parse(found.out)["value"][0], "0x09");
  expect_refused(update + Words{"noexist"}, 1, {name_, "File exists"});
  EXPECT_EQ(xnic(update + Words{"exist"}).code, 0);
  const Words erase = Words{"map", "delete", state_, name_} + key;
  EXPECT_EQ(xnic(erase).code, 0);
  expect_refused(erase, 1, {name_, "No such file"});
  // The edited file fills the map of the next run.
  EXPECT_EQ(xnic(update).code, 0);
  const std::string next = folder_ / "next.json";
  const Ran ran =
      xnic({"run", firewall_, "-r", ping_, "--map", name_ + "=" + state_, "--dump-maps", next});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(xnic({"map", "lookup", next, name_, "key", "11", "0", "0", "2"}).code, 0);
}

TEST_F(MapCommand, WrongWordsAreToldInOneSentence) {
  struct Row {
    Words words;
    std::vector<std::string> telling;
  };
  const std::vector<Row> rows = {
      {{"dump"}, {"map dump FILE"}},
      {{"lookup", state_}, {"map lookup FILE NAME key DATA"}},
      {{"update", state_}, {"map update FILE NAME"}},
      {{"delete", state_}, {"map delete FILE NAME"}},
      {{"paint", state_, name_}, {"paint", "--help"}},
      {{"dump", state_, "nothing"}, {state_, "nothing", name_}},
      {{"dump", state_, name_, "more"}, {"more"}},
      {{"lookup", state_, "nothing", "key", "1"}, {"nothing", name_}},
      {{"lookup", state_, name_}, {"0 bytes", "4 bytes"}},
      {{"lookup", state_, name_, "key", "1", "2", "3"}, {"3 bytes", name_, "4 bytes"}},
      {{"lookup", state_, name_, "key", "1", "2", "3", "4", "5"}, {"5 bytes"}},
      {{"lookup", state_, name_, "key", "1", "2", "3", "256"}, {"256", "not a byte"}},
      {{"lookup", state_, name_, "key", "1", "2", "3", "-4"}, {"-4"}},
      {{"lookup", state_, name_, "key", "hex", "fff", "0", "0", "0"}, {"fff"}},
      {{"lookup", state_, name_, "key", "1", "2", "3", ""}, {"not a byte"}},
      {{"lookup", state_, name_, "door", "1"}, {"door", "expected key"}},
      {{"update", state_, name_, "key", "1", "2", "3", "4"}, {"value DATA"}},
      {{"update", state_, name_, "key", "1", "2", "3", "4", "value", "1"}, {"1 bytes", "8 bytes"}},
      {{"update", state_, name_, "value", "1"}, {"key has 0 bytes"}},
  };
  for (const Row& row : rows) expect_refused(Words{"map"} + row.words, 2, row.telling);
}

TEST_F(MapCommand, DamagedFilesAreToldInOneSentence) {
  const std::string whole = text_of(state_);
  const auto expect_bad = [&](const std::string& path, const std::vector<std::string>& telling) {
    expect_refused({"map", "dump", path}, 4, telling);
    expect_refused({"map", "lookup", path, name_, "key", "1", "2", "3", "4"}, 4, telling);
  };
  expect_bad(folder_ / "absent.json", {"absent.json"});
  expect_bad(XNIC_SOURCE, {XNIC_SOURCE});
  expect_bad(write("empty.json", ""), {"empty.json"});
  expect_bad(write("list.json", "[]"), {"list.json", "--dump-maps"});
  expect_bad(write("deep.json", std::string(100'000, '[')), {"deep.json"});
  for (size_t eighth = 1; eighth < 8; ++eighth) {
    expect_bad(write("cut.json", whole.substr(0, whole.size() * eighth / 8)),
               {"cut.json", "line "});
  }
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return write("changed.json", text.replace(at, from.size(), to));
  };
  expect_bad(with("\"key_size\":", "\"key_size\":-"), {"changed.json", "key_size"});
  expect_bad(with("\"max_entries\":", "\"max_entry\":"), {"changed.json", "max_entries"});
  expect_bad(with("\"entries\":", "\"entry\":"), {"changed.json", "entries"});
  const auto expect_bad_map = [&](const std::string& path, const std::vector<std::string>& words) {
    expect_refused({"map", "lookup", path, name_, "key", "1", "2", "3", "4"}, 4, words);
  };
  const std::string key_size = "\"key_size\":4";
  const size_t start = whole.find("\"name\":\"" + name_ + "\"");
  ASSERT_NE(start, std::string::npos);
  const auto with_in_map = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    const size_t at = text.find(from, start);
    EXPECT_NE(at, std::string::npos) << from;
    return write("changed.json", text.replace(at, from.size(), to));
  };
  expect_bad_map(with_in_map("\"max_entries\":", "\"max_entries\":0,\"was\":"),
                 {"changed.json", name_, "sizes or flags"});
  expect_bad_map(with_in_map("\"key\":", "\"kye\":"), {"changed.json", "key"});
}

TEST_F(MapCommand, AMapThatRefusesWritersKeepsItsEntries) {
  std::string text = text_of(state_);
  for (size_t at = 0; (at = text.find("\"frozen\":false", at)) != std::string::npos;)
    text.replace(at, 14, "\"frozen\":true");
  const std::string frozen = write("frozen.json", text);
  expect_refused({"map", "delete", frozen, name_, "key", "10", "0", "0", "1"}, 4,
                 {"frozen.json", name_, "read-only"});
  EXPECT_EQ(text_of(frozen), text);
}

TEST_F(MapCommand, DumpMapsThatCannotBeWrittenIsAnError) {
  const std::string file = write("file", "x");
  for (const std::string& place :
       {file + "/below", std::string("/proc/xnic/state.json"), folder_ / "no/such/folder.json"}) {
    const Ran ran = xnic({"run", firewall_, "-r", ping_, "--dump-maps", place});
    EXPECT_EQ(ran.code, 4) << place;
    EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(place));
  }
  EXPECT_EQ(text_of(file), "x");
}

class PinFolder : public testing::Test {
 protected:
  // A run over the pings; what it counted, from its saved maps.
  json run(int code = 0) {
    const std::string state = folder_ / "state.json";
    const Ran ran = xnic(words_ + Words{"--dump-maps", state});
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_EQ(ran.err, "");
    json values;
    for (const json& map : json::parse(xnic({"map", "dump", state}).out)) {
      if (map["type"] == "array")
        values[map["name"].get<std::string>()] = map["elements"][0]["value"];
    }
    return values;
  }

  traces::TemporaryFolder folder_;
  const std::string pins_ = folder_ / "pins";
  const Words words_ = {"run", data_object("pinned.o"), "-r", capture("ping.pcap"), "--bpffs",
                        pins_};
};

TEST_F(PinFolder, KeepsArraysAndStacksFromOneRunToTheNext) {
  const json first = run();
  const json second = run();
  // Bytes in hexadecimal, the lowest first.
  const auto number = [](const json& value) {
    uint64_t sum = 0;
    for (size_t i = value.size(); i-- > 0;)
      sum = sum << 8 | std::stoul(value[i].get<std::string>(), nullptr, 16);
    return sum;
  };
  EXPECT_GT(number(first["packets"]), 0u);
  EXPECT_EQ(number(second["packets"]), 2 * number(first["packets"]));
  EXPECT_EQ(number(second["surprises"]), 0u) << "the stack was not as the run before left it";
}

TEST_F(PinFolder, ADamagedPinEndsTheRunAndIsNotWrittenOver) {
  run();
  for (const std::string name : {"packets", "newest"}) {
    const std::string file = pins_ + "/" + name;
    const std::string whole = text_of(file);
    const std::string cut = whole.substr(0, whole.size() / 2);
    folder_.write("pins/" + name, traces::Bytes(cut.begin(), cut.end()));
    const Ran ran = xnic(words_);
    EXPECT_EQ(ran.code, 4);
    EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("xnic: " + file));
    EXPECT_EQ(text_of(file), cut);
    folder_.write("pins/" + name, traces::Bytes(whole.begin(), whole.end()));
  }
}

TEST_F(PinFolder, APlaceThatIsNoFolderIsTold) {
  const std::string file = folder_.write("file", traces::Bytes{'x'});
  for (const std::string& place : {file, file + "/below", std::string("/proc/xnic")}) {
    const Ran ran =
        xnic({"run", data_object("pinned.o"), "-r", capture("ping.pcap"), "--bpffs", place});
    EXPECT_EQ(ran.code, 4) << place;
    EXPECT_EQ(lines(ran.err).size(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(place));
  }
}

}  // namespace
}  // namespace xnic::command

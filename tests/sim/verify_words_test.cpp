// The words for common mistakes: a program of data/refused.bpf.c each. What they should say is read
// off the source, where comments mark the lines, and asked of Linux where that is permitted.
#include <gtest/gtest.h>

#include <optional>

#include "sim/bpf_host.h"
#include "tests/sim/command.h"

namespace xnic::command {
namespace {

Words asking(const Words& more) {
  Words words = Words{"verify", data_object("refused.o"), "-j"} + more;
  if (sim::why_no_real_kernel().empty()) words = words + Words{"--against", "kernel"};
  return words;
}

json program(const std::string& name) {
  const Ran ran = xnic(asking({"--program", name}));
  EXPECT_EQ(ran.code, name.ends_with("_repaired") ? 0 : 3) << ran.err;
  return json::parse(ran.out)["programs"].at(0);
}

// The number of the line of the source that a comment marks.
std::optional<int> marked(const std::string& mark) {
  int number = 0;
  for (const std::string& line : lines(text_of(XNIC_SOURCE "/tests/sim/data/refused.bpf.c"))) {
    ++number;
    if (line.ends_with("// " + mark)) return number;
  }
  return {};
}

std::string at_line(const std::string& mark) {
  return "refused.bpf.c:" + std::to_string(marked(mark).value_or(0)) + ":";
}

struct Mistake {
  std::string program;
  std::string category;
  std::string reason;      // part of it
  std::string suggestion;  // part of it
  std::string cause = {};  // the comment of a line that the reason names
};

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.program; }

std::vector<Mistake> mistakes() {
  return {
      {"no_bounds_check", "packet_access", "at offset 12 of the packet", "Missing bounds check"},
      {"off_by_one", "packet_access", "1 byte past what is proven to be there: 20 bytes",
       "`pointer + 21`", "proven: off_by_one"},
      {"no_null_check", "null_pointer", "may be NULL", "Missing NULL check", "made: no_null_check"},
      {"endless_loop", "loop", "never ends", "Unbounded loop"},
      {"too_many_turns", "loop", "1,000,000", "Unbounded loop", "loop: too_many_turns"},
      {"unaligned_key", "alignment", "8 bytes at r10-12", "Unaligned key"},
      {"uninitialised", "uninitialised_register", "R7", "Give the variable a value"},
      {"lost_at_call", "uninitialised_register", "R1", "R6 to R9"},
      {"wrong_return", "return_value", "here R0 is 2", "Return 0 or 1"},
      {"writes_read_only", "read_only", "map settings", "BPF_F_RDONLY_PROG"},
      {"leaks_record", "reference_leak", "bpf_ringbuf_reserve", "bpf_ringbuf_submit()",
       "made: leaks_record"},
      {"holds_lock", "lock", "still held", "bpf_spin_unlock()", "made: holds_lock"},
      {"helper_of_others", "not_allowed", "bpf_skb_pull_data() is not for programs of type xdp",
       "tc"},
      {"below_stack", "stack_access", "r10-520", "BPF_MAP_TYPE_PERCPU_ARRAY"},
      {"index_into_value", "map_value_access", "which has 64 bytes", "Missing bounds check"},
      {"void_after_move", "pointer_use", "bpf_xdp_adjust_head", "again behind the call",
       "made: void_after_move"},
      {"part_of_pointer", "context_access", "2 bytes at offset 0 of the context's field data",
       "Read the field whole"},
  };
}

class Refusals : public testing::TestWithParam<Mistake> {};

TEST_P(Refusals, NameTheMistakeItsLineItsCauseAndWhatToDo) {
  const Mistake& mistake = GetParam();
  const json row = program(mistake.program);
  ASSERT_EQ(row["verdict"], "rejected");
  const json& rejection = row["rejection"];
  EXPECT_EQ(rejection["category"], mistake.category);
  const std::string reason = rejection["reason"];
  EXPECT_NE(reason.find(mistake.reason), std::string::npos) << reason;
  const std::string suggestion = rejection["suggestion"].get<std::string>();
  EXPECT_NE(suggestion.find(mistake.suggestion), std::string::npos) << suggestion;
  if (!mistake.cause.empty()) {
    EXPECT_NE(reason.find(at_line(mistake.cause)), std::string::npos) << reason;
  }
  if (const auto line = marked("refused: " + mistake.program)) {
    EXPECT_EQ(rejection["place"]["line"], *line);
    const std::string text = rejection["place"]["text"];
    EXPECT_TRUE(text.ends_with("// refused: " + mistake.program)) << text;
  }
}

TEST_P(Refusals, AgreeWithLinuxInVerdictKindAndInstruction) {
  if (const std::string why = sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
  const json row = program(GetParam().program);
  EXPECT_EQ(row["agrees"], true);
  EXPECT_EQ(row["linux"]["verdict"], "rejected");
  // Linux has the same words for values and other memory.
  const bool is_value = row["rejection"]["category"] == "map_value_access";
  EXPECT_EQ(row["linux"]["category"],
            is_value ? json("memory_access") : row["rejection"]["category"])
      << row["linux"]["words"];
  if (row["rejection"]["category"] == "packet_access") {
    EXPECT_EQ(row["linux"]["words"], row["rejection"]["linux_words"]);
  }
  // A loop Linux names before it comes to the instruction.
  if (row["rejection"]["category"] == "loop") {
    const std::string words = row["linux"]["words"];
    EXPECT_TRUE(words.starts_with(row["rejection"]["linux_words"].get<std::string>())) << words;
    return;
  }
  EXPECT_EQ(row["linux"]["instruction"], row["rejection"]["place"]["instruction"])
      << row["linux"]["words"];
}

INSTANTIATE_TEST_SUITE_P(Mistakes, Refusals, testing::ValuesIn(mistakes()),
                         [](const auto& tested) { return tested.param.program; });

TEST(WordsOfRefusals, AreAtEveryProgramThatDoesAsItIsToldAccepted) {
  for (const std::string mistake :
       {"no_bounds_check", "off_by_one", "no_null_check", "index_into_value"}) {
    const json row = program(mistake + "_repaired");
    EXPECT_EQ(row["verdict"], "accepted") << row.dump(2);
    EXPECT_FALSE(row.contains("rejection"));
    EXPECT_GT(row["statistics"]["instructions"], 0);
    if (row.contains("agrees")) {
      EXPECT_EQ(row["agrees"], true);
    }
  }
}

TEST(WordsOfRefusals, TellEachBranchOfThePathWithItsLine) {
  const json path = program("takes_two_branches")["rejection"]["path"];
  ASSERT_EQ(path.size(), 2);
  EXPECT_EQ(path[0]["at"]["line"], *marked("first: takes_two_branches"));
  EXPECT_EQ(path[0]["way"], "goes_on");
  EXPECT_EQ(path[0]["to"]["line"], *marked("second: takes_two_branches"));
  EXPECT_EQ(path[1]["at"]["line"], *marked("second: takes_two_branches"));
  EXPECT_EQ(path[1]["to"]["line"], *marked("refused: takes_two_branches"));
}

TEST(WordsOfRefusals, CountTheTurnsOfALoop) {
  const json rejection = program("too_many_turns")["rejection"];
  ASSERT_FALSE(rejection["path"].empty());
  const json& last = rejection["path"].back();
  EXPECT_EQ(last["at"]["line"], *marked("loop: too_many_turns"));
  EXPECT_GT(last["times"], 1000);
}

TEST(WordsOfRefusals, StandInTheirOrderInTheText) {
  const Ran ran = xnic({"verify", data_object("refused.o"), "--program", "off_by_one"});
  EXPECT_EQ(ran.code, 3);
  size_t at = 0;
  for (const std::string& part :
       {std::string("packet access out of bounds\n"), at_line("refused: off_by_one"),
        std::string("Reason: "), std::string("Path:\n"), at_line("proven: off_by_one"),
        std::string("Suggestion: ")}) {
    const size_t found = ran.out.find(part, at);
    ASSERT_NE(found, std::string::npos) << part << "\n" << ran.out;
    at = found;
  }
}

TEST(WordsOfRefusals, ComeFromEveryCommandThatLoads) {
  const std::string object = data_object("refused.o");
  std::vector<Words> commands = {{"run", object, "-r", capture("ping.pcap"), "--untimed"},
                                 {"run", object, "-r", capture("ping.pcap")}};
  if (sim::why_no_real_kernel().empty()) {
    commands.push_back({"diff", object, "-r", capture("ping.pcap")});
  }
  for (const Words& command : commands) {
    const Ran ran = xnic(command);
    EXPECT_EQ(ran.code, 3) << ran.err;
    EXPECT_NE(ran.err.find("\nrefused.bpf.c:"), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find("\nReason: "), std::string::npos) << ran.err;
  }
}

}  // namespace
}  // namespace xnic::command

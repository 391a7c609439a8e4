// xnic verify as a user runs it: exit codes, the shape of its JSON, and what it makes of files that
// are not as they should be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "sim/bpf_host.h"
#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(VerifyCommand, SaysOneLineForEachAcceptedProgram) {
  const Ran ran = xnic({"verify", example("firewall.o")});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto said = lines(ran.out);
  ASSERT_EQ(said.size(), 2);
  EXPECT_THAT(said[0], HasSubstr("accepted: "));
  EXPECT_THAT(said[0], HasSubstr(" instructions processed, "));
  EXPECT_EQ(said[1], "1 accepted, 0 rejected, 0 left out");
}

TEST(VerifyCommand, AnswersWithThreeWhereAProgramIsRejected) {
  const Ran ran = xnic({"verify", data_object("unchecked_read.o")});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("packet access out of bounds"));
  EXPECT_THAT(ran.out, HasSubstr("0 accepted, 1 rejected, 0 left out"));
}

TEST(VerifyCommand, JudgesAProgramThatIsAskedForAlone) {
  const Ran ran =
      xnic({"verify", data_object("refused.o"), "--program", "off_by_one_repaired", "-j"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  ASSERT_EQ(report["programs"].size(), 1);
  EXPECT_EQ(report["programs"][0]["name"], "off_by_one_repaired");
  const Ran unknown = xnic({"verify", data_object("refused.o"), "--program", "nobody"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("no program nobody"));
}

// The keys of docs/verifier.md, all and in their order.
std::vector<std::string> keys(const nlohmann::ordered_json& object) {
  std::vector<std::string> names;
  for (const auto& [key, value] : object.items()) names.push_back(key);
  return names;
}

TEST(VerifyCommand, WritesJsonInTheShapeThatIsDocumented) {
  const Ran ran = xnic({"verify", data_object("refused.o"), "--program", "off_by_one", "-j"});
  EXPECT_EQ(ran.code, 3);
  const auto report = nlohmann::ordered_json::parse(ran.out);
  using Names = std::vector<std::string>;
  EXPECT_EQ(keys(report), (Names{"schema_version", "version", "object", "against", "accepted",
                                 "rejected", "left_out", "programs"}));
  EXPECT_EQ(report["rejected"], 1);
  const auto& row = report["programs"][0];
  EXPECT_EQ(keys(row), (Names{"name", "section", "type", "verdict", "statistics", "rejection"}));
  EXPECT_EQ(keys(row["statistics"]),
            (Names{"instructions", "states", "peak_states", "nanoseconds"}));
  const auto& rejection = row["rejection"];
  EXPECT_EQ(keys(rejection),
            (Names{"category", "errno", "place", "reason", "linux_words", "path", "suggestion"}));
  EXPECT_EQ(rejection["errno"], EACCES);
  const Names place = {"instruction", "disassembly", "file", "line", "column", "text"};
  EXPECT_EQ(keys(rejection["place"]), place);
  ASSERT_FALSE(rejection["path"].empty());
  EXPECT_EQ(keys(rejection["path"][0]), (Names{"at", "way", "to", "times"}));
  EXPECT_EQ(keys(rejection["path"][0]["at"]), place);
}

// libbpf loads programs of its own in between where an object has global data.
TEST(VerifyCommand, JudgesEveryProgramOfTheExamples) {
  for (const char* name : {"firewall.o", "load_balancer.o", "mark.o", "nat.o"}) {
    SCOPED_TRACE(name);
    const Ran ran = xnic({"verify", example(name), "-j"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    const json report = json::parse(ran.out);
    EXPECT_EQ(report["accepted"], report["programs"].size());
  }
}

TEST(VerifyCommand, PrintsTheStateBeforeEachInstructionWithTheLog) {
  const Ran ran = xnic({"verify", data_object("refused.o"), "--program", "off_by_one", "--log"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("log of off_by_one\n0: "));
  EXPECT_THAT(ran.out, HasSubstr("R1=ctx()"));
  EXPECT_THAT(ran.out, HasSubstr("R10=fp0"));
}

TEST(VerifyCommand, PrintsBothVerdictsAgainstTheKernel) {
  const Ran ran = xnic({"verify", data_object("refused.o"), "--against", "kernel"});
  if (const std::string why = sim::why_no_real_kernel(); !why.empty()) {
    EXPECT_EQ(ran.code, 77);
    EXPECT_THAT(ran.err, HasSubstr("does not let this process load a program"));
    return;
  }
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("\n  xnic   rejected: packet access out of bounds at refused"));
  EXPECT_THAT(ran.out, HasSubstr("\n  Linux  rejected: packet access out of bounds at instr"));
  EXPECT_THAT(ran.out, HasSubstr("\n  Linux  accepted: "));
  EXPECT_THAT(ran.out, HasSubstr("; 0 of "));
  EXPECT_THAT(ran.out, Not(HasSubstr("the verdicts differ")));
}

TEST(VerifyCommand, JudgesTheUseOfObjectsAsLinuxDoes) {
  Words words = {"verify", data_object("object_faults.o"), "-j"};
  const bool asks_linux = sim::why_no_real_kernel().empty();
  if (asks_linux) words = words + Words{"--against", "kernel"};
  const Ran ran = xnic(words);
  ASSERT_EQ(ran.code, 3) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["accepted"], 1);
  EXPECT_EQ(report["left_out"], 0);
  for (const json& program : report["programs"]) {
    const bool is_fine = program["name"] == "fine";
    EXPECT_EQ(program["verdict"], is_fine ? "accepted" : "rejected") << program["name"];
    if (!asks_linux) continue;
    // Linux 6.18 lets a program write behind its object; later ones refuse it.
    if (program["name"] == "writes_tail" && program["linux"]["verdict"] == "accepted") continue;
    EXPECT_EQ(program["agrees"], true) << program["name"];
    if (is_fine) continue;
    EXPECT_EQ(program["rejection"]["category"], program["linux"]["category"])
        << program["name"] << "\nxnic: " << program["rejection"]["linux_words"]
        << "\nLinux: " << program["linux"]["words"];
  }
}

// Its programs name functions of the kernel, which only a whole kernel's types have.
TEST(VerifyCommand, JudgesKptrsToObjectsOfTheKernelAsLinuxDoes) {
  if (const std::string why = sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
  const Ran ran = xnic({"verify", data_object("kernel_kptrs.o"), "-j", "--against", "kernel"});
  ASSERT_EQ(ran.code, 3) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["accepted"], 4);
  EXPECT_EQ(report["rejected"], 7);
  for (const json& program : report["programs"]) {
    const bool is_fine = program["name"].get<std::string>().starts_with("fine");
    EXPECT_EQ(program["verdict"], is_fine ? "accepted" : "rejected") << program;
    EXPECT_EQ(program["agrees"], true) << program;
  }
}

TEST(VerifyCommand, TakesTheTypesOfAKernelRawAndInAnElfFile) {
  const std::string raw = "/sys/kernel/btf/vmlinux";
  if (!std::filesystem::exists(raw)) GTEST_SKIP() << raw << " does not exist";
  const traces::TemporaryFolder folder;
  const std::string elf = folder / "vmlinux";
  const std::string pack =
      "llvm-objcopy-19 --update-section .BTF=" + raw + " " + data_object("refused.o") + " " + elf;
  if (std::system(pack.c_str()) != 0) {
    GTEST_SKIP() << "llvm-objcopy-19 (package llvm-19) is not installed.";
  }
  for (const std::string& path : {raw, elf}) {
    const Ran ran = xnic(
        {"verify", data_object("kernel_kptrs.o"), "--program", "fine_exchange", "--btf", path});
    EXPECT_EQ(ran.code, 0) << path << ": " << ran.out << ran.err;
  }
}

TEST(VerifyCommand, NamesInstructionsWhereAnObjectHasNoLines) {
  const traces::TemporaryFolder folder;
  const std::string bare = folder / "bare.o";
  const std::string strip = "llvm-strip-19 -g --remove-section=.BTF --remove-section=.BTF.ext " +
                            data_object("unchecked_read.o") + " -o " + bare;
  if (std::system(strip.c_str()) != 0)
    GTEST_SKIP() << "llvm-strip-19 (package llvm-19) is not installed.";
  const Ran ran = xnic({"verify", bare});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("\n  instruction "));
  EXPECT_THAT(ran.out, HasSubstr("Suggestion: Missing bounds check"));
  EXPECT_THAT(ran.out, Not(HasSubstr(".c:")));
}

TEST(VerifyCommand, RefusesWhatIsNoObject) {
  const traces::TemporaryFolder folder;
  const std::string text = "no object at all";
  const std::string path = folder.write("text.o", {text.begin(), text.end()});
  EXPECT_EQ(xnic({"verify", path}).code, 4);
  EXPECT_EQ(xnic({"verify", folder / "absent.o"}).code, 4);
  EXPECT_EQ(xnic({"verify", data_object("no_program.o")}).code, 4);
  EXPECT_EQ(xnic({"verify"}).code, 2);
  EXPECT_EQ(xnic({"verify", example("firewall.o"), "--against", "nobody"}).code, 2);
}

TEST(VerifyCommand, SurvivesObjectsThatEndTooSoon) {
  const traces::TemporaryFolder folder;
  const std::string whole = text_of(data_object("refused.o"));
  for (size_t size = 0; size < whole.size(); size += whole.size() / 9) {
    const std::string path = folder.write("cut.o", {whole.begin(), whole.begin() + size});
    const Ran ran = xnic({"verify", path});
    EXPECT_EQ(ran.code, 4) << size << ": " << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("cut.o"));
  }
}

TEST(VerifyCommand, LeavesOutProgramsOfTypesThatDoNotExistHere) {
  const Ran ran = xnic({"verify", data_object("no_hook.o"), "-j"});
  const json report = json::parse(ran.out);
  for (const json& row : report["programs"]) {
    if (row["verdict"] != "left_out") continue;
    EXPECT_THAT(row["why"].get<std::string>(), HasSubstr("section"));
    EXPECT_FALSE(row.contains("statistics"));
  }
}

}  // namespace
}  // namespace xnic::command

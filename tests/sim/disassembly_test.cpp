// What xnic disasm prints of objects whose programs are known. The machine code is read back by
// Zydis, source lines by llvm-objdump where it is installed.
#include "sim/disassembly.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <memory>
#include <sstream>

#include "jit/code_listing.h"
#include "vm/isa.h"

namespace xnic::sim {
namespace {

const std::string kObjects[] = {XNIC_EXAMPLE_OBJECT, XNIC_BPF_OBJECTS "/map_kinds.o",
                                XNIC_BPF_OBJECTS "/subprograms.o", XNIC_BPF_OBJECTS "/callbacks.o",
                                XNIC_BPF_OBJECTS "/packet_loads.o"};

bool has_disassembler(const ObjectListing& listing) {
  const auto code = jit::list_code(*listing.programs[0].loaded, {});
  return code || code.error().code != ExitCode::not_available;
}

// All programs of all objects, as machine code with and without counters.
template <class Visit>
void for_each_program(Visit visit) {
  for (const std::string& path : kObjects) {
    const auto listing = list_object(path);
    ASSERT_TRUE(listing) << listing.error().message;
    if (!has_disassembler(*listing)) GTEST_SKIP() << "This xnic was built without libzydis-dev.";
    for (const ListedProgram& program : listing->programs) {
      for (const bool counts : {false, true}) visit(program, jit::JitOptions{.counts = counts});
    }
  }
}

TEST(Disassembly, ListsEveryInstructionOnceInOrder) {
  for_each_program([](const ListedProgram& program, const jit::JitOptions& options) {
    const auto text = disassembly_beside_code(program, options);
    ASSERT_TRUE(text) << text.error().message;
    std::istringstream lines(*text);
    std::string line;
    uint32_t expected = 0;
    while (std::getline(lines, line)) {
      uint32_t index = 0;
      int read = 0;
      if (std::sscanf(line.c_str(), "%u:%n", &index, &read) != 1 || read != 7) continue;
      ASSERT_EQ(index, expected) << program.name << "\n" << *text;
      expected += vm::slots(program.instructions[index]);
    }
    EXPECT_EQ(expected, program.instructions.size()) << program.name;
  });
}

TEST(Disassembly, ShowsEveryByteOfTheMachineCodeOnce) {
  for_each_program([](const ListedProgram& program, const jit::JitOptions& options) {
    const auto listing = jit::list_code(*program.loaded, options);
    ASSERT_TRUE(listing) << listing.error().message;
    uint64_t offset = 0;
    uint32_t slot = 0;
    for (const jit::ListedCode& part : listing->parts) {
      EXPECT_GE(part.first, slot) << program.name;
      EXPECT_GE(part.end, part.first) << program.name;
      slot = part.end;
      for (const jit::HostInstruction& one : part.code) {
        EXPECT_EQ(one.offset, offset) << program.name;
        EXPECT_NE(one.text, "(no instruction)") << program.name << " at " << one.offset;
        offset += one.size;
      }
    }
    EXPECT_EQ(offset, listing->bytes.size()) << program.name;
    EXPECT_GT(offset, 0u);
  });
}

TEST(Disassembly, CodeThatCountsIsAnotherThanCodeThatDoesNot) {
  const auto listing = list_object(XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(listing);
  if (!has_disassembler(*listing)) GTEST_SKIP() << "This xnic was built without libzydis-dev.";
  const auto plain = disassembly_beside_code(listing->programs[0], {.counts = false});
  const auto counting = disassembly_beside_code(listing->programs[0], {.counts = true});
  ASSERT_TRUE(plain && counting);
  EXPECT_NE(*plain, *counting);
}

TEST(Disassembly, SaysWhenTheCodeWouldBeTooLarge) {
  const auto listing = list_object(XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(listing);
  if (!has_disassembler(*listing)) GTEST_SKIP() << "This xnic was built without libzydis-dev.";
  const auto text = disassembly_beside_code(listing->programs[0], {.most_code_bytes = 100});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ExitCode::program_rejected);
  EXPECT_NE(text.error().message.find("larger than the limit of 100 bytes"), std::string::npos)
      << text.error().message;
}

TEST(Disassembly, SaysThatWhatDoesNotLoadHasNoMachineCode) {
  const auto listing = list_object(XNIC_TEST_OBJECTS "/unloadable.o");
  ASSERT_TRUE(listing);
  const auto text = disassembly_beside_code(listing->programs[0], {});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ExitCode::program_rejected);
  EXPECT_FALSE(disassembly(listing->programs[0]).empty());
}

TEST(Disassembly, JsonHoldsWhatTheTextShows) {
  const auto listing = list_object(XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(listing);
  const std::string text = disassembly(listing->programs[0]);
  size_t sources = 0;
  for (const Json& one : disassembly_json(listing->programs[0])) {
    EXPECT_NE(text.find(one["text"].get<std::string>()), std::string::npos);
    sources += one.contains("source");
  }
  EXPECT_GT(sources, 10u);
}

// By instruction, the number of the line that it belongs to: the one named last before it.
using Lines = std::map<uint32_t, uint32_t>;

// Without instructions of no line, which BTF does not tell from those in front of them. Empty where
// llvm-objdump is not installed.
Lines lines_of_objdump(const std::string& path) {
  const std::string command =
      "llvm-objdump-19 -d -l --no-show-raw-insn --section=xdp " + path + " 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  Lines lines;
  uint32_t line = 0;
  char text[4096];
  while (pipe != nullptr && std::fgets(text, sizeof(text), pipe.get()) != nullptr) {
    const std::string words = text;
    uint32_t index = 0;
    if (words.starts_with("; ") && words.rfind(':') != std::string::npos) {
      line = static_cast<uint32_t>(std::atoi(words.c_str() + words.rfind(':') + 1));
    } else if (line != 0 && std::sscanf(text, "%u:", &index) == 1) {
      lines[index] = line;
    }
  }
  return lines;
}

TEST(Disassembly, NamesTheSourceLinesThatObjdumpNames) {
  const Lines expected = lines_of_objdump(XNIC_EXAMPLE_OBJECT);
  if (expected.empty()) GTEST_SKIP() << "llvm-objdump-19 (package llvm-19) is not installed.";
  const auto listing = list_object(XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(listing);
  ASSERT_EQ(listing->programs.size(), 1u);
  Lines ours;
  uint32_t line = 0;
  for (const Json& one : disassembly_json(listing->programs[0])) {
    if (one.contains("source")) line = one["source"]["line"];
    if (expected.contains(one["index"])) ours[one["index"]] = line;
  }
  EXPECT_EQ(ours, expected);
  EXPECT_GT(ours.size(), listing->programs[0].instructions.size() / 2);
}

}  // namespace
}  // namespace xnic::sim

#include "vm/verifier.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/vm/kernel_oracle.h"
#include "tests/vm/program_builder.h"
#include "vm/interpreter.h"
#include "vm/map.h"
#include "vm/sha256.h"

namespace xnic::test {
namespace {

struct Row {
  const char* name;
  Code code;
  int error;                  // -errno, 0 where the program is accepted
  const char* message;        // part of it
  bool kernel_agrees = true;  // false where Linux sees a limit of ours differently
  const char* license = "GPL";
};

// A chain of `functions` functions, each of which calls the next.
Code call_chain(int functions) {
  Code code;
  for (int i = 0; i + 1 < functions; ++i) {
    code.push_back(call_function(1));
    code.push_back(exit_());
  }
  return code + mov(0, 0) + exit_();
}

std::vector<Row> rows() {
  const Code done = {mov(0, 0), exit_()};
  const Code two_calls_with_stack = {store_imm(BPF_DW, 10, -264, 0), call_function(1), exit_(),
                                     store_imm(BPF_DW, 10, -264, 0), mov(0, 0),        exit_()};
  return {
      {"smallest", done, 0, ""},
      {"empty", {}, -E2BIG, "instructions"},
      {"unknown opcode", Code{insn(0xff, 0, 0, 0, 0)} + done, -EINVAL, "unknown opcode"},
      {"sign-extending 64-bit load", Code{load_signed(BPF_DW, 0, 10, -8)} + done, -EINVAL,
       "opcode"},
      {"register 11", Code{mov(11, 0)} + done, -EINVAL, "R11 is invalid"},
      {"register 15 as source", Code{mov_reg(0, 15)} + done, -EINVAL, "R15 is invalid"},
      {"write to r10", Code{mov(10, 0)} + done, -EACCES, "frame pointer is read only"},
      {"add to r10", Code{alu64(BPF_ADD, 10, 8)} + done, -EACCES, "frame pointer is read only"},
      {"no exit", {mov(0, 0)}, -EINVAL, "last insn is not an exit or jmp"},
      {"jump past the end", {mov(0, 0), go(1), exit_()}, -EINVAL, "jump out of range"},
      {"jump before the start", {mov(0, 0), go(-3), exit_()}, -EINVAL, "jump out of range"},
      {"condition past the end", {mov(0, 0), jump(BPF_JEQ, 0, 0, 5), exit_()}, -EINVAL, "range"},
      {"unreachable", {mov(0, 0), exit_(), mov(0, 1), exit_()}, -EINVAL, "unreachable insn 2"},
      {"jump into ld_imm64", Code{mov(0, 0), jump(BPF_JEQ, 0, 0, 1)} + load64(1, 5) + exit_(),
       -EINVAL, "middle of ldimm64"},
      {"ld_imm64 cut off", {load64(0, 5)[0]}, -EINVAL, ""},
      {"ld_imm64 with a bad second half", Code{load64(0, 1)[0]} + done, -EINVAL, "ld_imm64"},
      {"ld_imm64 of an unknown kind", load64(0, 1, 9) + exit_(), -EINVAL, "unrecognized"},
      {"map that is none", load64(1, 9999, BPF_PSEUDO_MAP_FD) + done, -EBADF, "fd 9999"},
      {"fd_idx without array", load64(1, 0, BPF_PSEUDO_MAP_IDX) + done, -EPROTO, "fd_array"},
      {"division by immediate 0", Code{mov(0, 1), alu64(BPF_DIV, 0, 0), exit_()}, -EINVAL,
       "div by"},
      {"modulo by immediate 0", Code{mov(0, 1), alu32(BPF_MOD, 0, 0, 1), exit_()}, -EINVAL,
       "div by"},
      {"shift by 64", Code{mov(0, 1), alu64(BPF_LSH, 0, 64), exit_()}, -EINVAL, "invalid shift"},
      {"shift by 63", Code{mov(0, 1), alu64(BPF_LSH, 0, 63), exit_()}, 0, ""},
      {"shift by 32 in 32 bits", Code{mov(0, 1), alu32(BPF_RSH, 0, 32), exit_()}, -EINVAL, "shift"},
      {"shift by -1", Code{mov(0, 1), alu64(BPF_ARSH, 0, -1), exit_()}, -EINVAL, "shift"},
      {"alu with offset", Code{mov(0, 1), alu64(BPF_ADD, 0, 1, 1), exit_()}, -EINVAL, "reserved"},
      {"div with offset 2", Code{mov(0, 1), alu64(BPF_DIV, 0, 1, 2), exit_()}, -EINVAL, "reserved"},
      {"mov with offset 24", Code{mov(1, 1), alu64_reg(BPF_MOV, 0, 1, 24), exit_()}, -EINVAL,
       "res"},
      {"movsx32 of 32 bits", Code{mov(1, 1), alu32_reg(BPF_MOV, 0, 1, 32), exit_()}, -EINVAL,
       "res"},
      {"neg with immediate", Code{mov(0, 1), insn(BPF_ALU64 | BPF_NEG, 0, 0, 0, 1), exit_()},
       -EINVAL, "reserved"},
      {"swap of 24 bits", Code{mov(0, 1), swap(BPF_ALU, 0, 24), exit_()}, -EINVAL, "reserved"},
      {"goto with immediate", Code{mov(0, 0), insn(BPF_JMP | BPF_JA, 0, 0, 0, 1), exit_()}, -EINVAL,
       "reserved"},
      {"gotol with offset", Code{mov(0, 0), insn(BPF_JMP32 | BPF_JA, 0, 0, 1, 0), exit_()}, -EINVAL,
       "reserved"},
      {"condition with both operands",
       Code{mov(0, 0), insn(BPF_JMP | BPF_JEQ, 0, 1, 0, 0), exit_()}, -EINVAL, "reserved"},
      {"exit with immediate",
       {mov(0, 0), insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 1)},
       -EINVAL,
       "reserved"},
      {"load with immediate", Code{store_imm(BPF_DW, 10, -8, 0), insn(0x79, 0, 10, -8, 1), exit_()},
       -EINVAL, "reserved"},
      {"atomic of no kind",
       Code{mov(0, 0), store_imm(BPF_DW, 10, -8, 0), atomic(BPF_DW, 10, 0, -8, BPF_SUB), exit_()},
       -EINVAL, "invalid atomic"},
      {"16-bit atomic add",
       Code{mov(0, 0), store_imm(BPF_DW, 10, -8, 0), atomic(BPF_H, 10, 0, -8, BPF_ADD), exit_()},
       -EINVAL, "atomic operand size"},
      {"may_goto to where it goes anyway",
       Code{mov(0, 0), insn(BPF_JMP | vm::kJumpCounted, 0, 0, 0, 0), exit_()}, 0, ""},
      {"may_goto with immediate",
       Code{mov(0, 0), insn(BPF_JMP | vm::kJumpCounted, 0, 0, 1, 1), mov(0, 1), exit_()}, -EINVAL,
       "may_goto"},
      {"legacy packet load in XDP",
       Code{mov_reg(6, 1), insn(BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, 0), exit_()}, -EINVAL,
       "not allowed for this program type"},
      {"store at r10+0", Code{store_imm(BPF_DW, 10, 0, 0)} + done, -EACCES, "stack"},
      {"store straddling r10", Code{store_imm(BPF_DW, 10, -7, 0)} + done, -EACCES, "stack"},
      {"store at r10-512", Code{store_imm(BPF_DW, 10, -512, 0)} + done, 0, ""},
      {"store at r10-520", Code{store_imm(BPF_DW, 10, -520, 0)} + done, -EACCES, "stack"},
      {"unknown helper", Code{call(9999)} + done, -EINVAL, "invalid func"},
      {"helper 0", Code{call(0)} + done, -EINVAL, "invalid func"},
      {"call out of the program", Code{call_function(7)} + done, -EINVAL, "out of the program"},
      {"call with offset", Code{insn(BPF_JMP | BPF_CALL, 0, 0, 1, 7)} + done, -EINVAL, "reserved"},
      {"jump out of a function", {call_function(1), exit_(), mov(0, 0), go(-3)}, -EINVAL, "range"},
      {"fall through into a function",
       {mov(0, 0), call_function(1), mov(0, 0), exit_()},
       -EINVAL,
       "last insn"},
      {"recursion",
       {call_function(1), exit_(), call_function(-1), exit_()},
       -EINVAL,
       "recursive",
       false},
      {"8 frames", call_chain(8), 0, ""},
      {"9 frames", call_chain(9), -E2BIG, "too deep"},
      {"two frames with 528 bytes of stack", two_calls_with_stack, -EACCES, "combined stack"},
      {"printing without GPL",
       Code{mov(0, 0), store_imm(BPF_DW, 10, -8, 0), mov_reg(1, 10), alu64(BPF_ADD, 1, -8),
            mov(2, 8), call(BPF_FUNC_trace_printk), mov(0, 0), exit_()},
       -EINVAL, "GPL", true, "Proprietary"},
  };
}

TEST(Verifier, JudgesStructureWithTheErrorThatLinuxGives) {
  Maps none;
  for (const Row& row : rows()) {
    const auto program = verify(row.code, none, BPF_PROG_TYPE_XDP, row.license);
    EXPECT_EQ(program ? 0 : program.error().error, row.error)
        << row.name << ": " << (program ? "accepted" : program.error().message);
    if (!program) {
      EXPECT_NE(program.error().message.find(row.message), std::string::npos)
          << row.name << ": " << program.error().message;
    }
  }
}

TEST(Verifier, AgreesWithTheKernelOnStructure) {
  if (!kernel_permits_bpf()) GTEST_SKIP() << "bpf(2) is not permitted here.";
  for (const Row& row : rows()) {
    if (!row.kernel_agrees) continue;
    const KernelProgram program(row.code, row.license);
    EXPECT_EQ(program.error(), row.error) << row.name << "\n" << program.log();
  }
}

TEST(Verifier, RefusesAHelperOfAnotherProgramType) {
  Maps none;
  const auto program =
      verify({mov(2, 0), call(BPF_FUNC_xdp_adjust_head), exit_()}, none, BPF_PROG_TYPE_SCHED_CLS);
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().error, -EINVAL);
}

TEST(Verifier, NamesTheFunctionsOfAProgram) {
  const auto program = verify(call_chain(3));
  ASSERT_TRUE(program);
  const auto functions = (*program)->subprograms();
  ASSERT_EQ(functions.size(), 3u);
  EXPECT_EQ(functions[0].name, "test");
  EXPECT_EQ(functions[1].name, "subprog1");
  EXPECT_EQ(functions[1].start, 2u);
  EXPECT_EQ(functions[1].end, 4u);
}

TEST(Verifier, HashesAsFips180Does) {
  const auto hex = [](std::string_view text) {
    std::string result;
    for (const uint8_t byte :
         vm::sha256({reinterpret_cast<const uint8_t*>(text.data()), text.size()})) {
      result += fmt::format("{:02x}", byte);
    }
    return result;
  };
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Verifier, TagsAProgramAsTheKernelDoes) {
  if (!kernel_permits_bpf()) GTEST_SKIP() << "bpf(2) is not permitted here.";
  for (const Code& code : {Code{mov(0, 2), exit_()}, load64(0, 7) + exit_(), call_chain(4)}) {
    const KernelProgram kernel(code);
    ASSERT_EQ(kernel.error(), 0) << kernel.log();
    const auto info = kernel.info();
    ASSERT_TRUE(info);
    const auto program = verify(code);
    ASSERT_TRUE(program);
    EXPECT_TRUE(std::equal((*program)->tag().begin(), (*program)->tag().end(), info->tag))
        << "Kernels before 6.18 tag with SHA-1.";
  }
}

// Bytes that often make a known opcode, so that many programs get past the first instruction.
TEST(Verifier, SurvivesRandomProgramsAndTheInterpreterSurvivesThoseItAccepts) {
  std::mt19937_64 random(7);
  Code vocabulary;
  for (uint32_t code = 0; code < 256; ++code) {
    if (vm::opcode(static_cast<uint8_t>(code)).kind != vm::Kind::unknown) {
      vocabulary.push_back(insn(static_cast<int>(code), 0, 0, 0, 0));
    }
  }
  Maps none;
  vm::Interpreter interpreter;
  const std::vector<uint8_t> frame(64, 0xab);
  int accepted = 0;
  int faults = 0;
  for (int round = 0; round < 100'000; ++round) {
    const bool wild = round % 4 == 0;
    Code code(1 + random() % 8);
    for (bpf_insn& slot : code) {
      const uint64_t bytes = random();
      std::memcpy(&slot, &bytes, sizeof(slot));
      if (wild) continue;
      const auto below = [&random](int bound) { return static_cast<int>(random() % bound); };
      // Forward only: an endless loop takes its 1 << 26 instructions, too long for this many.
      slot = insn(vocabulary[random() % vocabulary.size()].code, below(10),
                  below(2) == 0 ? 0 : below(11), below(3) == 0 ? below(4) : 0,
                  below(2) == 0 ? 0 : below(66));
    }
    if (!wild) code.push_back(exit_());
    auto program = verify(code, none);
    if (!program) {
      ASSERT_LT(program.error().error, 0);
      ASSERT_FALSE(program.error().message.empty());
      continue;
    }
    if (wild) continue;
    ++accepted;
    vm::Packet packet(frame);
    vm::Environment environment;
    vm::Invocation invocation(packet, environment);
    interpreter.compile(**program)->run(invocation);
    faults += invocation.fault.has_value();
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(faults, 100);
}

}  // namespace
}  // namespace xnic::test

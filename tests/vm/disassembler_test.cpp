#include "vm/disassembler.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/vm/program_builder.h"

namespace xnic::test {
namespace {

std::string text(const bpf_insn& first) {
  const Code code = {first, insn(0, 0, 0, 0, 0x11)};
  return vm::disassemble(code, 0);
}

// The expectations follow the style of kernel/bpf/disasm.c as its log shows it.
TEST(Disassembler, WritesInstructionsAsTheKernelsLogDoes) {
  const std::pair<bpf_insn, const char*> rows[] = {
      {mov(0, -1), "r0 = -1"},
      {mov_reg(6, 1), "r6 = r1"},
      {alu32(BPF_ADD, 3, 7), "w3 += 7"},
      {alu32_reg(BPF_ARSH, 1, 2), "w1 s>>= w2"},
      {alu64_reg(BPF_LSH, 1, 2), "r1 <<= r2"},
      {alu64_reg(BPF_DIV, 1, 2, 1), "r1 s/= r2"},
      {alu64(BPF_MOD, 1, 9, 1), "r1 s%= 9"},
      {alu64_reg(BPF_MOV, 1, 2, 8), "r1 = (s8)r2"},
      {alu32_reg(BPF_MOV, 1, 2, 16), "w1 = (s16)w2"},
      {insn(BPF_ALU64 | BPF_NEG, 4, 0, 0, 0), "r4 = -r4"},
      {insn(BPF_ALU | BPF_NEG, 4, 0, 0, 0), "w4 = -w4"},
      {swap(BPF_ALU | BPF_TO_BE, 1, 16), "r1 = be16 r1"},
      {swap(BPF_ALU | BPF_TO_LE, 1, 64), "r1 = le64 r1"},
      {swap(BPF_ALU64, 1, 32), "r1 = bswap32 r1"},
      {load(BPF_W, 0, 1, 4), "r0 = *(u32 *)(r1 +4)"},
      {load(BPF_B, 0, 10, -4), "r0 = *(u8 *)(r10 -4)"},
      {load_signed(BPF_H, 0, 1, 0), "r0 = *(s16 *)(r1 +0)"},
      {store(BPF_DW, 10, 2, -8), "*(u64 *)(r10 -8) = r2"},
      {store_imm(BPF_H, 1, 6, -5), "*(u16 *)(r1 +6) = -5"},
      {atomic(BPF_DW, 1, 2, 0, BPF_ADD), "lock *(u64 *)(r1 +0) += r2"},
      {atomic(BPF_W, 1, 2, 8, BPF_XOR), "lock *(u32 *)(r1 +8) ^= r2"},
      {atomic(BPF_DW, 1, 2, 0, BPF_ADD | BPF_FETCH), "r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)"},
      {atomic(BPF_W, 1, 2, 0, BPF_OR | BPF_FETCH), "r2 = atomic_fetch_or((u32 *)(r1 +0), r2)"},
      {atomic(BPF_H, 1, 2, 4, vm::kLoadAcquire), "r1 = load_acquire((u16 *)(r2 +4))"},
      {atomic(BPF_DW, 1, 2, -8, vm::kStoreRelease), "store_release((u64 *)(r1 -8), r2)"},
      {insn(BPF_JMP | vm::kJumpCounted, 0, 0, -3, 0), "may_goto pc-3"},
      {atomic(BPF_W, 1, 2, 0, BPF_XCHG), "r2 = atomic_xchg((u32 *)(r1 +0), r2)"},
      {atomic(BPF_DW, 1, 2, 0, BPF_CMPXCHG), "r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)"},
      {go(1), "goto pc+1"},
      {go_long(-2), "gotol pc-2"},
      {jump(BPF_JGT, 1, 5, 3), "if r1 > 0x5 goto pc+3"},
      {jump32(BPF_JSLT, 1, -1, -3), "if w1 s< 0xffffffff goto pc-3"},
      {jump_reg(BPF_JSET, 1, 2, 3), "if r1 & r2 goto pc+3"},
      {call(BPF_FUNC_map_lookup_elem), "call bpf_map_lookup_elem#1"},
      {call_function(7), "call pc+7"},
      {load64(1, 0)[0], "r1 = 0x1100000000"},
      {load64(1, 5, BPF_PSEUDO_MAP_FD)[0], "r1 = map[fd:5]"},
      {exit_(), "exit"},
      {insn(0xff, 0, 0, 0, 0), "unknown opcode 0xff"},
  };
  for (const auto& [instruction, expected] : rows) EXPECT_EQ(text(instruction), expected);
}

TEST(Disassembler, SurvivesArbitraryBytes) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t bytes = random();
    Code code(1);
    std::memcpy(code.data(), &bytes, sizeof(bytes));
    EXPECT_FALSE(vm::disassemble(code, 0).empty());
  }
}

}  // namespace
}  // namespace xnic::test

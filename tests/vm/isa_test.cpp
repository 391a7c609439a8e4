#include "vm/isa.h"

#include <gtest/gtest.h>

namespace xnic::vm {
namespace {

TEST(Isa, HasEveryOpcodeOfRfc9669AndMayGotoAndNoOther) {
  // Counted from the RFC: of ALU 12 operations with two sources, neg, and byte order; the same 12,
  // neg and the unconditional swap in ALU64; 11 conditions with two sources and two widths, ja,
  // gotol, call, exit; loads of 4 sizes, 3 signed ones, stores of 4 sizes twice, atomics of 4
  // sizes; ld_imm64 and legacy packet loads of 3 sizes in two modes. Beyond the RFC: may_goto, and
  // 8 and 16 bits for load-acquire and store-release.
  const int expected = (12 * 2 + 1 + 2) + (12 * 2 + 1 + 1) + (11 * 2 * 2 + 2 + 1 + 1 + 1) +
                       (4 + 3 + 4 + 4 + 4) + (1 + 6);
  int known = 0;
  for (const Opcode& op : kOpcodes) known += op.kind != Kind::unknown;
  EXPECT_EQ(known, expected);
}

TEST(Isa, KnowsTheWidthAndSourceOfAnInstruction) {
  EXPECT_EQ(opcode(uint8_t{0x07}).width, 8);  // r += imm
  EXPECT_FALSE(opcode(uint8_t{0x07}).source_register);
  EXPECT_EQ(opcode(uint8_t{0x0c}).width, 4);  // w += w
  EXPECT_TRUE(opcode(uint8_t{0x0c}).source_register);
  EXPECT_EQ(opcode(uint8_t{0x71}).width, 1);  // r = *(u8 *)
  EXPECT_EQ(opcode(uint8_t{0x69}).width, 2);
  EXPECT_EQ(opcode(uint8_t{0x91}).kind, Kind::load_signed);
  EXPECT_EQ(opcode(uint8_t{0x99}).kind, Kind::unknown);  // no sign-extending 64-bit load
  EXPECT_EQ(opcode(uint8_t{0xc3}).kind, Kind::atomic);
  EXPECT_EQ(opcode(uint8_t{0xcb}).width, 2);  // for load-acquire and store-release
}

TEST(Isa, TakesTheDistanceOfALongJumpFromTheImmediate) {
  bpf_insn insn{};
  insn.off = -3;
  insn.imm = 70000;
  insn.code = BPF_JMP | BPF_JA;
  EXPECT_EQ(jump_distance(insn), -3);
  insn.code = BPF_JMP32 | BPF_JA;
  EXPECT_EQ(jump_distance(insn), 70000);
}

}  // namespace
}  // namespace xnic::vm

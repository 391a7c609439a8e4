#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/vm/program_builder.h"

// What RFC 9669 says each instruction does, as programs with the r0 they must return. They run on
// every engine and, where that is permitted, in the kernel.
namespace xnic::test {

struct InstructionCase {
  std::string name;
  Code code;
  uint64_t r0;
};

inline constexpr uint64_t kAllOnes = ~uint64_t{0};
inline constexpr uint64_t kMin64 = uint64_t{1} << 63;
inline constexpr uint64_t kMin32 = uint64_t{1} << 31;
inline constexpr uint64_t kPattern = 0x1122334455667788;
inline constexpr uint64_t kHigh = 0xfedcba9876543210;

// dst = a, src = b, for each assignment of registers that x86 treats specially.
inline void add_binary(std::vector<InstructionCase>& cases, const std::string& name, int code_class,
                       int op, int off, uint64_t a, uint64_t b, uint64_t expected) {
  static constexpr int kPairs[][2] = {{0, 1}, {3, 4}, {4, 3}, {4, 2},
                                      {0, 3}, {3, 0}, {7, 4}, {6, 9}};
  for (const auto& [dst, src] : kPairs) {
    cases.push_back({name + " r" + std::to_string(dst) + " r" + std::to_string(src),
                     load64(dst, a) + load64(src, b) +
                         insn(code_class | op | BPF_X, dst, src, off, 0) + mov_reg(0, dst) +
                         exit_(),
                     expected});
  }
  // The immediate form where the operand is one.
  const auto imm = static_cast<int32_t>(b);
  const bool fits = code_class == BPF_ALU ? b == static_cast<uint32_t>(imm)
                                          : b == static_cast<uint64_t>(int64_t{imm});
  const bool shift = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
  const uint64_t bits = code_class == BPF_ALU ? 32 : 64;
  if (fits && !(shift && b >= bits) && !((op == BPF_DIV || op == BPF_MOD) && b == 0) &&
      !(op == BPF_MOV && off != 0)) {
    cases.push_back({name + " immediate",
                     load64(0, a) + insn(code_class | op | BPF_K, 0, 0, off, imm) + exit_(),
                     expected});
  }
}

inline void add_unary(std::vector<InstructionCase>& cases, const std::string& name,
                      const bpf_insn& operation, uint64_t a, uint64_t expected) {
  cases.push_back({name, load64(0, a) + operation + exit_(), expected});
}

inline void add_jump(std::vector<InstructionCase>& cases, const std::string& name, int code_class,
                     int op, uint64_t a, uint64_t b, bool taken) {
  cases.push_back({name,
                   load64(1, a) + load64(2, b) + mov(0, 1) +
                       insn(code_class | op | BPF_X, 1, 2, 1, 0) + mov(0, 0) + exit_(),
                   taken ? 1u : 0u});
  const auto imm = static_cast<int32_t>(b);
  const bool fits = code_class == BPF_JMP32 ? b == static_cast<uint32_t>(imm)
                                            : b == static_cast<uint64_t>(int64_t{imm});
  if (!fits) return;
  cases.push_back(
      {name + " immediate",
       load64(1, a) + mov(0, 1) + insn(code_class | op | BPF_K, 1, 0, 1, imm) + mov(0, 0) + exit_(),
       taken ? 1u : 0u});
}

inline std::vector<InstructionCase> arithmetic_cases() {
  std::vector<InstructionCase> c;
  constexpr int k64 = BPF_ALU64;
  constexpr int k32 = BPF_ALU;
  add_binary(c, "add64 wraps", k64, BPF_ADD, 0, kAllOnes, 1, 0);
  add_binary(c, "add64 carries into the high half", k64, BPF_ADD, 0, 0xffffffff, 1, 0x100000000);
  add_binary(c, "add32 wraps and clears the high half", k32, BPF_ADD, 0, kAllOnes, 1, 0);
  add_binary(c, "sub64 borrows", k64, BPF_SUB, 0, 0, 1, kAllOnes);
  add_binary(c, "sub32 borrows within 32 bits", k32, BPF_SUB, 0, 0, 1, 0xffffffff);
  add_binary(c, "mul64", k64, BPF_MUL, 0, 0x100000001, 0x10, 0x1000000010);
  add_binary(c, "mul64 by minus one", k64, BPF_MUL, 0, 5, kAllOnes, static_cast<uint64_t>(-5));
  add_binary(c, "mul32 truncates", k32, BPF_MUL, 0, 0x80000001, 2, 2);
  add_binary(c, "or64", k64, BPF_OR, 0, 0xf0f0, kMin64, kMin64 | 0xf0f0);
  add_binary(c, "or32 clears the high half", k32, BPF_OR, 0, kHigh, 0xf, 0x7654321f);
  add_binary(c, "and64 with a sign-extended immediate", k64, BPF_AND, 0, kHigh, kAllOnes - 0xf,
             kHigh & ~uint64_t{0xf});
  add_binary(c, "and32", k32, BPF_AND, 0, kHigh, 0xfffffff0, 0x76543210);
  add_binary(c, "xor64", k64, BPF_XOR, 0, kHigh, kAllOnes, 0x0123456789abcdef);
  add_binary(c, "xor32", k32, BPF_XOR, 0, kHigh, 0xffffffff, 0x89abcdef);
  add_binary(c, "mov64", k64, BPF_MOV, 0, 1, kHigh, kHigh);
  add_binary(c, "mov64 sign-extends its immediate", k64, BPF_MOV, 0, 1, kAllOnes, kAllOnes);
  add_binary(c, "mov32 clears the high half", k32, BPF_MOV, 0, kAllOnes, 0xffffffff, 0xffffffff);

  add_binary(c, "div64 is unsigned", k64, BPF_DIV, 0, kAllOnes, 2, 0x7fffffffffffffff);
  add_binary(c, "div64 by zero gives 0", k64, BPF_DIV, 0, kHigh, 0, 0);
  add_binary(c, "div64 by a large number", k64, BPF_DIV, 0, kMin64, kAllOnes, 0);
  add_binary(c, "div32 uses the low halves", k32, BPF_DIV, 0, 0x500000064, 7, 14);
  add_binary(c, "div32 by zero in the low half gives 0", k32, BPF_DIV, 0, 100, 0x100000000, 0);
  add_binary(c, "mod64", k64, BPF_MOD, 0, kAllOnes, 10, 5);
  add_binary(c, "mod64 by zero leaves dst", k64, BPF_MOD, 0, kHigh, 0, kHigh);
  add_binary(c, "mod32 by zero truncates dst", k32, BPF_MOD, 0, kHigh, 0, 0x76543210);
  add_binary(c, "mod32", k32, BPF_MOD, 0, 0xffffffff, 16, 15);
  add_binary(c, "sdiv64 truncates toward zero", k64, BPF_DIV, 1, static_cast<uint64_t>(-7), 2,
             static_cast<uint64_t>(-3));
  add_binary(c, "sdiv64 of the minimum by minus one", k64, BPF_DIV, 1, kMin64, kAllOnes, kMin64);
  add_binary(c, "sdiv64 by zero gives 0", k64, BPF_DIV, 1, kMin64, 0, 0);
  add_binary(c, "sdiv32 of the minimum by minus one", k32, BPF_DIV, 1, kMin32, 0xffffffff, kMin32);
  add_binary(c, "sdiv32", k32, BPF_DIV, 1, 0xfffffff9, 2, 0xfffffffd);
  add_binary(c, "sdiv32 by zero gives 0", k32, BPF_DIV, 1, 0xfffffff9, 0, 0);
  add_binary(c, "smod64 has the sign of the dividend", k64, BPF_MOD, 1, static_cast<uint64_t>(-13),
             3, kAllOnes);
  add_binary(c, "smod64 by a negative number", k64, BPF_MOD, 1, 13, static_cast<uint64_t>(-3), 1);
  add_binary(c, "smod64 of the minimum by minus one", k64, BPF_MOD, 1, kMin64, kAllOnes, 0);
  add_binary(c, "smod64 by zero leaves dst", k64, BPF_MOD, 1, kMin64, 0, kMin64);
  add_binary(c, "smod32 of the minimum by minus one", k32, BPF_MOD, 1, kMin32, 0xffffffff, 0);
  add_binary(c, "smod32", k32, BPF_MOD, 1, 0xfffffff3, 3, 0xffffffff);
  add_binary(c, "smod32 by zero truncates dst", k32, BPF_MOD, 1, kHigh, 0, 0x76543210);

  add_binary(c, "lsh64", k64, BPF_LSH, 0, 1, 63, kMin64);
  add_binary(c, "lsh64 masks its count to 6 bits", k64, BPF_LSH, 0, 3, 65, 6);
  add_binary(c, "lsh64 by zero", k64, BPF_LSH, 0, kHigh, 0, kHigh);
  add_binary(c, "lsh32", k32, BPF_LSH, 0, 3, 31, kMin32);
  add_binary(c, "lsh32 masks its count to 5 bits", k32, BPF_LSH, 0, 3, 33, 6);
  add_binary(c, "lsh32 by zero clears the high half", k32, BPF_LSH, 0, kHigh, 0, 0x76543210);
  add_binary(c, "rsh64 fills with zeros", k64, BPF_RSH, 0, kMin64, 63, 1);
  add_binary(c, "rsh32 ignores the high half", k32, BPF_RSH, 0, 0x180000000, 31, 1);
  add_binary(c, "rsh32 by zero clears the high half", k32, BPF_RSH, 0, kHigh, 0, 0x76543210);
  add_binary(c, "arsh64 fills with the sign", k64, BPF_ARSH, 0, kMin64, 63, kAllOnes);
  add_binary(c, "arsh32 fills with bit 31", k32, BPF_ARSH, 0, 0x80000000, 31, 0xffffffff);
  add_binary(c, "arsh32 of a positive low half", k32, BPF_ARSH, 0, kMin64 | 0x40000000, 30, 1);

  add_binary(c, "movsx64 from 8 bits", k64, BPF_MOV, 8, 0, 0x1280, 0xffffffffffffff80);
  add_binary(c, "movsx64 from 8 bits, positive", k64, BPF_MOV, 8, 0, 0xff7f, 0x7f);
  add_binary(c, "movsx64 from 16 bits", k64, BPF_MOV, 16, 0, 0x18000, 0xffffffffffff8000);
  add_binary(c, "movsx64 from 32 bits", k64, BPF_MOV, 32, 0, 0x180000000, 0xffffffff80000000);
  add_binary(c, "movsx32 from 8 bits", k32, BPF_MOV, 8, 0, 0x1280, 0xffffff80);
  add_binary(c, "movsx32 from 16 bits", k32, BPF_MOV, 16, 0, 0x18000, 0xffff8000);

  add_unary(c, "neg64", insn(BPF_ALU64 | BPF_NEG, 0, 0, 0, 0), 1, kAllOnes);
  add_unary(c, "neg64 of the minimum", insn(BPF_ALU64 | BPF_NEG, 0, 0, 0, 0), kMin64, kMin64);
  add_unary(c, "neg32", insn(BPF_ALU | BPF_NEG, 0, 0, 0, 0), 1, 0xffffffff);
  add_unary(c, "le16 truncates", swap(BPF_ALU | BPF_TO_LE, 0, 16), kPattern, 0x7788);
  add_unary(c, "le32 truncates", swap(BPF_ALU | BPF_TO_LE, 0, 32), kPattern, 0x55667788);
  add_unary(c, "le64", swap(BPF_ALU | BPF_TO_LE, 0, 64), kPattern, kPattern);
  add_unary(c, "be16", swap(BPF_ALU | BPF_TO_BE, 0, 16), kPattern, 0x8877);
  add_unary(c, "be32", swap(BPF_ALU | BPF_TO_BE, 0, 32), kPattern, 0x88776655);
  add_unary(c, "be64", swap(BPF_ALU | BPF_TO_BE, 0, 64), kPattern, 0x8877665544332211);
  add_unary(c, "bswap16", swap(BPF_ALU64, 0, 16), kPattern, 0x8877);
  add_unary(c, "bswap32", swap(BPF_ALU64, 0, 32), kPattern, 0x88776655);
  add_unary(c, "bswap64", swap(BPF_ALU64, 0, 64), kPattern, 0x8877665544332211);
  return c;
}

inline std::vector<InstructionCase> jump_cases() {
  std::vector<InstructionCase> c;
  constexpr uint64_t kMinus = kAllOnes;
  struct Row {
    const char* name;
    int op;
    // Whether it is taken for (1, 1), (1, 2), (2, 1), (-1, 1), (1, -1), in this order.
    bool taken[5];
  };
  static constexpr Row kRows[] = {
      {"jeq", BPF_JEQ, {true, false, false, false, false}},
      {"jne", BPF_JNE, {false, true, true, true, true}},
      {"jgt", BPF_JGT, {false, false, true, true, false}},
      {"jge", BPF_JGE, {true, false, true, true, false}},
      {"jlt", BPF_JLT, {false, true, false, false, true}},
      {"jle", BPF_JLE, {true, true, false, false, true}},
      {"jsgt", BPF_JSGT, {false, false, true, false, true}},
      {"jsge", BPF_JSGE, {true, false, true, false, true}},
      {"jslt", BPF_JSLT, {false, true, false, true, false}},
      {"jsle", BPF_JSLE, {true, true, false, true, false}},
      {"jset", BPF_JSET, {true, false, false, true, true}},
  };
  static constexpr uint64_t kPairs[5][2] = {{1, 1}, {1, 2}, {2, 1}, {kMinus, 1}, {1, kMinus}};
  for (const Row& row : kRows) {
    for (int i = 0; i < 5; ++i) {
      const auto [a, b] = kPairs[i];
      const std::string name = row.name + std::string(" case ") + std::to_string(i);
      add_jump(c, name, BPF_JMP, row.op, a, b, row.taken[i]);
      // The high halves must not matter to the 32-bit class.
      add_jump(c, name + " 32", BPF_JMP32, row.op, (a & 0xffffffff) | kMin64, b & 0xffffffff,
               row.taken[i]);
    }
  }
  c.push_back({"gotol jumps over",
               Code{mov(0, 7), mov(2, 0), jump(BPF_JEQ, 2, 1, 1), go_long(1), mov(0, 8), exit_()},
               7});
  c.push_back({"may_goto falls through before its limit",
               Code{mov(0, 7), insn(BPF_JMP | vm::kJumpCounted, 0, 0, 1, 0), mov(0, 8), exit_()},
               8});
  c.push_back({"goto and a backward jump",
               Code{mov(0, 0), mov(1, 5), alu64(BPF_ADD, 0, 3), alu64(BPF_SUB, 1, 1),
                    jump(BPF_JNE, 1, 0, -3), exit_()},
               15});
  return c;
}

inline std::vector<InstructionCase> memory_cases() {
  std::vector<InstructionCase> c;
  const Code pattern = load64(1, 0x8182838485868788) + store(BPF_DW, 10, 1, -8);
  const auto loads = [&](const char* name, const bpf_insn& load_insn, uint64_t expected) {
    c.push_back({name, pattern + load_insn + exit_(), expected});
  };
  loads("load u8", load(BPF_B, 0, 10, -8), 0x88);
  loads("load u16", load(BPF_H, 0, 10, -8), 0x8788);
  loads("load u32", load(BPF_W, 0, 10, -8), 0x85868788);
  loads("load u64", load(BPF_DW, 0, 10, -8), 0x8182838485868788);
  loads("load s8", load_signed(BPF_B, 0, 10, -8), 0xffffffffffffff88);
  loads("load s16", load_signed(BPF_H, 0, 10, -8), 0xffffffffffff8788);
  loads("load s32", load_signed(BPF_W, 0, 10, -8), 0xffffffff85868788);
  const auto stores = [&](const char* name, const bpf_insn& store_insn, uint64_t expected) {
    c.push_back({name,
                 pattern + load64(2, kPattern) + store_insn + load(BPF_DW, 0, 10, -8) + exit_(),
                 expected});
  };
  stores("store u8", store(BPF_B, 10, 2, -8), 0x8182838485868788);
  stores("store u8 at +1", store(BPF_B, 10, 2, -7), 0x8182838485868888);
  stores("store u16", store(BPF_H, 10, 2, -6), 0x8182838477888788);
  stores("store u32", store(BPF_W, 10, 2, -4), 0x5566778885868788);
  stores("store u64", store(BPF_DW, 10, 2, -8), kPattern);
  stores("store immediate u8", store_imm(BPF_B, 10, -8, 0x1234), 0x8182838485868734);
  stores("store immediate u16", store_imm(BPF_H, 10, -8, -2), 0x818283848586fffe);
  stores("store immediate u32", store_imm(BPF_W, 10, -8, -1), 0x81828384ffffffff);
  stores("store immediate u64 sign-extends", store_imm(BPF_DW, 10, -8, -2), 0xfffffffffffffffe);
  stores("unaligned store", store(BPF_B, 10, 2, -5), 0x8182838488868788);

  // Atomics: memory holds 0x81..88, r2 holds 0x11..88; `memory` after, or what was fetched.
  const uint64_t m = 0x8182838485868788;
  struct Row {
    const char* name;
    int32_t op;
    uint64_t memory64;
    uint64_t memory32;
  };
  const uint64_t high = m & 0xffffffff00000000;
  const Row rows[] = {
      {"add", BPF_ADD, m + kPattern, high | static_cast<uint32_t>(0x85868788u + 0x55667788u)},
      {"or", BPF_OR, m | kPattern, high | (0x85868788u | 0x55667788u)},
      {"and", BPF_AND, m & kPattern, high | (0x85868788u & 0x55667788u)},
      {"xor", BPF_XOR, m ^ kPattern, high | (0x85868788u ^ 0x55667788u)},
      {"exchange", vm::kAtomicExchange, kPattern, high | 0x55667788u},
  };
  for (const Row& row : rows) {
    for (const int size : {BPF_DW, BPF_W}) {
      const std::string name = std::string("atomic ") + row.name + (size == BPF_DW ? "64" : "32");
      const uint64_t after = size == BPF_DW ? row.memory64 : row.memory32;
      const Code setup = pattern + load64(2, kPattern);
      c.push_back({name,
                   setup + atomic(size, 10, 2, -8, row.op) + load(BPF_DW, 0, 10, -8) + exit_(),
                   after});
      if (row.op != vm::kAtomicExchange) {
        c.push_back({name + " leaves its operand",
                     setup + atomic(size, 10, 2, -8, row.op) + mov_reg(0, 2) + exit_(), kPattern});
      }
      c.push_back(
          {name + " with fetch",
           setup + atomic(size, 10, 2, -8, row.op | vm::kAtomicFetch) + mov_reg(0, 2) + exit_(),
           size == BPF_DW ? m : 0x85868788});
    }
  }
  const auto exchange = [&](const char* name, int size, uint64_t r0, bool read_memory,
                            uint64_t expected) {
    c.push_back({name,
                 pattern + load64(2, kPattern) + load64(0, r0) +
                     atomic(size, 10, 2, -8, vm::kAtomicCompareExchange) +
                     (read_memory ? Code{load(BPF_DW, 0, 10, -8)} : Code{}) + exit_(),
                 expected});
  };
  exchange("cmpxchg64 that matches stores", BPF_DW, m, true, kPattern);
  exchange("cmpxchg64 that matches gives the old value", BPF_DW, m, false, m);
  exchange("cmpxchg64 that fails leaves memory", BPF_DW, 1, true, m);
  exchange("cmpxchg64 that fails gives the old value", BPF_DW, 1, false, m);
  exchange("cmpxchg32 compares the low half", BPF_W, 0x85868788, true, high | 0x55667788);
  exchange("cmpxchg32 that fails gives 32 bits", BPF_W, 1, false, 0x85868788);
  exchange("cmpxchg32 that matches clears the high half of r0", BPF_W, kMin64 | 0x85868788, false,
           0x85868788);

  // r1 holds `pattern`, as the memory does; r2 a pointer to it for the load.
  const auto ordered = [&](const char* name, int size, uint64_t loaded, uint64_t stored) {
    c.push_back({std::string("load-acquire ") + name,
                 pattern + mov_reg(2, 10) + atomic(size, 0, 2, -8, vm::kLoadAcquire) + exit_(),
                 loaded});
    c.push_back({std::string("store-release ") + name,
                 pattern + load64(2, kPattern) + atomic(size, 10, 2, -8, vm::kStoreRelease) +
                     load(BPF_DW, 0, 10, -8) + exit_(),
                 stored});
  };
  ordered("u8", BPF_B, 0x88, 0x8182838485868788);
  ordered("u16", BPF_H, 0x8788, 0x8182838485867788);
  ordered("u32", BPF_W, 0x85868788, 0x8182838455667788);
  ordered("u64", BPF_DW, m, kPattern);

  c.push_back({"a subprogram keeps r6 to r9 of its caller",
               Code{mov(6, 11), mov(1, 4), call_function(2), alu64_reg(BPF_ADD, 0, 6), exit_(),
                    mov(6, 100), mov_reg(0, 1), alu64(BPF_MUL, 0, 10), exit_()},
               51});
  c.push_back({"a subprogram writes its caller's stack through a pointer",
               Code{store_imm(BPF_DW, 10, -8, 1), mov_reg(1, 10), alu64(BPF_ADD, 1, -8),
                    call_function(2), load(BPF_DW, 0, 10, -8), exit_(),
                    store_imm(BPF_DW, 10, -8, 5), store_imm(BPF_DW, 1, 0, 42), mov(0, 0), exit_()},
               42});
  return c;
}

}  // namespace xnic::test

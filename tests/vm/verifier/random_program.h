#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <random>

#include "tests/support/instructions.h"

namespace xnic::test {

// Stands for the descriptor of the map in a program: an array of 2 values of 16 bytes.
inline constexpr int kMapFd = -1;

inline Instructions with_map(Instructions code, int fd) {
  for (bpf_insn& insn : code) {
    const bool names_map =
        insn.code == (BPF_LD | BPF_DW | BPF_IMM) && insn.src_reg == BPF_PSEUDO_MAP_FD;
    if (names_map) insn.imm = fd;
  }
  return code;
}

// Small programs that are mostly right, and often just not: at the edges of the packet, of a map
// value of 16 bytes and of the stack, with numbers near the edges of ranges.
class RandomProgram {
 public:
  // `takes_addresses`: now and then one takes an address for a number, so that what it does depends
  // on where things lie.
  explicit RandomProgram(uint32_t seed, bool takes_addresses = true)
      : random_(seed), takes_addresses_(takes_addresses) {}

  // r6: context, r7: data, r8: data_end or the value, r9: a number that nobody knows; r0 to r5
  // come and go.
  Instructions make() {
    code_ = {move(r6, r1), load(4, r7, r6, 0), load(4, r8, r6, 4), load(4, r9, r6, 12)};
    for (int16_t at = -8; at >= -32; at = static_cast<int16_t>(at - 8)) {
      code_.push_back(store(8, r10, at, constant()));
    }
    for (const Register to : {r0, r1, r2, r3, r4, r5}) write_number(to);
    if (odds(2)) {
      check_packet();
    } else {
      look_up();
    }
    const uint32_t length = 3 + pick(20);
    for (uint32_t i = 0; i < length; ++i) step(length - i);
    code_.push_back(move(r0, 2));
    code_.push_back(leave());
    return code_;
  }

 private:
  uint32_t pick(uint32_t count) { return static_cast<uint32_t>(random_() % count); }
  bool odds(uint32_t against) { return pick(against) == 0; }
  Register scratch() { return static_cast<Register>(pick(6)); }
  // Mostly one that holds a number.
  Register number() {
    if (takes_addresses_ && odds(40)) return static_cast<Register>(pick(11));
    for (int tries = 0; tries < 20; ++tries) {
      const Register r = scratch();
      if (!is_pointer_[r]) return r;
    }
    return r9;
  }
  int32_t constant() {
    static constexpr int32_t kEdges[] = {0,  1,   -1,  2,   3,         4,         7,     8,   14,
                                         15, 16,  31,  32,  63,        64,        255,   256, -4,
                                         -8, 511, 512, -16, INT32_MAX, INT32_MIN, 0xffff};
    return kEdges[pick(std::size(kEdges))];
  }
  uint32_t size() { return 1u << pick(4); }
  int16_t slot() { return static_cast<int16_t>(-8 * (1 + static_cast<int>(pick(4)))); }

  void write_number(Register to) {
    code_.push_back(odds(2) ? move(to, constant()) : move(to, r9));
    is_pointer_[to] = false;
  }

  void check_packet() {
    bytes_ = 1 + pick(24);
    static constexpr uint8_t kComparisons[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE};
    code_.push_back(move(r5, r7));
    code_.push_back(alu(BPF_ADD, r5, static_cast<int32_t>(bytes_)));
    const bool exchange = odds(2);
    const uint8_t comparison = kComparisons[odds(4) ? pick(4) : pick(2) + (exchange ? 2 : 0)];
    code_.push_back(exchange ? jump(comparison, r8, r5, 2) : jump(comparison, r5, r8, 2));
    base_ = r7;
    code_.push_back(jump(BPF_JA, r0, 0, 2));
    code_.push_back(move(r0, 1));
    code_.push_back(leave());
    write_number(r5);
  }

  void look_up() {
    code_ = code_ +
            Instructions{store(4, r10, -8, static_cast<int32_t>(pick(4))), move(r2, r10),
                         alu(BPF_ADD, r2, -8)} +
            load_map(r1, kMapFd) + Instructions{call(BPF_FUNC_map_lookup_elem)};
    if (!odds(8)) {
      code_.push_back(jump(BPF_JNE, r0, 0, 2));
      code_.push_back(move(r0, 1));
      code_.push_back(leave());
    }
    code_.push_back(move(r8, r0));
    bytes_ = 16;
    base_ = r8;
    for (const Register to : {r0, r1, r2, r3, r4, r5}) write_number(to);
  }

  void step(uint32_t left) {
    switch (pick(9)) {
      case 0:
      case 1:
        compute();
        return;
      case 2:
      case 3:
        branch(left);
        return;
      case 4:
        access();
        return;
      case 5:
        access_at_number();
        return;
      case 6:
        code_.push_back(store(odds(2) ? 8 : size(), r10, slot(), number()));
        return;
      case 7: {
        const Register to = scratch();
        code_.push_back(load(odds(2) ? 8 : size(), to, r10, slot()));
        is_pointer_[to] = false;
        return;
      }
      default:
        write_number(scratch());
        return;
    }
  }

  void compute() {
    static constexpr uint8_t kAlu[] = {BPF_ADD, BPF_SUB, BPF_AND,  BPF_OR,  BPF_LSH, BPF_RSH,
                                       BPF_MUL, BPF_XOR, BPF_ARSH, BPF_ADD, BPF_AND, BPF_MOV};
    const uint8_t operation = kAlu[pick(std::size(kAlu))];
    const Register to = number();
    bpf_insn insn = odds(2) ? alu(operation, to, constant()) : alu(operation, to, number());
    const bool wide = !odds(3);
    const bool shifts = operation == BPF_LSH || operation == BPF_RSH || operation == BPF_ARSH;
    if (BPF_SRC(insn.code) == BPF_K && shifts)
      insn.imm = static_cast<int32_t>(pick(wide ? 64 : 32));
    if (!wide) insn.code = static_cast<uint8_t>((insn.code & ~7) | BPF_ALU);
    code_.push_back(insn);
  }

  void branch(uint32_t left) {
    static constexpr uint8_t kJumps[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
                                         BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};
    const auto distance = static_cast<int16_t>(pick(std::min(left, 4u)));
    const uint8_t condition = kJumps[pick(std::size(kJumps))];
    bpf_insn insn = odds(2) ? jump(condition, number(), constant(), distance)
                            : jump(condition, number(), number(), distance);
    if (odds(3)) insn.code = static_cast<uint8_t>((insn.code & ~7) | BPF_JMP32);
    code_.push_back(insn);
  }

  void access() {
    const uint32_t bytes = size();
    const auto at = static_cast<int16_t>(
        odds(12) ? pick(bytes_ + 2) : (bytes_ < bytes ? 0 : pick(bytes_ - bytes + 1)));
    const Register to = scratch();
    if (odds(3)) {
      code_.push_back(store(bytes, base_, at, number()));
    } else {
      code_.push_back(load(bytes, to, base_, at));
      is_pointer_[to] = false;
    }
  }

  // base[number], with or without a check that is sometimes right.
  void access_at_number() {
    const Register index = number();
    const Register pointer = scratch();
    if (index == pointer || index > r9) return;
    if (!odds(8)) {
      if (odds(2)) {
        code_.push_back(alu(BPF_AND, index, static_cast<int32_t>(odds(6) ? 15 : 7)));
      } else {
        code_.push_back(jump(odds(4) ? BPF_JSGT : BPF_JGT, index,
                             static_cast<int32_t>(odds(6) ? bytes_ : bytes_ / 2), 4));
      }
    }
    code_.push_back(move(pointer, base_));
    code_.push_back(alu(odds(8) ? BPF_SUB : BPF_ADD, pointer, index));
    code_.push_back(load(1, pointer, pointer, static_cast<int16_t>(odds(4) ? -1 : pick(4))));
    code_.push_back(move(pointer, constant()));
    is_pointer_[pointer] = false;
  }

  std::mt19937 random_;
  bool takes_addresses_;
  Instructions code_;
  Register base_ = r7;
  uint32_t bytes_ = 0;  // that may be accessed there
  std::array<bool, 11> is_pointer_{false, false, false, false, false, false,
                                   true,  true,  true,  false, true};
};

}  // namespace xnic::test

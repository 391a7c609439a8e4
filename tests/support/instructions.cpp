#include "tests/support/instructions.h"

namespace xnic::test {
namespace {

bpf_insn instruction(int code, uint8_t to, uint8_t from, int16_t offset, int32_t immediate) {
  bpf_insn made{};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = to & 0xf;
  made.src_reg = from & 0xf;
  made.off = offset;
  made.imm = immediate;
  return made;
}

int size_code(uint32_t size) {
  switch (size) {
    case 1:
      return BPF_B;
    case 2:
      return BPF_H;
    case 4:
      return BPF_W;
    default:
      return BPF_DW;
  }
}

}  // namespace

bpf_insn move(Register to, int32_t value) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}
bpf_insn move(Register to, Register from) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
bpf_insn alu(uint8_t operation, Register to, int32_t value) {
  return instruction(BPF_ALU64 | operation | BPF_K, to, 0, 0, value);
}
bpf_insn alu(uint8_t operation, Register to, Register from) {
  return instruction(BPF_ALU64 | operation | BPF_X, to, from, 0, 0);
}
bpf_insn load(uint32_t size, Register to, Register base, int16_t offset) {
  return instruction(BPF_LDX | BPF_MEM | size_code(size), to, base, offset, 0);
}
bpf_insn store(uint32_t size, Register base, int16_t offset, Register from) {
  return instruction(BPF_STX | BPF_MEM | size_code(size), base, from, offset, 0);
}
bpf_insn store(uint32_t size, Register base, int16_t offset, int32_t value) {
  return instruction(BPF_ST | BPF_MEM | size_code(size), base, 0, offset, value);
}
bpf_insn jump(uint8_t condition, Register left, Register right, int16_t distance) {
  return instruction(BPF_JMP | condition | BPF_X, left, right, distance, 0);
}
bpf_insn jump(uint8_t condition, Register left, int32_t right, int16_t distance) {
  return instruction(BPF_JMP | condition | BPF_K, left, 0, distance, right);
}
bpf_insn call(int32_t helper) { return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
bpf_insn leave() { return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

Instructions load_map(Register to, int fd) {
  return {instruction(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_FD, 0, fd),
          instruction(0, 0, 0, 0, 0)};
}

Instructions operator+(Instructions first, const Instructions& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace xnic::test

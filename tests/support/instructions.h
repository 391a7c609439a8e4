#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <vector>

// Instructions by name, for programs that tests write by hand (RFC 9669, section 3).
namespace xnic::test {

using Instructions = std::vector<bpf_insn>;

enum Register : uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 };

bpf_insn move(Register to, int32_t value);
bpf_insn move(Register to, Register from);
// 64-bit `operation` of BPF_ADD, BPF_AND, ...
bpf_insn alu(uint8_t operation, Register to, int32_t value);
bpf_insn alu(uint8_t operation, Register to, Register from);
// Sizes in bytes: 1, 2, 4, 8.
bpf_insn load(uint32_t size, Register to, Register base, int16_t offset);
bpf_insn store(uint32_t size, Register base, int16_t offset, Register from);
bpf_insn store(uint32_t size, Register base, int16_t offset, int32_t value);
// 64-bit `condition` of BPF_JGT, ...; jumps over `distance` instructions.
bpf_insn jump(uint8_t condition, Register left, Register right, int16_t distance);
bpf_insn jump(uint8_t condition, Register left, int32_t right, int16_t distance);
bpf_insn call(int32_t helper);
bpf_insn leave();
// Both halves of ld_imm64 of a map's descriptor.
Instructions load_map(Register to, int fd);

// One after another.
Instructions operator+(Instructions first, const Instructions& second);

}  // namespace xnic::test

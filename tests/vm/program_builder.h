#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "vm/invocation.h"
#include "vm/isa.h"
#include "vm/verifier.h"

// A vocabulary to write eBPF programs in tests, and to run them.
namespace xnic::test {

using Code = std::vector<bpf_insn>;

inline bpf_insn insn(int code, int dst, int src, int off, int32_t imm) {
  bpf_insn result{};
  result.code = static_cast<uint8_t>(code);
  result.dst_reg = static_cast<uint8_t>(dst) & 0xf;
  result.src_reg = static_cast<uint8_t>(src) & 0xf;
  result.off = static_cast<int16_t>(off);
  result.imm = imm;
  return result;
}

inline bpf_insn alu64(int op, int dst, int32_t imm, int off = 0) {
  return insn(BPF_ALU64 | op | BPF_K, dst, 0, off, imm);
}
inline bpf_insn alu64_reg(int op, int dst, int src, int off = 0) {
  return insn(BPF_ALU64 | op | BPF_X, dst, src, off, 0);
}
inline bpf_insn alu32(int op, int dst, int32_t imm, int off = 0) {
  return insn(BPF_ALU | op | BPF_K, dst, 0, off, imm);
}
inline bpf_insn alu32_reg(int op, int dst, int src, int off = 0) {
  return insn(BPF_ALU | op | BPF_X, dst, src, off, 0);
}
inline bpf_insn mov(int dst, int32_t imm) { return alu64(BPF_MOV, dst, imm); }
inline bpf_insn mov_reg(int dst, int src) { return alu64_reg(BPF_MOV, dst, src); }
inline bpf_insn exit_() { return insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
inline bpf_insn go(int off) { return insn(BPF_JMP | BPF_JA, 0, 0, off, 0); }
inline bpf_insn go_long(int32_t distance) { return insn(BPF_JMP32 | BPF_JA, 0, 0, 0, distance); }
inline bpf_insn jump(int op, int dst, int32_t imm, int off) {
  return insn(BPF_JMP | op | BPF_K, dst, 0, off, imm);
}
inline bpf_insn jump_reg(int op, int dst, int src, int off) {
  return insn(BPF_JMP | op | BPF_X, dst, src, off, 0);
}
inline bpf_insn jump32(int op, int dst, int32_t imm, int off) {
  return insn(BPF_JMP32 | op | BPF_K, dst, 0, off, imm);
}
inline bpf_insn jump32_reg(int op, int dst, int src, int off) {
  return insn(BPF_JMP32 | op | BPF_X, dst, src, off, 0);
}
inline bpf_insn call(int helper) { return insn(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
inline bpf_insn call_function(int32_t distance) {
  return insn(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, distance);
}
inline bpf_insn load(int size, int dst, int src, int off) {
  return insn(BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}
inline bpf_insn load_signed(int size, int dst, int src, int off) {
  return insn(BPF_LDX | vm::kModeSigned | size, dst, src, off, 0);
}
inline bpf_insn store(int size, int dst, int src, int off) {
  return insn(BPF_STX | BPF_MEM | size, dst, src, off, 0);
}
inline bpf_insn store_imm(int size, int dst, int off, int32_t imm) {
  return insn(BPF_ST | BPF_MEM | size, dst, 0, off, imm);
}
inline bpf_insn atomic(int size, int dst, int src, int off, int32_t operation) {
  return insn(BPF_STX | BPF_ATOMIC | size, dst, src, off, operation);
}
// Byte order: `code` is BPF_ALU | BPF_TO_LE or _BE, or BPF_ALU64 for the unconditional swap.
inline bpf_insn swap(int code, int dst, int bits) { return insn(code | BPF_END, dst, 0, 0, bits); }

inline Code load64(int dst, uint64_t value, int pseudo = 0) {
  return {insn(BPF_LD | BPF_IMM | BPF_DW, dst, pseudo, 0, static_cast<int32_t>(value)),
          insn(0, 0, 0, 0, static_cast<int32_t>(value >> 32))};
}

inline Code operator+(Code a, const Code& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Code operator+(Code a, const bpf_insn& b) {
  a.push_back(b);
  return a;
}

// Maps by descriptor, as many as a test needs.
class Maps : public vm::MapResolver {
 public:
  int add(std::shared_ptr<vm::Map> map) {
    maps_.push_back(std::move(map));
    return static_cast<int>(maps_.size()) - 1;
  }
  std::shared_ptr<vm::Map> map_by_fd(int fd) override {
    const auto index = static_cast<size_t>(fd);
    return fd >= 0 && index < maps_.size() ? maps_[index] : nullptr;
  }

 private:
  std::vector<std::shared_ptr<vm::Map>> maps_;
};

inline tl::expected<std::shared_ptr<vm::Program>, vm::Rejection> verify(
    Code code, vm::MapResolver& maps, bpf_prog_type type = BPF_PROG_TYPE_XDP,
    std::string license = "GPL") {
  vm::ProgramSpec spec;
  spec.type = type;
  spec.name = "test";
  spec.license = std::move(license);
  spec.instructions = std::move(code);
  return vm::Verifier::verify(std::move(spec), {}, maps);
}

inline tl::expected<std::shared_ptr<vm::Program>, vm::Rejection> verify(Code code) {
  Maps none;
  return verify(std::move(code), none);
}

}  // namespace xnic::test

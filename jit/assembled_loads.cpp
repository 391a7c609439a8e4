// Loads that compilers take apart. Of a field that might not be aligned they load the bytes one by
// one, shift them and put them together; x86 loads it whole. The bytes were all proven readable, so
// one load of them is as good. Test: tests/jit/jit_test.cpp.
#include <algorithm>
#include <array>
#include <optional>

#include "jit/translator.h"

namespace xnic::jit {

using asmjit::Imm;
using vm::Kind;
using vm::Opcode;

namespace {

constexpr int32_t kZero = INT32_MIN;
constexpr uint32_t kBytes = 8;

// What a register holds, byte by byte: the byte at an offset from the base, or 0.
using Bytes = std::array<int32_t, kBytes>;
constexpr Bytes kNothing = {kZero, kZero, kZero, kZero, kZero, kZero, kZero, kZero};

void cut(Bytes& bytes, uint32_t width) { std::fill(bytes.begin() + width, bytes.end(), kZero); }

Bytes shifted(const Bytes& bytes, uint32_t by) {
  Bytes result = kNothing;
  std::copy(bytes.begin(), bytes.end() - by, result.begin() + by);
  return result;
}

// Nothing where both have something at one place.
std::optional<Bytes> joined(const Bytes& a, const Bytes& b) {
  Bytes result = a;
  for (uint32_t i = 0; i < kBytes; ++i) {
    if (b[i] == kZero) continue;
    if (a[i] != kZero) return std::nullopt;
    result[i] = b[i];
  }
  return result;
}

// Bytes that stand in memory as a number of `size` bytes stands.
struct Number {
  int32_t offset;
  uint32_t size;
  bool big_endian;
};

std::optional<Number> number_of(const Bytes& bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), kZero);
  const auto size = static_cast<uint32_t>(end - bytes.begin());
  if ((size != 2 && size != 4 && size != 8) ||
      !std::all_of(end, bytes.end(), [](int32_t byte) { return byte == kZero; })) {
    return std::nullopt;
  }
  const int32_t step = bytes[1] - bytes[0];
  if (step != 1 && step != -1) return std::nullopt;
  for (uint32_t i = 1; i < size; ++i) {
    if (bytes[i] - bytes[i - 1] != step) return std::nullopt;
  }
  return Number{step == 1 ? bytes[0] : bytes[size - 1], size, step == -1};
}

// Whether what was just loaded may be one of several parts.
bool may_be_part(const bpf_insn& load, const bpf_insn& next) {
  if (vm::opcode(load).width == 8) return false;
  const Opcode& op = vm::opcode(next);
  if (op.kind == Kind::load) return next.src_reg == load.src_reg;
  return op.kind == Kind::alu && (op.operation == BPF_LSH || op.operation == BPF_OR);
}

}  // namespace

// Whether parts of what is to be loaded were stored one by one not long ago: a load that covers
// several stores would wait until they have left for the cache. It is a guess from the order of
// instructions, and decides of nothing but time.
bool Translator::stored_in_parts(uint32_t index, uint32_t base, int32_t offset,
                                 uint32_t size) const {
  constexpr uint32_t kFarthest = 64;  // instructions
  const uint32_t first = std::max(function_->start, index - std::min(index, kFarthest));
  for (uint32_t i = index; i-- > first;) {
    const bpf_insn& insn = insns_[i];
    if (insn.dst_reg != base) continue;
    const Opcode& op = vm::opcode(insn);
    if (op.kind != Kind::store && op.kind != Kind::store_immediate) return false;
    if (op.width < size && insn.off < offset + static_cast<int32_t>(size) &&
        insn.off + op.width > offset) {
      return true;
    }
  }
  return false;
}

// Gives the index behind what was translated, `index` itself if nothing was.
uint32_t Translator::assembled_load(uint32_t index) {
  if (!only_follows(index + 1) || !may_be_part(insns_[index], insns_[index + 1])) return index;
  const uint32_t base = insns_[index].src_reg;
  std::array<std::optional<Bytes>, vm::kRegisters> held{};
  uint16_t written = 0;
  uint32_t best = index;
  uint32_t to = 0;
  Number number{};
  for (uint32_t i = index; i == index || only_follows(i); ++i) {
    const bpf_insn& insn = insns_[i];
    const Opcode& op = vm::opcode(insn);
    std::optional<Bytes>& target = held[insn.dst_reg];
    if (op.kind == Kind::load && insn.src_reg == base && insn.dst_reg != base && op.width != 8 &&
        program_.proof().meets_context[i] == 0) {
      target = kNothing;
      for (uint32_t byte = 0; byte < op.width; ++byte) {
        (*target)[byte] = insn.off + static_cast<int32_t>(byte);
      }
      written |= static_cast<uint16_t>(1u << insn.dst_reg);
      continue;
    }
    if (op.kind != Kind::alu || !target) break;
    if (op.operation == BPF_LSH && !op.source_register && insn.imm % 8 == 0) {
      target = shifted(*target, static_cast<uint32_t>(insn.imm) / 8);
      cut(*target, op.width);
      continue;
    }
    if (op.operation != BPF_OR || !op.source_register || !held[insn.src_reg]) break;
    target = joined(*target, *held[insn.src_reg]);
    if (!target) break;
    cut(*target, op.width);
    const auto found = number_of(*target);
    if (!found) continue;
    bool is_last = true;
    for (uint32_t other = 0; other < vm::kRegisters; ++other) {
      const bool matters = (written >> other & 1) != 0 && other != insn.dst_reg;
      is_last = is_last && (!matters || is_dead_behind(i, other));
    }
    if (!is_last) continue;
    best = i + 1;
    to = insn.dst_reg;
    number = *found;
  }
  if (best == index || stored_in_parts(index, base, number.offset, number.size)) return index;
  const Gp& reg = host_register(to);
  a_.load(reg, host_register(base), number.offset, number.size);
  if (number.big_endian) {
    number.size == 2 ? a_.rol(reg.r16(), Imm(8)) : a_.bswap(sized(reg, number.size));
  }
  return best;
}

}  // namespace xnic::jit

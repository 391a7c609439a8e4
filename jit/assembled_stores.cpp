// Stores that compilers take apart. A field that might not be aligned they store byte by byte, from
// copies of the value that they shift, or from constants; x86 stores it whole. The bytes were all
// proven writable, so one store of them is as good. Test: tests/jit/jit_test.cpp.
#include <algorithm>
#include <array>
#include <optional>

#include "jit/translator.h"

namespace xnic::jit {

using asmjit::Imm;
using vm::Kind;
using vm::Opcode;

namespace {

constexpr uint32_t kBytes = 8;
constexpr int32_t kUnknown = -1;
constexpr int32_t kConstant = 0x100;  // and a constant byte; below it, the number of a value's byte

// What a register holds, byte by byte.
using Bytes = std::array<int32_t, kBytes>;
constexpr Bytes kValue = {0, 1, 2, 3, 4, 5, 6, 7};

Bytes constant(uint64_t value) {
  Bytes bytes;
  for (uint32_t i = 0; i < kBytes; ++i) {
    bytes[i] = kConstant | static_cast<int32_t>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

std::optional<uint64_t> constant_of(const int32_t* bytes, uint32_t size) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < size; ++i) {
    if (bytes[i] < kConstant) return std::nullopt;
    value |= static_cast<uint64_t>(bytes[i] & 0xff) << (8 * i);
  }
  return value;
}

void cut(Bytes& bytes, uint32_t width) { std::fill(bytes.begin() + width, bytes.end(), kConstant); }

void shift_right(Bytes& bytes, uint32_t by) {
  std::copy(bytes.begin() + by, bytes.end(), bytes.begin());
  std::fill(bytes.end() - by, bytes.end(), kConstant);
}

// What stores near each other wrote.
class Stored {
 public:
  Stored() { bytes_.fill(kUnknown); }
  // False, and then nothing is noted, where it is too far from the first or over another.
  bool add(int32_t offset, const Bytes& bytes, uint32_t width) {
    if (count_ == 0) first_ = offset - static_cast<int32_t>(kBytes);
    const int32_t at = offset - first_;
    if (at < 0 || at + static_cast<int32_t>(width) > static_cast<int32_t>(bytes_.size())) {
      return false;
    }
    const auto begin = bytes_.begin() + at;
    if (std::any_of(begin, begin + width, [](int32_t byte) { return byte != kUnknown; })) {
      return false;
    }
    std::copy_n(bytes.begin(), width, begin);
    count_ += width;
    return true;
  }
  // Bytes that make up one number, in order; null where there is a hole.
  const int32_t* bytes() const {
    const auto begin = std::find_if(bytes_.begin(), bytes_.end(), is_there);
    const auto end = std::find_if_not(begin, bytes_.end(), is_there);
    const bool is_whole = static_cast<uint32_t>(end - begin) == count_;
    return is_whole && (count_ == 2 || count_ == 4 || count_ == 8) ? &*begin : nullptr;
  }
  uint32_t size() const { return count_; }
  int32_t offset() const {
    const auto begin = std::find_if(bytes_.begin(), bytes_.end(), is_there);
    return first_ + static_cast<int32_t>(begin - bytes_.begin());
  }

 private:
  static bool is_there(int32_t byte) { return byte != kUnknown; }

  std::array<int32_t, 2 * kBytes> bytes_;
  int32_t first_ = 0;
  uint32_t count_ = 0;
};

bool is_narrow_store(const bpf_insn& insn) {
  const Opcode& op = vm::opcode(insn);
  return op.kind == Kind::store && op.width < kBytes;
}

// 1 where bytes of a value stand in order, -1 where in the opposite one, else 0.
int order_of(const int32_t* bytes, uint32_t size) {
  const int step = bytes[1] - bytes[0];
  if (step * step != 1 || bytes[step == 1 ? 0 : size - 1] != 0) return 0;
  for (uint32_t i = 1; i < size; ++i) {
    if (bytes[i] - bytes[i - 1] != step) return 0;
  }
  return step;
}

}  // namespace

// Whether stores to be put together may begin here, at a store or where its value is made.
bool Translator::may_begin_stores(uint32_t index) const {
  const bpf_insn& insn = insns_[index];
  if (!only_follows(index + 1)) return false;
  const bpf_insn& next = insns_[index + 1];
  if (is_narrow_store(insn)) {
    return (is_narrow_store(next) && next.dst_reg == insn.dst_reg) ||
           (is_alu(next, BPF_RSH, false) && next.dst_reg == insn.src_reg) ||
           (is_alu(next, BPF_MOV, true) && next.src_reg == insn.src_reg);
  }
  if (is_alu(insn, BPF_MOV, false)) return is_narrow_store(next) && next.src_reg == insn.dst_reg;
  return is_alu(insn, BPF_MOV, true) && is_alu(next, BPF_RSH, false) &&
         next.dst_reg == insn.dst_reg && only_follows(index + 2) &&
         is_narrow_store(insns_[index + 2]) && insns_[index + 2].src_reg == insn.dst_reg;
}

// Gives the index behind what was translated, `index` itself if nothing was.
uint32_t Translator::assembled_stores(uint32_t index) {
  if (!may_begin_stores(index)) return index;
  const bpf_insn& start = insns_[index];
  std::array<std::optional<Bytes>, vm::kRegisters> held{};
  if (!is_alu(start, BPF_MOV, false)) held[start.src_reg] = kValue;
  uint32_t written = 0;  // registers
  // What written registers that somebody wants behind an instruction are to be set to; nothing
  // where one of them holds no constant.
  using Constants = std::array<std::optional<uint64_t>, vm::kRegisters>;
  const auto wanted_behind = [&](uint32_t at) -> std::optional<Constants> {
    Constants wanted{};
    for (uint32_t reg = 0; reg < vm::kRegisters; ++reg) {
      if ((written >> reg & 1) == 0 || is_dead_behind(at, reg)) continue;
      wanted[reg] = constant_of(held[reg]->data(), kBytes);
      if (!wanted[reg]) return std::nullopt;
    }
    return wanted;
  };
  std::optional<uint32_t> base;
  Stored stored;
  uint32_t stores = 0;
  // As far as it goes together.
  uint32_t best = index;
  Stored whole;
  Constants left{};
  for (uint32_t i = index; i == index || only_follows(i); ++i) {
    const bpf_insn& insn = insns_[i];
    const Opcode& op = vm::opcode(insn);
    if (op.kind == Kind::store) {
      const bool fits =
          op.width < kBytes && held[insn.src_reg] && insn.dst_reg == base.value_or(insn.dst_reg) &&
          (written >> insn.dst_reg & 1) == 0 && program_.proof().meets_context[i] == 0;
      if (!fits || !stored.add(insn.off, *held[insn.src_reg], op.width)) break;
      base = insn.dst_reg;
      if (++stores == 1 || stored.bytes() == nullptr) continue;
      const bool is_number = constant_of(stored.bytes(), stored.size()) ||
                             order_of(stored.bytes(), stored.size()) != 0;
      const std::optional<Constants> wanted = is_number ? wanted_behind(i) : std::nullopt;
      if (!wanted) continue;
      best = i + 1;
      whole = stored;
      left = *wanted;
      continue;
    }
    if (insn.dst_reg == base.value_or(vm::kRegisters)) break;
    std::optional<Bytes>& target = held[insn.dst_reg];
    if (is_alu(insn, BPF_MOV, false)) {
      target = constant(static_cast<uint64_t>(int64_t{insn.imm}));
    } else if (is_alu(insn, BPF_MOV, true) && insn.off == 0 && held[insn.src_reg]) {
      target = held[insn.src_reg];
    } else if (is_alu(insn, BPF_RSH, false) && target && insn.imm % 8 == 0) {
      if (op.width == 4) cut(*target, op.width);
      shift_right(*target, static_cast<uint32_t>(insn.imm) / 8);
    } else {
      break;
    }
    cut(*target, op.width);
    written |= 1u << insn.dst_reg;
  }
  if (best == index) return index;
  const Gp& to = host_register(*base);
  const int32_t offset = whole.offset();
  const uint32_t size = whole.size();
  if (const auto value = constant_of(whole.bytes(), size)) {
    store_constant(to, offset, *value, size);
  } else if (order_of(whole.bytes(), size) == 1) {
    a_.store(to, offset, host_register(start.src_reg), size);
  } else if (movbe_) {
    a_.movbe(x86::Mem(to, offset, size), sized(host_register(start.src_reg), size));
  } else {
    a_.mov(kScratch1, host_register(start.src_reg));
    size == 2 ? a_.rol(kScratch1.r16(), Imm(8)) : a_.bswap(sized(kScratch1, size));
    a_.store(to, offset, kScratch1, size);
  }
  for (uint32_t reg = 0; reg < vm::kRegisters; ++reg) {
    if (left[reg]) load_constant(host_register(reg), *left[reg]);
  }
  return best;
}

void Translator::store_constant(const Gp& to, int32_t offset, uint64_t value, uint32_t size) {
  const bool is_short = size < 8 || static_cast<int64_t>(value) == static_cast<int32_t>(value);
  if (is_short) {
    a_.mov(x86::Mem(to, offset, size),
           Imm(size == 2 ? static_cast<int16_t>(value) : static_cast<int32_t>(value)));
    return;
  }
  load_constant(kScratch1, value);
  a_.store(to, offset, kScratch1, size);
}

}  // namespace xnic::jit

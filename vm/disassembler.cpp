#include "vm/disassembler.h"

#include <fmt/format.h>

#include "vm/helper.h"
#include "vm/isa.h"
#include "vm/kfunc.h"

namespace xnic::vm {
namespace {

char register_letter(const Opcode& op) { return op.width == 4 ? 'w' : 'r'; }

std::string alu(const bpf_insn& insn, const Opcode& op) {
  const char letter = register_letter(op);
  const bool is_signed = insn.off == 1 && (op.operation == BPF_DIV || op.operation == BPF_MOD);
  const char* sign = is_signed ? "s" : "";
  const uint32_t dst = insn.dst_reg;
  const uint32_t src = insn.src_reg;
  if (!op.source_register) {
    return fmt::format("{}{} {}{} {}", letter, dst, sign, op.symbol, insn.imm);
  }
  if (op.operation == BPF_MOV && insn.off != 0) {
    return fmt::format("{}{} = (s{}){}{}", letter, dst, insn.off, letter, src);
  }
  return fmt::format("{}{} {}{} {}{}", letter, dst, sign, op.symbol, letter, src);
}

std::string atomic(const bpf_insn& insn, const Opcode& op) {
  const char* suffix = op.width == 8 ? "64" : "";
  const uint32_t src = insn.src_reg;
  const std::string place =
      fmt::format("({} *)(r{} {:+d})", op.symbol, uint32_t{insn.dst_reg}, insn.off);
  if (!atomic_operation_exists(insn.imm)) {
    return fmt::format("unknown atomic operation 0x{:x}", static_cast<uint32_t>(insn.imm));
  }
  if (insn.imm == kLoadAcquire) {
    return fmt::format("r{} = load_acquire(({} *)(r{} {:+d}))", uint32_t{insn.dst_reg}, op.symbol,
                       src, insn.off);
  }
  if (insn.imm == kStoreRelease) return fmt::format("store_release({}, r{})", place, src);
  if (insn.imm == kAtomicCompareExchange) {
    return fmt::format("r0 = atomic{}_cmpxchg({}, r0, r{})", suffix, place, src);
  }
  if (insn.imm == kAtomicExchange) {
    return fmt::format("r{} = atomic{}_xchg({}, r{})", src, suffix, place, src);
  }
  const uint8_t operation = BPF_OP(static_cast<uint8_t>(insn.imm));
  if ((insn.imm & kAtomicFetch) == 0) {
    return fmt::format("lock *{} {} r{}", place, isa_detail::alu_symbol(operation), src);
  }
  const char* verb = operation == BPF_ADD   ? "add"
                     : operation == BPF_OR  ? "or"
                     : operation == BPF_AND ? "and"
                                            : "xor";
  return fmt::format("r{} = atomic{}_fetch_{}({}, r{})", src, suffix, verb, place, src);
}

std::string call(const bpf_insn& insn) {
  if (insn.src_reg == BPF_PSEUDO_CALL) return fmt::format("call pc{:+d}", insn.imm);
  if (insn.src_reg == kPseudoKfuncCall) {
    const Kfunc* kfunc = find_kfunc(insn.imm);
    return kfunc == nullptr ? fmt::format("call kernel-function#{}", insn.imm & ~kForeignKfunc)
                            : fmt::format("call {}#{}", kfunc->row.name, insn.imm);
  }
  const Helper* helper = find_helper(static_cast<uint32_t>(insn.imm));
  if (helper == nullptr) return fmt::format("call unknown#{}", insn.imm);
  const char* prefix = helper->name.starts_with("bpf_") ? "" : "bpf_";
  return fmt::format("call {}{}#{}", prefix, helper->name, insn.imm);
}

std::string jump_if(const bpf_insn& insn, const Opcode& op) {
  const char letter = register_letter(op);
  const uint32_t dst = insn.dst_reg;
  if (op.source_register) {
    return fmt::format("if {}{} {} {}{} goto pc{:+d}", letter, dst, op.symbol, letter,
                       uint32_t{insn.src_reg}, insn.off);
  }
  return fmt::format("if {}{} {} 0x{:x} goto pc{:+d}", letter, dst, op.symbol,
                     static_cast<uint32_t>(insn.imm), insn.off);
}

std::string load_immediate(std::span<const bpf_insn> instructions, uint32_t index) {
  const bpf_insn& insn = instructions[index];
  const uint32_t dst = insn.dst_reg;
  if (index + 1 >= instructions.size()) return fmt::format("r{} = 0x{:x} (cut off)", dst, insn.imm);
  const bpf_insn& high = instructions[index + 1];
  switch (insn.src_reg) {
    case BPF_PSEUDO_MAP_FD:
      return fmt::format("r{} = map[fd:{}]", dst, insn.imm);
    case BPF_PSEUDO_MAP_IDX:
      return fmt::format("r{} = map[idx:{}]", dst, insn.imm);
    case BPF_PSEUDO_MAP_VALUE:
      return fmt::format("r{} = map[fd:{}]+{}", dst, insn.imm, high.imm);
    case BPF_PSEUDO_MAP_IDX_VALUE:
      return fmt::format("r{} = map[idx:{}]+{}", dst, insn.imm, high.imm);
    case BPF_PSEUDO_FUNC:
      return fmt::format("r{} = subprog[{:+d}]", dst, insn.imm);
    default:
      return fmt::format("r{} = 0x{:x}", dst, immediate64(insn, high));
  }
}

}  // namespace

std::string disassemble(std::span<const bpf_insn> instructions, uint32_t index) {
  const bpf_insn& insn = instructions[index];
  const Opcode& op = opcode(insn);
  const uint32_t dst = insn.dst_reg;
  const uint32_t src = insn.src_reg;
  switch (op.kind) {
    case Kind::alu:
      return alu(insn, op);
    case Kind::negate:
      return fmt::format("{0}{1} = -{0}{1}", register_letter(op), dst);
    case Kind::byte_swap:
      return fmt::format("r{0} = {1}{2} r{0}", dst, op.symbol, insn.imm);
    case Kind::load_immediate:
      return load_immediate(instructions, index);
    case Kind::load_packet:
      return op.source_register ? fmt::format("r0 = *({} *)skb[r{} + {}]", op.symbol, src, insn.imm)
                                : fmt::format("r0 = *({} *)skb[{}]", op.symbol, insn.imm);
    case Kind::load:
    case Kind::load_signed:
      return fmt::format("r{} = *({} *)(r{} {:+d})", dst, op.symbol, src, insn.off);
    case Kind::store:
      return fmt::format("*({} *)(r{} {:+d}) = r{}", op.symbol, dst, insn.off, src);
    case Kind::store_immediate:
      return fmt::format("*({} *)(r{} {:+d}) = {}", op.symbol, dst, insn.off, insn.imm);
    case Kind::atomic:
      return atomic(insn, op);
    case Kind::jump:
      return fmt::format("{} pc{:+d}", op.symbol, jump_distance(insn));
    case Kind::jump_if:
      return jump_if(insn, op);
    case Kind::may_goto:
      return fmt::format("may_goto pc{:+d}", insn.off);
    case Kind::call:
      return call(insn);
    case Kind::exit:
      return "exit";
    case Kind::unknown:
      break;
  }
  return fmt::format("unknown opcode 0x{:02x}", uint32_t{insn.code});
}

std::string disassemble(const Program& program, uint32_t index) {
  const std::span<const bpf_insn> instructions = program.instructions();
  const bpf_insn& insn = instructions[index];
  const bool is_map = names_map(insn.src_reg);
  if (opcode(insn).kind == Kind::load_immediate && (is_map || names_map_value(insn.src_reg))) {
    const uint64_t address = immediate64(insn, instructions[index + 1]);
    for (const std::shared_ptr<Map>& map : program.maps()) {
      const uint32_t dst = insn.dst_reg;
      if (is_map && address == reinterpret_cast<uintptr_t>(map.get())) {
        return fmt::format("r{} = map[{}]", dst, map->spec().name);
      }
      const std::span<uint8_t> value = map->direct_value();
      const auto start = reinterpret_cast<uintptr_t>(value.data());
      if (!is_map && address >= start && address - start < value.size()) {
        return fmt::format("r{} = map[{}]+{}", dst, map->spec().name, address - start);
      }
    }
  }
  if (opcode(insn).kind == Kind::load_immediate && insn.src_reg == BPF_PSEUDO_FUNC) {
    return fmt::format("r{} = subprog[{}]", uint32_t{insn.dst_reg}, insn.imm);
  }
  return disassemble(instructions, index);
}

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace xnic::vm {

// The instruction set of RFC 9669 (what clang emits for -mcpu=v1 to v4) as one table of 256
// opcodes, which serves the disassembler, the verifier, the interpreter and the JIT.
// Test: tests/vm/isa_test.cpp.

// What linux/bpf.h of older systems lacks.
inline constexpr uint8_t kModeSigned = 0x80;  // BPF_MEMSX: sign-extending load
inline constexpr int32_t kAtomicFetch = 0x01;
inline constexpr int32_t kAtomicExchange = 0xe1;
inline constexpr int32_t kAtomicCompareExchange = 0xf1;
inline constexpr int32_t kLoadAcquire = 0x100;   // of any size, reads like a load
inline constexpr int32_t kStoreRelease = 0x110;  // of any size, writes like a store
inline constexpr uint8_t kJumpCounted = 0xe0;    // BPF_JCOND: may_goto
inline constexpr uint8_t kPseudoKfuncCall = 2;
// What libbpf puts in the place of an instruction whose CO-RE relocation this kernel's types do
// not answer: a call of this helper. Programs guard it by a question for the type.
inline constexpr int32_t kPoisonedCall = 0xbad2310;

inline constexpr uint32_t kRegisters = 11;               // r0 to r10
inline constexpr uint32_t kFrameBytes = 512;             // stack of one call frame
inline constexpr uint32_t kMaxCallFrames = 8;            // of one program
inline constexpr uint32_t kMaxTailCalls = 33;            // MAX_TAIL_CALL_CNT
inline constexpr uint32_t kMaxInstructions = 1'000'000;  // of one program
inline constexpr uint32_t kMaxLoops = 1u << 23;          // BPF_MAX_LOOPS: bpf_loop, may_goto

enum class Kind : uint8_t {
  unknown,
  alu,              // dst = dst OPERATION (src | imm), 32 or 64 bits
  negate,           // dst = -dst
  byte_swap,        // dst = byte order change of its low imm bits
  load_immediate,   // two slots: 64-bit immediate or what src_reg names
  load_packet,      // legacy BPF_LD_ABS and BPF_LD_IND: r0 = bytes of r6's packet, in host order
  load,             // dst = *(unsigned *)(src + off)
  load_signed,      // dst = *(signed *)(src + off)
  store,            // *(dst + off) = src
  store_immediate,  // *(dst + off) = imm
  atomic,           // imm names the operation, load-acquire and store-release among them
  jump,             // unconditional
  jump_if,          // if dst OPERATION (src | imm)
  may_goto,         // jumps once the function has used up its kMaxLoops
  call,
  exit,
};

struct Opcode {
  Kind kind = Kind::unknown;
  uint8_t operation = 0;         // BPF_OP of ALU and jump instructions, BPF_MODE of load_packet
  uint8_t width = 0;             // bytes of the operands (ALU, jump: 4 or 8) or of the access
  bool source_register = false;  // the second operand is src_reg, not imm
  std::string_view symbol;       // "+=", "s>", "u32": as the kernel's log writes it
};

namespace isa_detail {

constexpr std::string_view alu_symbol(uint8_t operation) {
  switch (operation) {
    case BPF_ADD:
      return "+=";
    case BPF_SUB:
      return "-=";
    case BPF_MUL:
      return "*=";
    case BPF_DIV:
      return "/=";
    case BPF_OR:
      return "|=";
    case BPF_AND:
      return "&=";
    case BPF_LSH:
      return "<<=";
    case BPF_RSH:
      return ">>=";
    case BPF_MOD:
      return "%=";
    case BPF_XOR:
      return "^=";
    case BPF_MOV:
      return "=";
    case BPF_ARSH:
      return "s>>=";
    default:
      return "";
  }
}

constexpr std::string_view jump_symbol(uint8_t operation) {
  switch (operation) {
    case BPF_JEQ:
      return "==";
    case BPF_JGT:
      return ">";
    case BPF_JGE:
      return ">=";
    case BPF_JSET:
      return "&";
    case BPF_JNE:
      return "!=";
    case BPF_JSGT:
      return "s>";
    case BPF_JSGE:
      return "s>=";
    case BPF_JLT:
      return "<";
    case BPF_JLE:
      return "<=";
    case BPF_JSLT:
      return "s<";
    case BPF_JSLE:
      return "s<=";
    default:
      return "";
  }
}

constexpr uint8_t access_width(uint8_t code) {
  switch (BPF_SIZE(code)) {
    case BPF_B:
      return 1;
    case BPF_H:
      return 2;
    case BPF_W:
      return 4;
    default:
      return 8;
  }
}

constexpr std::string_view access_symbol(uint8_t width, bool is_signed) {
  switch (width) {
    case 1:
      return is_signed ? "s8" : "u8";
    case 2:
      return is_signed ? "s16" : "u16";
    case 4:
      return is_signed ? "s32" : "u32";
    default:
      return is_signed ? "s64" : "u64";
  }
}

constexpr Opcode alu_opcode(uint8_t code, uint8_t width) {
  const uint8_t operation = BPF_OP(code);
  const bool from_register = BPF_SRC(code) == BPF_X;
  if (operation == BPF_END) {
    // In the 64-bit class there is only the unconditional swap.
    if (width == 8 && from_register) return {};
    return {Kind::byte_swap, operation, width, from_register,
            width == 8 ? "bswap" : (from_register ? "be" : "le")};
  }
  if (operation == BPF_NEG) {
    return from_register ? Opcode{} : Opcode{Kind::negate, operation, width, false, "-"};
  }
  const std::string_view symbol = alu_symbol(operation);
  if (symbol.empty()) return {};
  return {Kind::alu, operation, width, from_register, symbol};
}

constexpr Opcode jump_opcode(uint8_t code, uint8_t width) {
  const uint8_t operation = BPF_OP(code);
  const bool from_register = BPF_SRC(code) == BPF_X;
  if (operation == BPF_JA) {
    return from_register
               ? Opcode{}
               : Opcode{Kind::jump, operation, width, false, width == 8 ? "goto" : "gotol"};
  }
  if (operation == BPF_CALL || operation == BPF_EXIT) {
    if (from_register || width == 4) return {};
    return operation == BPF_CALL ? Opcode{Kind::call, operation, width, false, "call"}
                                 : Opcode{Kind::exit, operation, width, false, "exit"};
  }
  if (operation == kJumpCounted) {
    return from_register || width == 4
               ? Opcode{}
               : Opcode{Kind::may_goto, operation, width, false, "may_goto"};
  }
  const std::string_view symbol = jump_symbol(operation);
  if (symbol.empty()) return {};
  return {Kind::jump_if, operation, width, from_register, symbol};
}

constexpr Opcode memory_opcode(uint8_t code) {
  const uint8_t width = access_width(code);
  const uint8_t mode = BPF_MODE(code);
  switch (BPF_CLASS(code)) {
    case BPF_LD:
      if (mode == BPF_IMM && width == 8) {
        return {Kind::load_immediate, 0, 8, false, "="};
      }
      if ((mode == BPF_ABS || mode == BPF_IND) && width != 8) {
        return {Kind::load_packet, mode, width, mode == BPF_IND, access_symbol(width, false)};
      }
      return {};
    case BPF_LDX:
      if (mode == BPF_MEM) return {Kind::load, 0, width, true, access_symbol(width, false)};
      if (mode == kModeSigned && width != 8) {
        return {Kind::load_signed, 0, width, true, access_symbol(width, true)};
      }
      return {};
    case BPF_ST:
      if (mode == BPF_MEM) {
        return {Kind::store_immediate, 0, width, false, access_symbol(width, false)};
      }
      return {};
    default:
      if (mode == BPF_MEM) return {Kind::store, 0, width, true, access_symbol(width, false)};
      if (mode == BPF_ATOMIC) {
        return {Kind::atomic, 0, width, true, access_symbol(width, false)};
      }
      return {};
  }
}

constexpr std::array<Opcode, 256> make_opcodes() {
  std::array<Opcode, 256> table{};
  for (uint32_t index = 0; index < 256; ++index) {
    const auto code = static_cast<uint8_t>(index);
    switch (BPF_CLASS(code)) {
      case BPF_ALU:
        table[index] = alu_opcode(code, 4);
        break;
      case BPF_ALU64:
        table[index] = alu_opcode(code, 8);
        break;
      case BPF_JMP:
        table[index] = jump_opcode(code, 8);
        break;
      case BPF_JMP32:
        table[index] = jump_opcode(code, 4);
        break;
      default:
        table[index] = memory_opcode(code);
        break;
    }
  }
  return table;
}

}  // namespace isa_detail

inline constexpr std::array<Opcode, 256> kOpcodes = isa_detail::make_opcodes();

constexpr const Opcode& opcode(uint8_t code) { return kOpcodes[code]; }
constexpr const Opcode& opcode(const bpf_insn& insn) { return kOpcodes[insn.code]; }

// Slots that the instruction takes: 2 for ld_imm64, else 1.
constexpr uint32_t slots(const bpf_insn& insn) {
  return opcode(insn).kind == Kind::load_immediate ? 2 : 1;
}

// The distance that a jump (Kind::jump, jump_if, may_goto) adds to the index after it.
constexpr int64_t jump_distance(const bpf_insn& insn) {
  const Opcode& op = opcode(insn);
  return op.kind == Kind::jump && op.width == 4 ? insn.imm : insn.off;
}

// True for a call of a subprogram of the same program.
constexpr bool calls_subprogram(const bpf_insn& insn) {
  return opcode(insn).kind == Kind::call && insn.src_reg == BPF_PSEUDO_CALL;
}

// True for an ld_imm64 of the address of a subprogram, for a callback.
constexpr bool names_function(const bpf_insn& insn) {
  return opcode(insn).kind == Kind::load_immediate && insn.src_reg == BPF_PSEUDO_FUNC;
}

// True for a call that no kernel can perform: what libbpf leaves of an unanswered CO-RE relocation
// or of a weak kernel function that does not exist. It may stand where control never comes.
constexpr bool is_poisoned_call(const bpf_insn& insn) {
  return opcode(insn).kind == Kind::call &&
         ((insn.src_reg == 0 && insn.imm == kPoisonedCall) ||
          (insn.src_reg == kPseudoKfuncCall && insn.imm == 0 && insn.off == 0));
}

constexpr uint64_t immediate64(const bpf_insn& low, const bpf_insn& high) {
  return static_cast<uint32_t>(low.imm) |
         (static_cast<uint64_t>(static_cast<uint32_t>(high.imm)) << 32);
}

// True for the kinds that may go on elsewhere in their function than at the next instruction.
constexpr bool jumps(Kind kind) {
  return kind == Kind::jump || kind == Kind::jump_if || kind == Kind::may_goto;
}

// True for the two atomics that are ordered loads and stores, and exist in all four sizes.
constexpr bool is_ordered_access(const bpf_insn& insn) {
  return insn.imm == kLoadAcquire || insn.imm == kStoreRelease;
}

// True if `imm` names an atomic operation that exists.
bool atomic_operation_exists(int32_t imm);

// True for the ld_imm64 kinds that name a map, or an address in a map's value.
constexpr bool names_map(uint8_t pseudo) {
  return pseudo == BPF_PSEUDO_MAP_FD || pseudo == BPF_PSEUDO_MAP_IDX;
}
constexpr bool names_map_value(uint8_t pseudo) {
  return pseudo == BPF_PSEUDO_MAP_VALUE || pseudo == BPF_PSEUDO_MAP_IDX_VALUE;
}

}  // namespace xnic::vm

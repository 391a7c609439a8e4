// What instructions require of their operands, beside memory: vm/verifier/memory_requirements.cpp.
// Test: tests/vm/verifier/analysis_test.cpp, and the comparison of verdicts in tests/verdicts.
#include "vm/verifier/requirements.h"

#include <algorithm>
#include <cerrno>

#include "vm/instruction_form.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {
namespace {

// A context field that is a pointer has no sign.
Verdict require_signed_load(const Environment& env, const bpf_insn& insn, uint32_t size) {
  const Register& r = (*env.now)[insn.src_reg];
  if (r.type != Type::context) return {};
  const ContextField* field =
      env.type.field_for(static_cast<uint32_t>(insn.off + r.offset), size, false);
  if (field == nullptr || !field->is_address()) return {};
  return refuse(EACCES, "invalid bpf_context access off={} size={}", insn.off, size);
}

Verdict objects_to_form(const bpf_insn& insn) {
  if (auto objection = objection_to_form(insn)) {
    return Refusal{-objection->error, std::move(objection->words)};
  }
  return {};
}

Verdict require_atomic(Environment& env, const bpf_insn& insn, uint32_t size) {
  if (insn.imm == kLoadAcquire) {
    if (Verdict v = require_initialised(env, insn.src_reg)) return v;
    const Register& r = env.reg(insn.src_reg);
    if (r.type == Type::context || r.is_packet() || r.is_socket() || r.type == Type::flow_keys) {
      return refuse(EACCES, "BPF_ATOMIC loads from R{} {} is not allowed", uint32_t{insn.src_reg},
                    type_name(r));
    }
    return require_access(env, insn.src_reg, insn.off, size, Direction::read, true);
  }
  for (const uint32_t number : {uint32_t{insn.src_reg}, uint32_t{insn.dst_reg}}) {
    if (Verdict v = require_initialised(env, number)) return v;
  }
  if (insn.imm == kAtomicCompareExchange) {
    if (Verdict v = require_initialised(env, 0)) return v;
  }
  const Register& r = env.reg(insn.dst_reg);
  if (r.type == Type::context || r.is_packet() || r.is_socket() || r.type == Type::flow_keys) {
    return refuse(EACCES, "BPF_ATOMIC stores into R{} {} is not allowed", uint32_t{insn.dst_reg},
                  type_name(r));
  }
  if (insn.imm != kStoreRelease) {
    if (Verdict v = require_access(env, insn.dst_reg, insn.off, size, Direction::read, true)) {
      return v;
    }
  }
  return require_access(env, insn.dst_reg, insn.off, size, Direction::write, true);
}

Verdict require_pointer_arithmetic(Environment& env, const bpf_insn& insn, const Opcode& op,
                                   uint32_t pointer_number, const Register& moved_by) {
  const uint32_t target = insn.dst_reg;
  const Register& pointer = env.reg(pointer_number);
  if (op.width == 4) {
    // The difference of a pointer is a number like any other.
    if (op.operation == BPF_SUB) return {};
    return refuse(EACCES, "R{} 32-bit pointer arithmetic prohibited", target);
  }
  if (pointer.maybe_null) {
    return refuse(EACCES, "R{} pointer arithmetic on {} prohibited, null-check it first", target,
                  type_name(pointer));
  }
  const bool adds_nothing = moved_by.is_null() && op.operation == BPF_ADD;
  const bool fixed = pointer.type == Type::packet_end || pointer.is_socket() ||
                     (pointer.type == Type::flow_keys && !moved_by.number.is_constant()) ||
                     (pointer.type == Type::map && !adds_nothing);
  if (fixed) {
    return refuse(EACCES, "R{} pointer arithmetic on {} prohibited", target, type_name(pointer));
  }
  if (Verdict v = require_sane_offset(pointer, moved_by)) return v;
  if (Verdict v = require_sane_offset(pointer, pointer)) return v;
  switch (op.operation) {
    case BPF_ADD:
      return {};
    case BPF_SUB:
      if (pointer_number != target) {
        return refuse(EACCES, "R{} tried to subtract pointer from scalar", target);
      }
      if (pointer.type == Type::stack) {
        return refuse(EACCES, "R{} subtraction from stack pointer prohibited", target);
      }
      return {};
    case BPF_AND:
    case BPF_OR:
    case BPF_XOR:
      return refuse(EACCES, "R{} bitwise operator {} on pointer prohibited", target, op.symbol);
    default:
      return refuse(EACCES, "R{} pointer arithmetic with {} operator prohibited", target,
                    op.symbol);
  }
}

Verdict require_alu(Environment& env, const bpf_insn& insn, const Opcode& op) {
  if (op.source_register) {
    if (Verdict v = require_initialised(env, insn.src_reg)) return v;
  }
  if (op.operation == BPF_MOV) return {};
  if (Verdict v = require_initialised(env, insn.dst_reg)) return v;
  const Register& target = env.reg(insn.dst_reg);
  if (!op.source_register) {
    if (!target.is_pointer()) return {};
    const Register constant = Register::constant(static_cast<uint64_t>(int64_t{insn.imm}));
    return require_pointer_arithmetic(env, insn, op, insn.dst_reg, constant);
  }
  const Register& source = env.reg(insn.src_reg);
  if (target.is_pointer() && source.is_pointer()) {
    if (op.operation == BPF_SUB) return {};
    return refuse(EACCES, "R{} pointer {} pointer prohibited", uint32_t{insn.dst_reg}, op.symbol);
  }
  if (source.is_pointer()) {
    return require_pointer_arithmetic(env, insn, op, insn.src_reg, target);
  }
  if (target.is_pointer()) {
    return require_pointer_arithmetic(env, insn, op, insn.dst_reg, source);
  }
  return {};
}

Verdict require_packet_load(Environment& env, const bpf_insn& insn, const Opcode& op) {
  constexpr uint32_t kContext = 6;
  for (const Frame& frame : env.now->frames) {
    if (frame.in_callback) {
      return refuse(EINVAL, "cannot use BPF_LD_[ABS|IND] within callback");
    }
  }
  if (Verdict v = require_initialised(env, kContext)) return v;
  if (Verdict v = require_nothing_held(env, "BPF_LD_[ABS|IND]")) return v;
  if (env.reg(kContext).type != Type::context) {
    return refuse(EINVAL, "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
  }
  if (op.source_register) {
    if (Verdict v = require_initialised(env, insn.src_reg)) return v;
  }
  return require_unmodified(env.reg(kContext), kContext);
}

}  // namespace

Verdict require_initialised(const Environment& env, uint32_t number) {
  if ((*env.now)[number].type != Type::uninitialised) return {};
  return refuse(EACCES, "R{} !read_ok", number);
}

Verdict require_sane_offset(const Register& pointer, const Register& moved_by) {
  const Bounds& number = moved_by.number;
  const auto value = static_cast<int64_t>(number.bits.value);
  if (number.is_constant() && (value >= kMaxVariableOffset || value <= -kMaxVariableOffset)) {
    return refuse(EINVAL, "math between {} pointer and {} is not allowed", type_name(pointer),
                  value);
  }
  // Of a number, how it differs from those that it is linked to: Linux keeps it in the same place.
  if ((moved_by.is_pointer() || moved_by.by_delta) &&
      (moved_by.offset >= kMaxVariableOffset || moved_by.offset <= -kMaxVariableOffset)) {
    return refuse(EINVAL, "{} pointer offset {} is not allowed", type_name(pointer),
                  moved_by.offset);
  }
  const int64_t least = number.full.smin;
  if (least == INT64_MIN) {
    return refuse(EINVAL,
                  "math between {} pointer and register with unbounded min value is not allowed",
                  type_name(pointer));
  }
  if (least >= kMaxVariableOffset || least <= -kMaxVariableOffset) {
    return refuse(EINVAL, "value {} makes {} pointer be out of bounds", least, type_name(pointer));
  }
  return {};
}

Verdict require_operands(Environment& env, const bpf_insn& insn) {
  if (env.well_formed[env.index] == 0) {
    if (Verdict v = objects_to_form(insn)) return v;
    env.well_formed[env.index] = 1;
  }
  const Opcode& op = opcode(insn);
  switch (op.kind) {
    case Kind::alu:
      return require_alu(env, insn, op);
    case Kind::negate:
    case Kind::byte_swap:
      return require_initialised(env, insn.dst_reg);
    case Kind::load:
    case Kind::load_signed:
      if (Verdict v = require_initialised(env, insn.src_reg)) return v;
      if (Verdict v = require_access(env, insn.src_reg, insn.off, op.width, Direction::read)) {
        return v;
      }
      return op.kind == Kind::load_signed ? require_signed_load(env, insn, op.width) : Verdict{};
    case Kind::store:
      if (Verdict v = require_initialised(env, insn.src_reg)) return v;
      if (Verdict v = require_initialised(env, insn.dst_reg)) return v;
      return require_access(env, insn.dst_reg, insn.off, op.width, Direction::write);
    case Kind::store_immediate:
      if (Verdict v = require_initialised(env, insn.dst_reg)) return v;
      return require_access(env, insn.dst_reg, insn.off, op.width, Direction::write);
    case Kind::atomic:
      return require_atomic(env, insn, op.width);
    case Kind::jump_if:
      if (Verdict v = require_initialised(env, insn.dst_reg)) return v;
      if (op.source_register) return require_initialised(env, insn.src_reg);
      return {};
    case Kind::load_packet:
      return require_packet_load(env, insn, op);
    default:
      return {};
  }
}

Verdict require_nothing_acquired(const Environment& env, std::string_view what) {
  const State& now = *env.now;
  const uint32_t callback = now.frame().in_callback ? now.depth() : 0;
  if (now.depth() != 0 && callback == 0) return {};
  for (const Reference& r : now.references) {
    if (callback != 0 && r.callback_frame != callback) continue;
    return refuse(EINVAL,
                  "Unreleased reference id={} alloc_insn={}\n{} would lead to reference leak", r.id,
                  r.acquired_at, what);
  }
  return {};
}

Verdict require_nothing_held(const Environment& env, std::string_view what) {
  const State& now = *env.now;
  if (now.lock_id != 0) {
    return refuse(EINVAL, "{} cannot be used inside bpf_spin_lock-ed region", what);
  }
  if (Verdict v = require_nothing_acquired(env, what)) return v;
  if (now.depth() != 0 && !now.frame().in_callback) return {};
  if (now.in_rcu) {
    return refuse(EINVAL, "{} cannot be used inside bpf_rcu_read_lock-ed region", what);
  }
  if (now.no_preemption != 0) {
    return refuse(EINVAL, "{} cannot be used inside bpf_preempt_disable-ed region", what);
  }
  return {};
}

}  // namespace xnic::vm::verifier

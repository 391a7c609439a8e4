#include "vm/verifier/requirements.h"

#include <algorithm>
#include <cerrno>

#include "vm/instruction_form.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {
namespace {

constexpr int32_t kPacketAlignment = 2;  // NET_IP_ALIGN

// The bytes of `size` from `offset` plus what is variable lie in 0..limit.
Verdict require_in_region(const Register& r, uint32_t number, int64_t offset, uint64_t size,
                          uint64_t limit, bool may_be_empty, std::string_view region) {
  const auto outside = [&](int64_t at) {
    const bool fits =
        at >= 0 && static_cast<uint64_t>(at) + size <= limit && (size > 0 || may_be_empty);
    return !fits;
  };
  const auto complain = [&](int64_t at) {
    return refuse(EACCES, "invalid access to {}, {}={} off={} size={}\nR{} {} memory range", region,
                  region.starts_with("map_key") ? "key_size"
                  : region.starts_with("map")   ? "value_size"
                                                : "size",
                  limit, at, size, number,
                  at < 0 ? "min value is outside of the allowed" : "is outside of the allowed");
  };
  const int64_t least = r.number.full.smin;
  if (least < 0 && (least == INT64_MIN || offset + least < INT32_MIN || offset + least < 0)) {
    return refuse(EACCES,
                  "R{} min value is negative, either use unsigned index or do a if (index >=0) "
                  "check.",
                  number);
  }
  if (outside(offset + least)) return complain(offset + least);
  if (r.number.full.umax >= kMaxVariableSize) {
    return refuse(EACCES, "R{} unbounded memory access, make sure to bounds check any such access",
                  number);
  }
  const auto most = static_cast<int64_t>(r.number.full.umax);
  if (outside(offset + most)) return complain(offset + most);
  return {};
}

Verdict require_map_direction(const Register& r, uint32_t number, int64_t offset, uint64_t size,
                              Direction direction) {
  const bool write = direction == Direction::write;
  const uint32_t forbidden = write ? BPF_F_RDONLY_PROG : BPF_F_WRONLY_PROG;
  if ((r.map->flags & forbidden) == 0) return {};
  return refuse(EACCES, "{} map forbidden, value_size={} off={} size={} (R{})",
                write ? "write into" : "read from", r.map->value_size, offset, size, number);
}

// The kernel's own fields in a value are for its helpers.
Verdict require_no_special_field(const Register& r, int64_t offset, uint64_t size) {
  const ValueFields& fields = r.map->fields;
  if (fields.empty()) return {};
  const auto touches = [&](int32_t field, int32_t bytes) {
    return field >= 0 && r.number.full.smin + offset < field + bytes &&
           static_cast<uint64_t>(field) < r.number.full.umax + static_cast<uint64_t>(offset) + size;
  };
  if (touches(fields.spin_lock_offset(), sizeof(bpf_spin_lock))) {
    return refuse(EACCES, "bpf_spin_lock cannot be accessed directly by load/store");
  }
  if (touches(fields.timer_offset(), sizeof(bpf_timer))) {
    return refuse(EACCES, "bpf_timer cannot be accessed directly by load/store");
  }
  return {};
}

Verdict require_map_value(const Register& r, uint32_t number, int64_t offset, uint64_t size,
                          Direction direction, bool may_be_empty) {
  if (Verdict v = require_map_direction(r, number, offset, size, direction)) return v;
  if (Verdict v = require_in_region(r, number, offset, size, r.map->value_size, may_be_empty,
                                    "map value")) {
    return v;
  }
  return require_no_special_field(r, offset, size);
}

Verdict require_packet(const Register& r, uint32_t number, int64_t offset, uint64_t size,
                       bool may_be_empty) {
  if (r.number.full.smin < 0) {
    return refuse(EACCES,
                  "R{} min value is negative, either use unsigned index or do a if (index >=0) "
                  "check.",
                  number);
  }
  const bool inside = r.extent >= 0 && offset >= 0 && (size > 0 || may_be_empty) &&
                      static_cast<uint64_t>(offset) + size <= static_cast<uint64_t>(r.extent);
  if (inside) return {};
  return refuse(EACCES,
                "invalid access to packet, off={} size={}, R{}(id={},off={},r={})\nR{} offset is "
                "outside of the packet",
                offset, size, number, r.id, r.offset, r.extent, number);
}

Verdict require_context(const Environment& env, const Register& r, uint32_t number, int64_t offset,
                        uint32_t size, Direction direction) {
  if (Verdict v = require_unmodified(r, number)) return v;
  const bool write = direction == Direction::write;
  if (offset >= 0 && offset < env.type.context_size &&
      env.type.field_for(static_cast<uint32_t>(offset), size, write) != nullptr) {
    return {};
  }
  return refuse(EACCES, "invalid bpf_context access off={} size={}", offset, size);
}

// A context field that is a pointer has no sign.
Verdict require_signed_load(const Environment& env, const bpf_insn& insn, uint32_t size) {
  const Register& r = (*env.now)[insn.src_reg];
  if (r.type != Type::context) return {};
  const ContextField* field =
      env.type.field_for(static_cast<uint32_t>(insn.off + r.offset), size, false);
  if (field == nullptr || !field->pointer) return {};
  return refuse(EACCES, "invalid bpf_context access off={} size={}", insn.off, size);
}

// What a program may read of a socket: struct bpf_sock, bpf_tcp_sock of linux/bpf.h.
Verdict require_socket(const Register& r, uint32_t number, int64_t offset, uint32_t size,
                       Direction direction) {
  if (direction == Direction::write) {
    return refuse(EACCES, "R{} cannot write into {}", number, type_name(r));
  }
  const auto limit =
      static_cast<int64_t>(r.type == Type::tcp_socket ? sizeof(bpf_tcp_sock) : sizeof(bpf_sock));
  const bool fits = r.number.is_constant() && offset >= 0 && offset + size <= limit &&
                    offset % size == 0 && size <= 4;
  // What all sockets have are the fields that are not of a full socket only.
  const bool common_only = r.type == Type::socket_common;
  const bool is_common = offset >= static_cast<int64_t>(offsetof(bpf_sock, family)) &&
                         offset < static_cast<int64_t>(offsetof(bpf_sock, type));
  const bool is_common_address =
      offset >= static_cast<int64_t>(offsetof(bpf_sock, src_ip4)) &&
      offset < static_cast<int64_t>(offsetof(bpf_sock, rx_queue_mapping));
  if (fits && (!common_only || is_common || is_common_address)) return {};
  return refuse(EACCES, "R{} invalid {} access off={} size={}", number, type_name(r), offset, size);
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
    if (r.type == Type::context || r.is_packet() || r.is_socket()) {
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
  if (r.type == Type::context || r.is_packet() || r.is_socket()) {
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

Verdict require_unmodified(const Register& r, uint32_t number) {
  if (r.offset < 0) {
    return refuse(EACCES, "negative offset {} ptr R{} off={} disallowed", type_name(r), number,
                  r.offset);
  }
  if (r.offset != 0) {
    return refuse(EACCES, "dereference of modified {} ptr R{} off={} disallowed", type_name(r),
                  number, r.offset);
  }
  if (!r.number.is_constant() || r.number.bits.value != 0) {
    return refuse(EACCES, "variable {} access var_off=({:#x}; {:#x}) disallowed", type_name(r),
                  r.number.bits.value, r.number.bits.mask);
  }
  return {};
}

Verdict require_alignment(const Environment& env, const Register& r, int32_t offset, uint32_t size,
                          bool strict) {
  strict = strict || env.strict_alignment() || r.type == Type::stack;
  // x86 accesses packets at any address.
  if (r.is_packet()) strict = env.strict_alignment();
  if (!strict || size == 1) return {};
  const int32_t headroom = r.is_packet() ? kPacketAlignment : 0;
  const int64_t fixed = int64_t{r.offset} + offset + headroom;
  const Tnum at = r.number.bits + Tnum::constant(static_cast<uint64_t>(fixed));
  if (at.is_aligned(size)) return {};
  return refuse(EACCES, "misaligned {} access off ({:#x}; {:#x})+{}+{} size {}", type_name(r),
                r.number.bits.value, r.number.bits.mask, r.offset, offset, size);
}

Verdict require_within_stack(const Environment& env, uint32_t base, int32_t offset, uint32_t size,
                             bool by_helper) {
  const Register& r = (*env.now)[base];
  const std::string_view how = by_helper ? " indirect access to" : "";
  if (!r.number.is_constant() &&
      (r.number.full.smax >= kMaxVariableOffset || r.number.full.smin <= -kMaxVariableOffset)) {
    return refuse(EACCES, "invalid unbounded variable-offset{} stack R{}", how, base);
  }
  const int64_t first = r.number.full.smin + r.offset + offset;
  const int64_t behind = r.number.full.smax + r.offset + offset + size;
  // Of an empty access, too, the start has to be in the frame.
  const bool starts_inside = first >= -static_cast<int64_t>(kFrameBytes) && first < 0;
  if (starts_inside && behind <= 0) return {};
  const int error = starts_inside ? EINVAL : EACCES;
  const std::string_view kind = by_helper ? how : " access to";
  if (r.number.is_constant()) {
    return refuse(error, "invalid{} stack R{} off={} size={}", kind, base, first, size);
  }
  return refuse(error, "invalid variable-offset{} stack R{} var_off=({:#x}; {:#x}) off={} size={}",
                kind, base, r.number.bits.value, r.number.bits.mask, r.offset + offset, size);
}

Verdict require_access(Environment& env, uint32_t base, int32_t offset, uint32_t size,
                       Direction direction, bool strict_alignment) {
  const Register& r = env.reg(base);
  if (Verdict v = require_alignment(env, r, offset, size, strict_alignment)) return v;
  const int64_t at = int64_t{offset} + r.offset;
  const bool write = direction == Direction::write;
  if (r.maybe_null) {
    return refuse(EACCES, "R{} invalid mem access '{}'", base, type_name(r));
  }
  switch (r.type) {
    case Type::map_key:
      if (write) return refuse(EACCES, "write to change key R{} not allowed", base);
      return require_in_region(r, base, at, size, r.map->key_size, false, "map_key");
    case Type::map_value:
      return require_map_value(r, base, at, size, direction, false);
    case Type::memory:
    case Type::record:
      if (write && r.read_only) {
        return refuse(EACCES, "R{} cannot write into {}", base, type_name(r));
      }
      return require_in_region(r, base, at, size, static_cast<uint64_t>(r.extent), false, "memory");
    case Type::context:
      return require_context(env, r, base, at, size, direction);
    case Type::stack:
      return require_within_stack(env, base, offset, size, false);
    case Type::packet:
    case Type::packet_meta:
      return require_packet(r, base, at, size, false);
    case Type::socket_common:
    case Type::socket:
    case Type::tcp_socket:
      return require_socket(r, base, at, size, direction);
    default:
      return refuse(EACCES, "R{} invalid mem access '{}'", base, type_name(r));
  }
}

Verdict require_helper_access(Environment& env, uint32_t base, uint32_t size, Direction direction,
                              bool may_be_empty) {
  const Register& r = env.reg(base);
  const bool write = direction == Direction::write;
  switch (r.type) {
    case Type::packet:
    case Type::packet_meta:
      return require_packet(r, base, r.offset, size, may_be_empty);
    case Type::map_key:
      if (write) return refuse(EACCES, "R{} cannot write into {}", base, type_name(r));
      return require_in_region(r, base, r.offset, size, r.map->key_size, false, "map_key");
    case Type::map_value:
      return require_map_value(r, base, r.offset, size, direction, may_be_empty);
    case Type::memory:
    case Type::record:
      if (write && r.read_only) {
        return refuse(EACCES, "R{} cannot write into {}", base, type_name(r));
      }
      return require_in_region(r, base, r.offset, size, static_cast<uint64_t>(r.extent),
                               may_be_empty, "memory");
    case Type::stack:
      if (size == 0 && !may_be_empty) return refuse(EACCES, "invalid zero-sized read");
      return require_within_stack(env, base, 0, size, true);
    default:
      if (may_be_empty && size == 0 && r.is_null()) return {};
      return refuse(EACCES, "R{} type={} expected=fp", base, type_name(r));
  }
}

Verdict require_sane_offset(const Register& pointer, const Register& moved_by) {
  const Bounds& number = moved_by.number;
  const auto value = static_cast<int64_t>(number.bits.value);
  if (number.is_constant() && (value >= kMaxVariableOffset || value <= -kMaxVariableOffset)) {
    return refuse(EINVAL, "math between {} pointer and {} is not allowed", type_name(pointer),
                  value);
  }
  if (moved_by.is_pointer() &&
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
  if (Verdict v = objects_to_form(insn)) return v;
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

Verdict require_nothing_held(const Environment& env, std::string_view what) {
  const State& now = *env.now;
  if (now.lock_id != 0) {
    return refuse(EINVAL, "{} cannot be used inside bpf_spin_lock-ed region", what);
  }
  const uint32_t callback = now.frame().in_callback ? now.depth() : 0;
  if (now.depth() != 0 && callback == 0) return {};
  for (const Reference& r : now.references) {
    if (callback != 0 && r.callback_frame != callback) continue;
    return refuse(EINVAL,
                  "Unreleased reference id={} alloc_insn={}\n{} would lead to reference leak", r.id,
                  r.acquired_at, what);
  }
  if (now.in_rcu) {
    return refuse(EINVAL, "{} cannot be used inside bpf_rcu_read_lock-ed region", what);
  }
  if (now.no_preemption != 0) {
    return refuse(EINVAL, "{} cannot be used inside bpf_preempt_disable-ed region", what);
  }
  return {};
}

}  // namespace xnic::vm::verifier

#include "vm/verifier/effects.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "vm/kfunc.h"
#include "vm/verifier/arithmetic.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/local_objects.h"
#include "vm/verifier/precision.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {
namespace {

constexpr int64_t kMaxFixed = INT32_MAX;

// The two signed ranges added, or unlimited where they wrap around.
void add_signed(Interval<int64_t>& to, const Interval<int64_t>& other, bool subtract) {
  Interval<int64_t> sum = to;
  if (subtract) {
    sum.subtract(other);
  } else {
    sum.add(other);
  }
  to.smin = sum.smin;
  to.smax = sum.smax;
}

// The unsigned range of a pointer's offset, which unlike that of numbers must not wrap at all.
void move_unsigned(Interval<int64_t>& to, const Interval<int64_t>& other, bool subtract) {
  uint64_t least = 0;
  uint64_t most = 0;
  const bool wraps = subtract ? to.umin < other.umax
                              : __builtin_add_overflow(to.umin, other.umin, &least) ||
                                    __builtin_add_overflow(to.umax, other.umax, &most);
  if (wraps) {
    to.umin = 0;
    to.umax = UINT64_MAX;
  } else if (subtract) {
    least = to.umin - other.umax;
    most = to.umax - other.umin;
    to.umin = least;
    to.umax = most;
  } else {
    to.umin = least;
    to.umax = most;
  }
}

// `pointer` moved by a number, up or down.
Register moved(Environment& env, const Register& pointer, const Register& by, bool subtract) {
  Register to = pointer;
  const Bounds& number = by.number;
  const int64_t constant = subtract ? -number.full.smin : number.full.smin;
  if (number.is_constant()) {
    const int64_t fixed = pointer.offset + constant;
    if (fixed >= -kMaxFixed - 1 && fixed <= kMaxFixed) {
      to.offset = static_cast<int32_t>(fixed);
      return to;
    }
  }
  add_signed(to.number.full, number.full, subtract);
  move_unsigned(to.number.full, number.full, subtract);
  to.number.low = Interval<int32_t>::unknown();
  to.number.bits = subtract ? pointer.number.bits - number.bits : pointer.number.bits + number.bits;
  to.number.sync();
  if (pointer.is_packet()) {
    to.id = env.new_id();
    if (!subtract || number.full.smin < 0) to.extent = 0;
  }
  return to;
}

void apply_move(Environment& env, const bpf_insn& insn, const Opcode& op) {
  Register& target = env.reg(insn.dst_reg);
  if (!op.source_register) {
    const int64_t value = insn.imm;
    target = Register::constant(op.width == 8 ? static_cast<uint64_t>(value)
                                              : static_cast<uint32_t>(value));
    return;
  }
  Register& source = env.reg(insn.src_reg);
  const bool extends = insn.off != 0;
  if (op.width == 8 && !extends) {
    link(env, source);
    target = Register(source);
    return;
  }
  if (!source.is_scalar()) {
    target = Register::unknown();
    if (op.width == 4) target.number.truncate(4);
    return;
  }
  const auto bytes = static_cast<uint32_t>(extends ? insn.off / 8 : 4);
  const bool same = extends ? source.number.full.umax < uint64_t{1} << (insn.off - 1)
                            : source.number.fits_in_32_bits();
  if (same) link(env, source);
  target = Register(source);
  if (!same) target.forget_links();
  if (op.width == 8) {
    target.number.sign_extend(bytes);
    return;
  }
  if (extends) target.number.sign_extend_low(bytes);
  target.number.zero_extend();
  target.number.sync();
}

// Whether a bit operation is worth looking at apart for the only two numbers that the target may
// be: all zeros or all ones. The path with zeros is followed later.
void split_mask(Environment& env, const bpf_insn& insn, Register& target) {
  const auto& full = target.number.full;
  const auto& low = target.number.low;
  const bool wide = full.smin == -1 && full.smax == 0;
  const bool narrow = !wide && low.smin == -1 && low.smax == 0;
  if (!wide && !narrow) return;
  State& other = env.branch(env.index, env.index);
  Register& zeros = other[insn.dst_reg];
  if (wide) {
    zeros.number = Bounds::constant(0);
    target.number = Bounds::constant(UINT64_MAX);
    return;
  }
  const auto set_low = [](Bounds& number, uint32_t value) {
    number.low = Interval<int32_t>::constant(value);
    number.bits = number.bits.with_low_half(Tnum::constant(value));
  };
  set_low(zeros.number, 0);
  set_low(target.number, UINT32_MAX);
}

// Numbers that differ by a constant stay linked: by how much the target will differ from those that
// it was equal to. In 32 bits that says something of a number that has no more of them.
std::optional<int32_t> delta_of(const Opcode& op, const Register& target, const Bounds& right) {
  const bool moves = op.operation == BPF_ADD || op.operation == BPF_SUB;
  if (!moves || target.id == 0 || target.by_delta) return {};
  if (op.width == 4 && !target.number.fits_in_32_bits()) return {};
  const Tnum bits = op.width == 4 ? right.bits.truncated(4) : right.bits;
  if (bits.mask != 0) return {};
  int64_t delta =
      op.width == 4 ? int64_t{static_cast<int32_t>(bits.value)} : static_cast<int64_t>(bits.value);
  if (delta < INT32_MIN || delta > INT32_MAX) return {};
  if (op.operation == BPF_SUB) delta = -delta;
  if (delta > INT32_MAX) return {};
  return static_cast<int32_t>(delta);
}

Verdict apply_arithmetic(Environment& env, const bpf_insn& insn, const Opcode& op) {
  Register& target = env.reg(insn.dst_reg);
  const Register constant = Register::constant(static_cast<uint64_t>(int64_t{insn.imm}));
  const Register& source = op.source_register ? env.reg(insn.src_reg) : constant;
  const bool subtract = op.operation == BPF_SUB;
  if (target.is_pointer() && source.is_pointer()) {
    target = Register::unknown();
    return {};
  }
  if (target.is_pointer() || source.is_pointer()) {
    if (op.source_register) {
      mark_precise(env, target.is_pointer() ? insn.src_reg : insn.dst_reg);
    }
    if (op.width == 4) {
      target = Register::unknown();
      return {};
    }
    const Register by = target.is_pointer() ? source : target;
    target = moved(env, target.is_pointer() ? target : source, by, subtract);
    return require_sane_offset(target, target);
  }
  if (op.source_register && target.precise) mark_precise(env, insn.src_reg);
  if ((op.operation == BPF_AND || op.operation == BPF_OR) && source.number.is_constant()) {
    split_mask(env, insn, target);
  }
  const bool same = op.source_register && insn.src_reg == insn.dst_reg;
  const Bounds right = source.number;
  const std::optional<int32_t> delta = same ? std::nullopt : delta_of(op, target, right);
  target.number = apply(op.operation, op.width, target.number, right);
  if (delta) {
    target.by_delta = true;
    target.by_narrow_delta = op.width == 4;
    target.offset = *delta;
  } else {
    target.forget_links();
  }
  return {};
}

// A constant of a map that nobody can change.
bool read_constant(const Environment& env, const Register& base, int64_t at, uint32_t size,
                   uint64_t& value) {
  const Map* map = env.map_of(base.map);
  if (map == nullptr || !map->frozen || (base.map->flags & BPF_F_RDONLY_PROG) == 0) return false;
  const std::span<uint8_t> bytes = const_cast<Map*>(map)->direct_value();
  if (at < 0 || static_cast<uint64_t>(at) + size > bytes.size()) return false;
  value = 0;
  std::memcpy(&value, bytes.data() + at, size);
  return true;
}

Register loaded_from_context(Environment& env, int32_t offset, uint32_t size) {
  if (env.type.context_is_memory) return Register::unknown();
  if (env.type.has_typed_arguments) {
    Register argument = env.arguments[static_cast<size_t>(offset) / sizeof(uint64_t)];
    if (argument.maybe_null) argument.id = env.new_id();
    return argument;
  }
  const ContextField* field = env.type.field_for(static_cast<uint32_t>(offset), size, false);
  const auto or_null = [&](Type type) {
    Register r = Register::pointer(type);
    r.maybe_null = true;
    r.id = env.new_id();
    return r;
  };
  switch (field == nullptr ? Points::nowhere : field->points) {
    case Points::nowhere:
      return Register::unknown();
    case Points::packet:
      return Register::pointer(Type::packet);
    case Points::packet_meta:
      return Register::pointer(Type::packet_meta);
    case Points::packet_end:
      return Register::pointer(Type::packet_end);
    case Points::flow_keys:
      return Register::pointer(Type::flow_keys);
    case Points::socket:
      return Register::pointer(Type::socket);
    case Points::socket_or_null:
      return or_null(Type::socket);
    case Points::socket_common_or_null:
      return or_null(Type::socket_common);
  }
  return Register::unknown();
}

Register loaded(Environment& env, uint32_t base_number, int32_t offset, uint32_t size) {
  const Register& base = env.reg(base_number);
  switch (base.type) {
    case Type::stack:
      return read_stack(env, base_number, offset, size);
    case Type::context:
      return loaded_from_context(env, offset + base.offset, size);
    case Type::kernel_object:
      return loaded_from_kernel_object(env, base, int64_t{offset} + base.offset, size);
    case Type::map:
      return loaded_from_map_object(env, base, int64_t{offset} + base.offset, size);
    case Type::map_value: {
      uint64_t value = 0;
      const int64_t at =
          int64_t{offset} + base.offset + static_cast<int64_t>(base.number.bits.value);
      if (!base.number.is_constant()) return Register::unknown();
      if (read_constant(env, base, at, size, value)) return Register::constant(value);
      const SpecialField* kptr = base.map->fields.find_kptr(at);
      return kptr == nullptr ? Register::unknown() : loaded_kptr(env, base.map->fields, *kptr);
    }
    default:
      return Register::unknown();
  }
}

void extend_loaded(Register& r, uint32_t size, bool is_signed) {
  if (!r.is_scalar() || size >= 8) return;
  if (is_signed) {
    r.number.sign_extend(size);
  } else {
    r.number.truncate(size);
  }
}

}  // namespace

void link(Environment& env, Register& r) {
  if (!r.is_scalar()) return;
  if (r.by_delta) r.forget_links();
  if (r.id == 0 && !r.number.is_constant()) r.id = env.new_id();
}

Verdict apply_alu(Environment& env, const bpf_insn& insn) {
  const Opcode& op = opcode(insn);
  Register& target = env.reg(insn.dst_reg);
  switch (op.kind) {
    case Kind::negate:
      if (target.is_scalar()) {
        target.number = apply(BPF_NEG, op.width, target.number, target.number);
        target.forget_links();
      } else {
        target = Register::unknown();
      }
      return {};
    case Kind::byte_swap:
      target = Register::unknown();
      return {};
    default:
      if (op.operation != BPF_MOV) return apply_arithmetic(env, insn, op);
      apply_move(env, insn, op);
      return {};
  }
}

void apply_load(Environment& env, const bpf_insn& insn, bool is_signed) {
  const uint32_t size = opcode(insn).width;
  Register value = loaded(env, insn.src_reg, insn.off, size);
  extend_loaded(value, size, is_signed);
  env.reg(insn.dst_reg) = value;
}

void apply_store(Environment& env, const bpf_insn& insn) {
  if (env.reg(insn.dst_reg).type != Type::stack) return;
  const Opcode& op = opcode(insn);
  const Register constant = Register::constant(static_cast<uint64_t>(int64_t{insn.imm}));
  const Stored stored = op.kind == Kind::store_immediate ? Stored{kRegisters, &constant}
                                                         : Stored{insn.src_reg, nullptr};
  write_stack(env, insn.dst_reg, insn.off, op.width, stored);
}

void apply_atomic(Environment& env, const bpf_insn& insn) {
  const uint32_t size = opcode(insn).width;
  if (insn.imm == kLoadAcquire) {
    apply_load(env, insn, false);
    return;
  }
  if (insn.imm == kStoreRelease) {
    if (env.reg(insn.dst_reg).type == Type::stack) {
      write_stack(env, insn.dst_reg, insn.off, size, {insn.src_reg, nullptr});
    }
    return;
  }
  Register old = loaded(env, insn.dst_reg, insn.off, size);
  extend_loaded(old, size, false);
  if (env.reg(insn.dst_reg).type == Type::stack) {
    write_stack(env, insn.dst_reg, insn.off, size, {});
  }
  if (insn.imm == kAtomicCompareExchange) {
    env.reg(0) = old;
  } else if ((insn.imm & kAtomicFetch) != 0) {
    env.reg(insn.src_reg) = old;
  }
}

Verdict apply_load_immediate(Environment& env, const bpf_insn& insn) {
  const uint64_t value = immediate64(insn, env.code[env.index + 1]);
  Register& target = env.reg(insn.dst_reg);
  if (insn.src_reg == 0) {
    target = Register::constant(value);
    return {};
  }
  if (insn.src_reg == BPF_PSEUDO_BTF_ID && is_foreign(insn)) {
    target = kernel_symbol(env, static_cast<uint32_t>(insn.imm & ~kForeignKfunc));
    return {};
  }
  if (insn.src_reg == BPF_PSEUDO_BTF_ID) {
    target = Register::pointer(Type::memory);
    target.read_only = true;
    return {};
  }
  if (insn.src_reg == BPF_PSEUDO_FUNC) {
    target = Register::pointer(Type::function);
    target.target = env.flow.function_of(static_cast<uint32_t>(insn.imm));
    return {};
  }
  for (const std::shared_ptr<Map>& map : env.maps) {
    if (names_map(insn.src_reg)) {
      if (reinterpret_cast<uintptr_t>(map.get()) != value) continue;
      target = Register::pointer(Type::map);
      target.map = &map->spec();
      return {};
    }
    const std::span<uint8_t> bytes = map->direct_value();
    const uint64_t offset = value - reinterpret_cast<uintptr_t>(bytes.data());
    if (bytes.empty() || offset >= bytes.size()) continue;
    target = Register::pointer(Type::map_value);
    target.map = &map->spec();
    target.offset = static_cast<int32_t>(offset);
    // However often it is named, the value and its lock are the same.
    if (target.map->fields.has_spin_lock()) target.id = env.id_of_value(target.map);
    return {};
  }
  return refuse(EINVAL, "unrecognized bpf_ld_imm64 insn");
}

void void_packet_pointers(State& state) {
  state.for_each([](Register& r) {
    const bool in_packet = r.dynptr_kind == DynptrKind::skb || r.dynptr_kind == DynptrKind::xdp;
    const bool is_slice = r.type == Type::memory && in_packet;
    if (r.is_packet_or_end() || is_slice) r = Register::unknown();
  });
}

void release(State& state, uint32_t reference) {
  std::erase_if(state.references, [&](const Reference& r) { return r.id == reference; });
  state.for_each([&](Register& r) {
    if (r.reference == reference) r = Register::unknown();
  });
  for (Frame& frame : state.frames) {
    for (StackSlot& slot : frame.stack) {
      if (slot.is_dynptr() && slot.value.reference == reference) slot = {};
    }
  }
}

}  // namespace xnic::vm::verifier

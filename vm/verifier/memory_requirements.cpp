// What accesses to memory require: of the context, the packet, map values, the stack, other
// regions. Test: tests/vm/verifier/analysis_test.cpp, and the comparison of verdicts in
// tests/verdicts.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "vm/verifier/effects.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/local_objects.h"
#include "vm/verifier/precision.h"
#include "vm/verifier/requirements.h"
#include "vm/verifier/struct_access.h"

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

enum class By : uint8_t { instruction, helper };

// What may be done with a pointer to an object of the kernel: an instruction may read it, or set
// one that owns nothing to NULL. Linux also takes a pointer to the right type of object.
Verdict require_kernel_pointer(Environment& env, const SpecialField& field, const Register& r,
                               int64_t offset, uint64_t size, By by) {
  if (by == By::helper) return refuse(EACCES, "kptr cannot be accessed indirectly by helper");
  if (!r.number.is_constant()) return refuse(EACCES, "kptr access cannot have variable offset");
  const int64_t at = offset + static_cast<int64_t>(r.number.bits.value);
  if (at != field.offset) {
    return refuse(EACCES, "kptr access misaligned expected={} off={}", field.offset, at);
  }
  if (size != field.size) return refuse(EACCES, "kptr access size must be BPF_DW");
  const bpf_insn& insn = env.insn();
  if (BPF_MODE(insn.code) != BPF_MEM) {
    return refuse(EACCES, "kptr in map can only be accessed using BPF_MEM instruction mode");
  }
  if (BPF_CLASS(insn.code) == BPF_LDX) return {};
  if (field.kind != SpecialField::Kind::untrusted_kptr) {
    return refuse(EACCES, "store to referenced kptr disallowed");
  }
  if (BPF_CLASS(insn.code) == BPF_ST) {
    if (insn.imm == 0) return {};
    return refuse(EACCES, "BPF_ST imm must be 0 when storing to kptr at off={}", field.offset);
  }
  const Register& stored = env.reg(insn.src_reg);
  if (!stored.is_null()) {
    return refuse(EACCES, "invalid kptr access, R{} type={} expected=ptr_", uint32_t{insn.src_reg},
                  type_name(stored));
  }
  mark_precise(env, insn.src_reg);
  return {};
}

// The kernel's own fields in a value are for its helpers.
Verdict require_no_special_field(Environment& env, const Register& r, int64_t offset, uint64_t size,
                                 By by) {
  for (const SpecialField& field : r.map->fields.all()) {
    const bool touches =
        r.number.full.smin + offset < int64_t{field.offset} + field.size &&
        uint64_t{field.offset} < r.number.full.umax + static_cast<uint64_t>(offset) + size;
    if (!touches) continue;
    if (!field.is_kptr()) {
      return refuse(EACCES, "{} cannot be accessed directly by load/store", name_of(field.kind));
    }
    if (Verdict v = require_kernel_pointer(env, field, r, offset, size, by)) return v;
  }
  return {};
}

Verdict require_map_value(Environment& env, uint32_t number, int64_t offset, uint64_t size,
                          Direction direction, By by, bool may_be_empty) {
  const Register& r = env.reg(number);
  if (Verdict v = require_map_direction(r, number, offset, size, direction)) return v;
  if (Verdict v = require_in_region(r, number, offset, size, r.map->value_size, may_be_empty,
                                    "map value")) {
    return v;
  }
  return require_no_special_field(env, r, offset, size, by);
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
                offset, size, number, r.id, offset, r.extent, number);
}

Verdict require_typed_argument(const Environment& env, int64_t offset, uint32_t size, bool write) {
  const auto number = static_cast<size_t>(offset) / sizeof(uint64_t);
  const bool is_there = offset >= 0 && offset % 8 == 0 && number < env.arguments.size() && !write;
  if (is_there && (env.arguments[number].is_scalar() || size == sizeof(uint64_t))) return {};
  return refuse(EACCES, "invalid bpf_context access off={} size={}", offset, size);
}

Verdict require_context(const Environment& env, const Register& r, uint32_t number, int64_t offset,
                        uint32_t size, Direction direction) {
  if (env.type.context_is_memory) {
    return require_in_region(r, number, offset, size, env.type.context_size, true, "context");
  }
  if (Verdict v = require_unmodified(r, number)) return v;
  const bool write = direction == Direction::write;
  if (env.type.has_typed_arguments) return require_typed_argument(env, offset, size, write);
  const ContextField* field = offset >= 0 && offset < env.type.context_size
                                  ? env.type.field_for(static_cast<uint32_t>(offset), size, write)
                                  : nullptr;
  const bool is_there =
      field != nullptr && (env.type.has_field == nullptr ||
                           env.type.has_field(*field, env.spec.expected_attach_type, write));
  if (is_there) return {};
  return refuse(EACCES, "invalid bpf_context access off={} size={}", offset, size);
}

bool is_tcp_socket_read(uint32_t offset, uint32_t size) {
  if (offset >= sizeof(bpf_tcp_sock)) return false;
  const bool is_wide = offset == offsetof(bpf_tcp_sock, bytes_received) ||
                       offset == offsetof(bpf_tcp_sock, bytes_acked);
  return size == (is_wide ? 8 : 4);
}

// Addresses are read in parts anywhere, some fields at their start alone, others only whole.
bool is_socket_read(uint32_t offset, uint32_t size) {
  const auto is_in = [offset](size_t first, size_t bytes) {
    return offset >= first && offset < first + bytes;
  };
  if (offset >= sizeof(bpf_sock) || size > 4) return false;
  // The port has two bytes; Linux lets programs read four.
  constexpr size_t kPort = offsetof(bpf_sock, dst_port);
  if (is_in(kPort, 2)) return offset == kPort || size == 1;
  if (is_in(kPort + 2, 2)) return false;
  if (is_in(offsetof(bpf_sock, src_ip4), sizeof(bpf_sock::src_ip4)) ||
      is_in(offsetof(bpf_sock, src_ip6), sizeof(bpf_sock::src_ip6)) ||
      is_in(offsetof(bpf_sock, dst_ip4), sizeof(bpf_sock::dst_ip4)) ||
      is_in(offsetof(bpf_sock, dst_ip6), sizeof(bpf_sock::dst_ip6))) {
    return true;
  }
  constexpr std::array kReadInParts = {
      offsetof(bpf_sock, state),    offsetof(bpf_sock, family),
      offsetof(bpf_sock, type),     offsetof(bpf_sock, protocol),
      offsetof(bpf_sock, src_port), offsetof(bpf_sock, rx_queue_mapping)};
  return size == 4 || std::ranges::find(kReadInParts, offset) != kReadInParts.end();
}

// What a program may read of a socket: struct bpf_sock, bpf_tcp_sock of linux/bpf.h.
Verdict require_socket(const Register& r, uint32_t number, int64_t offset, uint32_t size,
                       Direction direction) {
  if (direction == Direction::write) {
    return refuse(EACCES, "R{} cannot write into {}", number, type_name(r));
  }
  const auto at = static_cast<uint32_t>(offset);
  const bool fixed = r.number.is_constant() && offset >= 0 && offset % size == 0;
  if (fixed && r.type == Type::tcp_socket && is_tcp_socket_read(at, size)) return {};
  // What all sockets have are the fields that are not of a full socket only.
  const bool is_of_full = at >= offsetof(bpf_sock, type) && at < offsetof(bpf_sock, src_ip4);
  const bool is_there = r.type == Type::socket || (r.type == Type::socket_common && !is_of_full);
  if (fixed && is_there && is_socket_read(at, size)) return {};
  return refuse(EACCES, "R{} invalid {} access off={} size={}", number, type_name(r), offset, size);
}

// An object of the program is its own to write, but for the fields of the kernel.
Verdict require_local_object(const Environment& env, const Register& r, uint32_t number,
                             int64_t offset, uint32_t size) {
  const std::string_view name = env.spec.btf->type_name(r.target);
  if (offset < 0) {
    return refuse(EACCES, "R{} is ptr_{} invalid negative access: off={}", number, name, offset);
  }
  if (!r.number.is_constant() || r.number.bits.value != 0) {
    return refuse(EACCES, "R{} is ptr_{} invalid variable offset: off={}, var_off=({:#x}; {:#x})",
                  number, name, offset, r.number.bits.value, r.number.bits.mask);
  }
  for (const SpecialField& field : fields_of(env, r).all()) {
    if (offset < int64_t{field.offset} + field.size && field.offset < offset + size) {
      return refuse(EACCES, "direct access to {} is disallowed", name_of(field.kind));
    }
  }
  const auto field = find_field(env.spec.btf->parsed(), r.target, static_cast<uint32_t>(offset),
                                size, ObjectOf::program);
  return field ? Verdict{} : field.error();
}

}  // namespace

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
      return require_map_value(env, base, at, size, direction, By::instruction, false);
    case Type::memory:
    case Type::record:
      if (write && r.read_only) {
        return refuse(EACCES, "R{} cannot write into {}", base, type_name(r));
      }
      return require_in_region(r, base, at, size, static_cast<uint64_t>(r.extent), false, "memory");
    case Type::context:
      return require_context(env, r, base, at, size, direction);
    case Type::kernel_object:
      return require_kernel_object(env, base, at, size, direction);
    case Type::map:
      return require_map_object(env, base, at, size, direction);
    case Type::flow_keys:
      if (at >= 0 && static_cast<uint64_t>(at) + size <= sizeof(bpf_flow_keys)) return {};
      return refuse(EACCES, "invalid access to flow keys off={} size={}", at, size);
    case Type::stack:
      if (Verdict v = require_within_stack(env, base, offset, size, false)) return v;
      return write ? require_overwritable(env, base, offset, size) : Verdict{};
    case Type::packet:
    case Type::packet_meta:
      if (write && env.type.packet_is_read_only) return refuse(EACCES, "cannot write into packet");
      return require_packet(r, base, at, size, false);
    case Type::local_object:
      return require_local_object(env, r, base, at, size);
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
      return require_map_value(env, base, r.offset, size, direction, By::helper, may_be_empty);
    case Type::memory:
    case Type::record:
      if (write && r.read_only) {
        return refuse(EACCES, "R{} cannot write into {}", base, type_name(r));
      }
      return require_in_region(r, base, r.offset, size, static_cast<uint64_t>(r.extent),
                               may_be_empty, "memory");
    case Type::context:
      if (env.type.context_is_memory) {
        return require_in_region(r, base, r.offset, size, env.type.context_size, may_be_empty,
                                 "context");
      }
      return refuse(EACCES, "R{} type={} expected=fp", base, type_name(r));
    case Type::stack:
      if (size == 0 && !may_be_empty) return refuse(EACCES, "invalid zero-sized read");
      return require_within_stack(env, base, 0, size, true);
    default:
      if (may_be_empty && size == 0 && r.is_null()) return {};
      return refuse(EACCES, "R{} type={} expected=fp", base, type_name(r));
  }
}

}  // namespace xnic::vm::verifier

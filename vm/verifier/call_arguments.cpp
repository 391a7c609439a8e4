// What helpers require of their arguments, kind by kind. Test: tests/vm/verifier/analysis_test.cpp,
// and the comparison of verdicts in tests/verdicts.
#include <bpf/btf.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "vm/btf.h"
#include "vm/verifier/call.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {
namespace {

// Helpers that may be given packet memory (pkt_access of their rows in Linux).
constexpr std::array kTakePacketMemory = {
    BPF_FUNC_map_lookup_elem,
    BPF_FUNC_map_update_elem,
    BPF_FUNC_map_delete_elem,
    BPF_FUNC_map_push_elem,
    BPF_FUNC_map_lookup_percpu_elem,
    BPF_FUNC_csum_diff,
    BPF_FUNC_skc_lookup_tcp,
    BPF_FUNC_sk_lookup_tcp,
    BPF_FUNC_sk_lookup_udp,
    BPF_FUNC_tcp_check_syncookie,
    BPF_FUNC_tcp_gen_syncookie,
    BPF_FUNC_tcp_raw_gen_syncookie_ipv4,
    BPF_FUNC_tcp_raw_gen_syncookie_ipv6,
    BPF_FUNC_tcp_raw_check_syncookie_ipv4,
    BPF_FUNC_tcp_raw_check_syncookie_ipv6,
};

bool is_memory(Type type) {
  switch (type) {
    case Type::stack:
    case Type::packet:
    case Type::packet_meta:
    case Type::map_key:
    case Type::map_value:
    case Type::memory:
    case Type::record:
      return true;
    default:
      return false;
  }
}

// Where no socket is locked that the map would lock again. sock_ops updates by helpers of its own.
bool may_change_sockmap(const ProgramSpec& spec, uint32_t helper) {
  switch (spec.type) {
    case BPF_PROG_TYPE_SOCK_OPS:
      return helper == BPF_FUNC_map_delete_elem;
    case BPF_PROG_TYPE_TRACING:
      return spec.expected_attach_type == BPF_TRACE_ITER;
    case BPF_PROG_TYPE_SOCKET_FILTER:
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
    case BPF_PROG_TYPE_XDP:
    case BPF_PROG_TYPE_SK_REUSEPORT:
    case BPF_PROG_TYPE_FLOW_DISSECTOR:
    case BPF_PROG_TYPE_SK_LOOKUP:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Call::has_sockmap() const {
  return map_ != nullptr &&
         (map_->type == BPF_MAP_TYPE_SOCKMAP || map_->type == BPF_MAP_TYPE_SOCKHASH);
}

// Whether the call changes a sockmap as it would any other map.
bool Call::changes_sockets() const {
  return has_sockmap() &&
         (helper_.id == BPF_FUNC_map_update_elem || helper_.id == BPF_FUNC_map_delete_elem);
}

Verdict Call::require() {
  // What bpf_trace_printk prints it takes as it finds it, written or not.
  const uint32_t count = helper_.id == BPF_FUNC_trace_printk ? 2 : 5;
  for (uint32_t i = 0; i < count; ++i) {
    if (helper_.arguments[i] == Argument::none) break;
    if (Verdict v = require_argument(i)) return v;
  }
  if (map_ != nullptr && !helper_takes_map(helper_.id, map_->type)) {
    return refuse(EINVAL, "cannot pass map_type {} into func {}#{}",
                  static_cast<uint32_t>(map_->type), helper_.name, helper_.id);
  }
  if (changes_sockets() && !may_change_sockmap(env_.spec, helper_.id)) {
    return refuse(EINVAL, "cannot update sockmap in this context");
  }
  if (map_ != nullptr && helper_writes_map(helper_.id) && (map_->flags & BPF_F_RDONLY_PROG) != 0) {
    return refuse(EACCES, "write into map forbidden");
  }
  if (helper_.returns == Returns::record_or_null) return require_record_size();
  if (helper_.id == BPF_FUNC_tail_call) {
    // Linux jumps straight to a slot that is always the same.
    const Register& slot = env_.reg(3);
    const bool known = slot.is_scalar() && slot.number.is_constant() && map_ != nullptr &&
                       slot.number.bits.value < map_->max_entries;
    if (known) mark_precise(env_, 3);
    return require_nothing_held(env_, "tail_call");
  }
  return {};
}

Verdict Call::require_argument(uint32_t position) {
  const uint32_t number = position + 1;
  const Argument kind = helper_.arguments[position];
  if (kind == Argument::ignored) return {};
  if (Verdict v = require_initialised(env_, number)) return v;
  Register& r = env_.reg(number);
  if (r.reference != 0) reference_ = r.reference;
  switch (kind) {
    case Argument::none:
    case Argument::any:
    case Argument::ignored:
      return {};
    case Argument::struct_id:
      return require_struct_id(number);
    case Argument::context_or_null:
      if (r.is_null()) {
        mark_precise(env_, number);
        return {};
      }
      [[fallthrough]];
    case Argument::context:
      if (Verdict v = require_type(number, Type::context)) return v;
      return require_unmodified(r, number);
    case Argument::function:
      if (Verdict v = require_type(number, Type::function)) return v;
      callback_ = &r;
      return {};
    case Argument::map:
      if (Verdict v = require_type(number, Type::map)) return v;
      if (Verdict v = require_unmodified(r, number)) return v;
      if (map_ != nullptr && (map_ != r.map || map_id_ != r.map_id)) {
        return refuse(EINVAL, "R1's map and the map pointer in R2 differ");
      }
      map_ = r.map;
      map_id_ = r.map_id;
      return {};
    case Argument::map_key:
      return require_key(number);
    case Argument::map_value_or_null:
      if (r.is_null()) {
        mark_precise(env_, number);
        return {};
      }
      return require_value(number, false);
    case Argument::map_value:
    case Argument::map_value_out:
      return require_value(number, kind == Argument::map_value_out);
    case Argument::memory_read_or_null:
    case Argument::memory_write_or_null:
      if (r.is_null()) {
        mark_precise(env_, number);
        return {};
      }
      return require_memory_type(number);
    case Argument::memory_read:
    case Argument::memory_write:
      return require_memory_type(number);
    case Argument::size:
    case Argument::size_or_zero:
      return require_size(position);
    case Argument::u32_in_out:
      return require_fixed(number, 4, false);
    case Argument::u64_out:
      return require_fixed(number, 8, true);
    case Argument::const_string:
      return require_string(number);
    case Argument::task:
      return require_object(number, "task_struct");
    case Argument::cgroup:
      return require_object(number, "cgroup");
    case Argument::seq_file:
      return require_object(number, "seq_file");
    case Argument::path:
      return require_object(number, "path");
    case Argument::file:
      return require_object(number, "file");
    case Argument::sk_buff:
      return require_object(number, "sk_buff");
    case Argument::full_socket_or_null:
      if (r.is_null()) {
        mark_precise(env_, number);
        return {};
      }
      if (r.type == Type::kernel_object) {
        Register there = r;
        there.maybe_null = false;
        if (is_kernel_socket(env_, there)) return {};
      }
      return require_type(number, Type::socket);
    case Argument::socket:
      if (is_kernel_socket(env_, r)) return {};
      return require_type(number, Type::socket_common, Type::socket, Type::tcp_socket);
    case Argument::ended_socket:
      if (is_kernel_socket(env_, r)) return require_acquired(number);
      if (Verdict v = require_type(number, Type::socket_common, Type::socket, Type::tcp_socket)) {
        return v;
      }
      return require_acquired(number);
    case Argument::record:
      if (Verdict v = require_type(number, Type::record)) return v;
      return require_acquired(number);
    case Argument::spin_lock:
      return require_lock(number);
    case Argument::timer:
      return require_timer(number);
    case Argument::read_20:
      return require_read(number, 20);
    case Argument::read_40:
      return require_read(number, 40);
    case Argument::bytes_2:
      return require_bytes(number, 2);
    case Argument::bytes_4:
      return require_bytes(number, 4);
    case Argument::bytes_8:
      return require_bytes(number, 8);
    case Argument::new_iterator:
    case Argument::iterator:
    case Argument::ended_iterator: {
      IteratorUse use;
      if (Verdict v = require_iterator(env_, number, helper_, use)) return v;
      iterator_ = use;
      return {};
    }
    case Argument::new_local_dynptr:
    case Argument::new_ringbuf_dynptr:
    case Argument::new_skb_dynptr:
    case Argument::new_xdp_dynptr:
    case Argument::cloned_dynptr:
    case Argument::dynptr:
    case Argument::ended_ringbuf_dynptr:
      return require_dynptr_argument(number, kind);
    case Argument::buffer_or_null:
      return r.is_null() ? Verdict{} : require_memory_type(number);
    case Argument::slice_size:
      return require_slice_size(position);
    case Argument::local_type:
      return require_local_type(number);
    case Argument::dropped_object:
      return require_dropped_object(number);
    case Argument::counted_object:
      return require_counted_object(number);
    case Argument::ended_object:
      if (Verdict v = require_type(number, Type::kernel_object)) return v;
      return require_acquired(number);
    case Argument::kptr:
      return require_kptr(number);
    case Argument::stored_object:
      return require_stored_object(number);
    case Argument::list_head:
      return require_root(number, SpecialField::Kind::list_head);
    case Argument::added_list_node:
      return require_added_node(number, SpecialField::Kind::list_node);
    case Argument::rb_root:
      return require_root(number, SpecialField::Kind::rb_root);
    case Argument::added_rb_node:
      return require_added_node(number, SpecialField::Kind::rb_node);
    case Argument::rb_node:
      return require_tree_node(number);
  }
  return {};
}

// A pointer to such an object, which Linux vouches for or used to take as it is.
Verdict Call::require_object(uint32_t number, std::string_view name) const {
  const Register& r = env_.reg(number);
  const bool is_usable = r.type == Type::kernel_object && !r.maybe_null &&
                         r.trust != Trust::untrusted && r.trust != Trust::elsewhere;
  if (!is_usable) {
    return refuse(EACCES, "R{} type={} expected=ptr_, trusted_ptr_, rcu_ptr_", number,
                  type_name(r));
  }
  // A member will do.
  Register start = r;
  start.offset = std::min(r.offset, 0);
  if (Verdict v = require_unmodified(start, number)) return v;
  if (has_struct_at(env_, r.target, static_cast<uint32_t>(r.offset), name)) return {};
  return refuse(EACCES, "R{} is of type {} but {} is expected", number,
                env_.kernel_types.type_name(r.target), name);
}

// A pointer that is given back as it was acquired.
Verdict Call::require_acquired(uint32_t number) {
  const Register& r = env_.reg(number);
  if (r.offset != 0 || !r.number.is_constant() || r.number.bits.value != 0) {
    return refuse(EINVAL, "R{} must have zero offset when passed to release func", number);
  }
  if (r.reference == 0) {
    return refuse(EINVAL, "R{} must be referenced when passed to release function", number);
  }
  if (!env_.now->has_reference(r.reference)) {
    return refuse(EINVAL, "func {}#{} reference has not been acquired before", helper_.name,
                  helper_.id);
  }
  released_ = r.reference;
  return {};
}

Verdict Call::require_memory_type(uint32_t number) const {
  const Register& r = env_.reg(number);
  const bool is_context_memory = r.type == Type::context && env_.type.context_is_memory;
  if ((!is_memory(r.type) && !is_context_memory) || r.maybe_null) {
    return refuse(EACCES,
                  "R{} type={} expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem",
                  number, type_name(r));
  }
  const bool takes_packets =
      std::ranges::find(kTakePacketMemory, helper_.id) != kTakePacketMemory.end() ||
      env_.spec.type == BPF_PROG_TYPE_CGROUP_SOCKOPT;
  if (r.is_packet() && !takes_packets) {
    return refuse(EACCES, "helper access to the packet is not allowed");
  }
  return {};
}

// Memory of a size that is known.
Verdict Call::require_memory(uint32_t number, uint32_t size, Direction direction, bool may_be_empty,
                             bool fills) {
  if (Verdict v = require_helper_access(env_, number, size, direction, may_be_empty)) return v;
  const Register& r = env_.reg(number);
  if (r.type != Type::stack) return {};
  if (fills && r.number.is_constant()) {
    if (Verdict v = require_no_dynptr(env_, number, size)) return v;
    filled_.push_back({number, size, true});
  } else {
    if (Verdict v = require_plain_stack(env_, number, 0, size)) return v;
    lent_.push_back({number, size, direction == Direction::write});
  }
  return {};
}

Verdict Call::require_map_known(std::string_view what) const {
  if (map_ != nullptr) return {};
  return refuse(EACCES, "invalid map_ptr to access map->{}", what);
}

Verdict Call::require_key(uint32_t number) {
  if (Verdict v = require_memory_type(number)) return v;
  if (Verdict v = require_map_known("key")) return v;
  find_constant_key(number);
  return require_memory(number, map_->key_size, Direction::read, false);
}

Verdict Call::require_value(uint32_t number, bool out) {
  if (changes_sockets()) {
    if (is_kernel_socket(env_, env_.reg(number))) return {};
    return require_type(number, Type::socket_common, Type::socket, Type::tcp_socket);
  }
  if (Verdict v = require_memory_type(number)) return v;
  if (Verdict v = require_map_known("value")) return v;
  const bool writes = out && map_->type != BPF_MAP_TYPE_BLOOM_FILTER;
  return require_memory(number, map_->value_size, writes ? Direction::write : Direction::read,
                        false, writes);
}

Verdict Call::require_fixed(uint32_t number, uint32_t size, bool fills) {
  if (Verdict v = require_memory_type(number)) return v;
  if (Verdict v = require_memory(number, size, Direction::write, false, fills)) return v;
  return require_alignment(env_, env_.reg(number), 0, size, true);
}

Verdict Call::require_read(uint32_t number, uint32_t size) {
  if (Verdict v = require_memory_type(number)) return v;
  return require_memory(number, size, Direction::read, false);
}

Verdict Call::require_bytes(uint32_t number, uint32_t size) {
  if (Verdict v = require_read(number, size)) return v;
  return require_memory(number, size, Direction::write, false);
}

Verdict Call::require_size(uint32_t position) {
  const uint32_t number = position + 1;
  if (Verdict v = require_type(number, Type::scalar)) return v;
  const Bounds& size = env_.reg(number).number;
  const Argument memory = helper_.arguments[position - 1];
  const bool writes = memory == Argument::memory_write || memory == Argument::memory_write_or_null;
  const bool may_be_empty = helper_.arguments[position] == Argument::size_or_zero;
  most_bytes_ = size.full.umax;
  if (size.full.smin < 0) {
    return refuse(EACCES, "R{} min value is negative, either use unsigned or 'var &= const'",
                  number);
  }
  if (size.full.umin == 0 && !may_be_empty) {
    return refuse(EACCES, "R{} invalid zero-sized read: u64=[{},{}]", number, size.full.umin,
                  size.full.umax);
  }
  if (size.full.umax >= kMaxVariableSize) {
    return refuse(EACCES, "R{} unbounded memory access, use 'var &= const' or 'if (var < const)'",
                  number);
  }
  if (Verdict v = require_memory(number - 1, static_cast<uint32_t>(size.full.umax),
                                 writes ? Direction::write : Direction::read, may_be_empty,
                                 writes && size.is_constant())) {
    return v;
  }
  mark_precise(env_, number);
  return {};
}

Verdict Call::require_struct_id(uint32_t number) {
  if (Verdict v = require_type(number, Type::scalar)) return v;
  const Tnum& id = env_.reg(number).number.bits;
  if (id.mask != 0) return refuse(EINVAL, "R{} must be a known constant", number);
  mark_precise(env_, number);
  // Memory of no type.
  if (id.value == 0) return {};
  struct_id_ = static_cast<uint32_t>(id.value);
  const btf_type* type = btf__type_by_id(env_.kernel_types.parsed(), struct_id_);
  if (type != nullptr && btf_is_composite(type)) return {};
  return refuse(EINVAL, "kfunc {} type ID argument must be of a struct", helper_.name);
}

// How many bytes a slice has, and the buffer for them where there is one.
Verdict Call::require_slice_size(uint32_t position) {
  const uint32_t number = position + 1;
  if (Verdict v = require_type(number, Type::scalar)) return v;
  const Bounds& size = env_.reg(number).number;
  const bool is_kfunc = helper_.id == 0;
  if (!size.is_constant()) {
    return is_kfunc ? refuse(EINVAL, "R{} must be a known constant", number)
                    : refuse(EACCES, "R{} is not a known constant'", number);
  }
  mark_precise(env_, number);
  slice_size_ = static_cast<uint32_t>(size.bits.value);
  const bool has_buffer = helper_.arguments[position - 1] == Argument::buffer_or_null &&
                          !env_.reg(number - 1).is_null();
  if (!has_buffer) return {};
  if (Verdict v = require_memory(number - 1, slice_size_, Direction::read, true)) return v;
  return require_memory(number - 1, slice_size_, Direction::write, true);
}

Verdict Call::require_dynptr_argument(uint32_t number, Argument kind) {
  DynptrUse use;
  if (Verdict v = require_dynptr(env_, number, kind, helper_, use)) return v;
  if (kind == Argument::dynptr || kind == Argument::ended_ringbuf_dynptr) {
    dynptr_ = use;
    if (kind != Argument::dynptr) released_ = use.reference;
    return {};
  }
  if (kind == Argument::cloned_dynptr) {
    use.kind = dynptr_->kind;
    use.reference = dynptr_->reference;
  }
  new_dynptr_ = use;
  if (helper_.id != BPF_FUNC_dynptr_from_mem) return {};
  const Register& data = env_.reg(1);
  if (data.type == Type::map_value) return {};
  return refuse(EACCES, "Unsupported reg type {} for bpf_dynptr_from_mem data", type_name(data));
}

Verdict Call::require_record_size() {
  const Register& size = env_.reg(2);
  if (!size.is_scalar() || !size.number.is_constant()) {
    return refuse(EACCES, "R2 is not a known constant'");
  }
  mark_precise(env_, 2);
  return {};
}

Verdict Call::require_string(uint32_t number) {
  if (Verdict v = require_type(number, Type::map_value)) return v;
  const Register& r = env_.reg(number);
  Map* map = env_.map_of(r.map);
  if (map == nullptr || !map->frozen || (r.map->flags & BPF_F_RDONLY_PROG) == 0) {
    return refuse(EACCES, "R{} does not point to a readonly map'", number);
  }
  if (!r.number.is_constant()) {
    return refuse(EACCES, "R{} is not a constant address'", number);
  }
  const std::span<uint8_t> text = map->direct_value();
  if (text.empty()) {
    return refuse(EACCES, "no direct value access support for this map type");
  }
  const auto at = static_cast<uint64_t>(int64_t{r.offset}) + r.number.bits.value;
  if (Verdict v = require_helper_access(
          env_, number, static_cast<uint32_t>(text.size() - std::min<uint64_t>(at, text.size())),
          Direction::read, false)) {
    return v;
  }
  if (std::find(text.begin() + static_cast<ptrdiff_t>(at), text.end(), 0) == text.end()) {
    return refuse(EINVAL, "string is not zero-terminated");
  }
  return {};
}

// Linux knows that a constant key below max_entries is found in an array.
void Call::find_constant_key(uint32_t number) {
  const bool array = map_->type == BPF_MAP_TYPE_ARRAY || map_->type == BPF_MAP_TYPE_PERCPU_ARRAY;
  const Register& key = env_.reg(number);
  if (!array || helper_.id != BPF_FUNC_map_lookup_elem || key.type != Type::stack ||
      !key.number.is_constant()) {
    return;
  }
  const int64_t offset = key.offset + static_cast<int64_t>(key.number.bits.value);
  if (offset >= 0 || offset < -static_cast<int64_t>(kFrameBytes)) return;
  const Frame& frame = env_.now->frames[key.frame];
  const auto slot_number = (static_cast<uint32_t>(-offset) - 1) / kSlotBytes;
  if (slot_number >= frame.stack.size()) return;
  const StackSlot& slot = frame.stack[slot_number];
  const auto byte = static_cast<uint32_t>(offset) % kSlotBytes;
  uint32_t zeros = 0;
  while (byte + zeros < kSlotBytes && slot.bytes[byte + zeros] == Byte::zero) ++zeros;
  if (zeros >= map_->key_size) {
    key_ = 0;
    return;
  }
  if (byte != 0 || !slot.has_scalar() || slot.spilled_bytes() != map_->key_size ||
      !slot.value.number.is_constant()) {
    return;
  }
  key_ = slot.value.number.bits.truncated(map_->key_size).value;
  mark_slot_precise(env_, key.frame, slot_number);
}

}  // namespace xnic::vm::verifier

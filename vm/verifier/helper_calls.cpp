#include "vm/verifier/helper_calls.h"

#include <algorithm>
#include <cerrno>

#include "vm/verifier/effects.h"
#include "vm/verifier/function_calls.h"
#include "vm/verifier/precision.h"
#include "vm/verifier/requirements.h"

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

// One call, argument by argument.
class Call {
 public:
  Call(Environment& env, const bpf_insn& insn, const Helper& helper)
      : env_(env), insn_(insn), helper_(helper) {}

  Verdict require() {
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
    if (map_ != nullptr && helper_writes_map(helper_.id) &&
        (map_->flags & BPF_F_RDONLY_PROG) != 0) {
      return refuse(EACCES, "write into map forbidden");
    }
    if (helper_.returns == Returns::record_or_null) return require_record_size();
    if (helper_.id == BPF_FUNC_tail_call) return require_nothing_held(env_, "tail_call");
    return {};
  }

  Verdict apply() {
    note_proof();
    for (const Lent& memory : lent_) {
      lend_stack(env_, memory.number, memory.size, memory.writable);
    }
    for (const Lent& memory : filled_) fill(memory);
    if (released_ != 0) release(*env_.now, released_);
    if (callback_ != nullptr) {
      if (Verdict v = call_back()) return v;
    }
    const Register second = env_.reg(2);
    for (uint32_t i = 0; i <= 5; ++i) env_.reg(i) = {};
    env_.reg(0) = result(second);
    if (helper_.changes_packet) void_packet_pointers(*env_.now);
    return {};
  }

 private:
  struct Lent {
    uint32_t number;
    uint32_t size;
    bool writable;
  };

  template <class... Types>
  Verdict require_type(uint32_t number, Types... types) const {
    const Register& r = env_.reg(number);
    if (!r.maybe_null && ((r.type == types) || ...)) return {};
    Register expected;
    std::string names;
    ((expected.type = types, names += (names.empty() ? "" : ", ") + type_name(expected)), ...);
    return refuse(EACCES, "R{} type={} expected={}", number, type_name(r), names);
  }

  Verdict require_memory_type(uint32_t number) const {
    const Register& r = env_.reg(number);
    if (!is_memory(r.type) || r.maybe_null) {
      return refuse(EACCES,
                    "R{} type={} expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem",
                    number, type_name(r));
    }
    const bool takes_packets =
        std::ranges::find(kTakePacketMemory, helper_.id) != kTakePacketMemory.end();
    if (r.is_packet() && !takes_packets) {
      return refuse(EACCES, "helper access to the packet is not allowed");
    }
    return {};
  }

  // Memory of a size that is known.
  Verdict require_memory(uint32_t number, uint32_t size, Direction direction, bool may_be_empty,
                         bool fills = false) {
    if (Verdict v = require_helper_access(env_, number, size, direction, may_be_empty)) return v;
    const Register& r = env_.reg(number);
    if (r.type != Type::stack) return {};
    if (fills && r.number.is_constant()) {
      filled_.push_back({number, size, true});
    } else {
      lent_.push_back({number, size, direction == Direction::write});
    }
    return {};
  }

  Verdict require_argument(uint32_t position) {
    const uint32_t number = position + 1;
    if (Verdict v = require_initialised(env_, number)) return v;
    Register& r = env_.reg(number);
    const Argument kind = helper_.arguments[position];
    if (r.reference != 0) reference_ = r.reference;
    switch (kind) {
      case Argument::none:
      case Argument::any:
        return {};
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
      case Argument::record:
        if (Verdict v = require_type(number, Type::record)) return v;
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
      case Argument::spin_lock:
        return require_lock(number);
      case Argument::timer:
        return require_timer(number);
      case Argument::bytes_2:
        return require_bytes(number, 2);
      case Argument::bytes_4:
        return require_bytes(number, 4);
      case Argument::bytes_8:
        return require_bytes(number, 8);
      case Argument::new_iterator:
      case Argument::iterator:
      case Argument::ended_iterator:
        return refuse(EINVAL, "iterators are not followed yet");
    }
    return {};
  }

  Verdict require_map_known(std::string_view what) const {
    if (map_ != nullptr) return {};
    return refuse(EACCES, "invalid map_ptr to access map->{}", what);
  }

  Verdict require_key(uint32_t number) {
    if (Verdict v = require_memory_type(number)) return v;
    if (Verdict v = require_map_known("key")) return v;
    find_constant_key(number);
    return require_memory(number, map_->key_size, Direction::read, false);
  }

  Verdict require_value(uint32_t number, bool out) {
    if (Verdict v = require_memory_type(number)) return v;
    if (Verdict v = require_map_known("value")) return v;
    const bool writes = out && map_->type != BPF_MAP_TYPE_BLOOM_FILTER;
    return require_memory(number, map_->value_size, writes ? Direction::write : Direction::read,
                          false, writes);
  }

  Verdict require_fixed(uint32_t number, uint32_t size, bool fills) {
    if (Verdict v = require_memory_type(number)) return v;
    if (Verdict v = require_memory(number, size, Direction::write, false, fills)) return v;
    return require_alignment(env_, env_.reg(number), 0, size, true);
  }

  Verdict require_bytes(uint32_t number, uint32_t size) {
    if (Verdict v = require_memory_type(number)) return v;
    if (Verdict v = require_memory(number, size, Direction::read, false)) return v;
    return require_memory(number, size, Direction::write, false);
  }

  Verdict require_size(uint32_t position) {
    const uint32_t number = position + 1;
    if (Verdict v = require_type(number, Type::scalar)) return v;
    const Bounds& size = env_.reg(number).number;
    const Argument memory = helper_.arguments[position - 1];
    const bool writes =
        memory == Argument::memory_write || memory == Argument::memory_write_or_null;
    const bool may_be_empty = helper_.arguments[position] == Argument::size_or_zero;
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

  Verdict require_record_size() {
    const Register& size = env_.reg(2);
    if (!size.is_scalar() || !size.number.is_constant()) {
      return refuse(EACCES, "R2 is not a known constant'");
    }
    mark_precise(env_, 2);
    return {};
  }

  Verdict require_string(uint32_t number) {
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

  // The value whose lock or timer an argument names.
  Verdict require_field(uint32_t number, int32_t field, std::string_view name) const {
    if (Verdict v = require_type(number, Type::map_value)) return v;
    const Register& r = env_.reg(number);
    if (!r.number.is_constant()) {
      return refuse(EINVAL,
                    "R{} doesn't have constant offset. bpf_{} has to be at the constant "
                    "offset",
                    number, name);
    }
    if (env_.map_of(r.map) != nullptr && r.map->btf_value_type_id == 0) {
      return refuse(EINVAL, "map '{}' has to have BTF in order to use bpf_{}", r.map->name, name);
    }
    if (field < 0) return refuse(EINVAL, "map '{}' has no valid bpf_{}", r.map->name, name);
    const int64_t at = r.offset + static_cast<int64_t>(r.number.bits.value);
    if (at == field) return {};
    return refuse(EINVAL, "off {} doesn't point to 'struct bpf_{}' that is at {}", at, name, field);
  }

  Verdict require_lock(uint32_t number) {
    const Register& r = env_.reg(number);
    const int32_t field = r.map != nullptr ? r.map->fields.spin_lock_offset() : -1;
    if (Verdict v = require_field(number, field, "spin_lock")) return v;
    State& now = *env_.now;
    if (helper_.id == BPF_FUNC_spin_lock) {
      if (now.lock_id != 0) return refuse(EINVAL, "Locking two bpf_spin_locks are not allowed");
      // The only value of an array that is addressed directly has an id of its own, too.
      now.lock_id = r.id;
      now.lock_map = r.map;
      return {};
    }
    if (now.lock_id == 0) return refuse(EINVAL, "bpf_spin_unlock without taking a lock");
    if (now.lock_id != r.id || now.lock_map != r.map) {
      return refuse(EINVAL, "bpf_spin_unlock of different lock");
    }
    now.lock_id = 0;
    now.lock_map = nullptr;
    return {};
  }

  Verdict require_timer(uint32_t number) {
    const Register& r = env_.reg(number);
    const int32_t field = r.map != nullptr ? r.map->fields.timer_offset() : -1;
    if (Verdict v = require_field(number, field, "timer")) return v;
    map_ = r.map;
    map_id_ = r.map_id;
    timer_map_ = true;
    return {};
  }

  // Linux knows that a constant key below max_entries is found in an array.
  void find_constant_key(uint32_t number) {
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

  void note_proof() {
    const Proof::Call found{env_.map_of(map_), key_.has_value(), key_.value_or(0)};
    const auto [known, is_first] = env_.proof.calls.emplace(env_.index, found);
    if (is_first) return;
    Proof::Call& call = known->second;
    if (call.map != found.map) call.map = nullptr;
    call.key_is_known = call.key_is_known && found.key_is_known && call.key == found.key;
  }

  // The helper writes every byte.
  void fill(const Lent& memory) {
    for (uint32_t i = 0; i < memory.size; ++i) {
      write_stack(env_, memory.number, static_cast<int32_t>(i), 1, {});
    }
  }

  Verdict call_back() {
    Frame& caller = env_.now->frame();
    if (helper_.id == BPF_FUNC_loop) {
      mark_precise(env_, 1);
      if (caller.callback_depth >= env_.reg(1).number.full.umax) {
        caller.callback_depth = 0;
        return {};
      }
    }
    return push_callback(env_, insn_, callback_->subprogram);
  }

  Register result(const Register& second) {
    switch (helper_.returns) {
      case Returns::integer: {
        Register r = Register::unknown();
        if (helper_.id == BPF_FUNC_get_smp_processor_id && env_.possible_cpus != 0) {
          r.number.full.umax = env_.possible_cpus - 1;
          r.number.sync();
        }
        return r;
      }
      case Returns::none:
        return {};
      case Returns::iterated_int_or_null: {
        Register r = Register::pointer(Type::memory);
        r.maybe_null = r.read_only = true;
        r.extent = sizeof(int32_t);
        r.id = env_.new_id();
        return r;
      }
      case Returns::map_value_or_null: {
        Register r = Register::pointer(Type::map_value);
        r.map = map_;
        r.map_id = map_id_;
        r.maybe_null = !(key_ && *key_ < map_->max_entries);
        if (r.maybe_null || map_->fields.has_spin_lock()) r.id = env_.new_id();
        return r;
      }
      case Returns::record_or_null: {
        Register r = Register::pointer(Type::record);
        r.maybe_null = true;
        r.extent = static_cast<int32_t>(second.number.bits.value);
        r.id = r.reference = env_.new_id();
        const State& now = *env_.now;
        env_.now->references.push_back(
            {r.id, env_.index, now.frame().in_callback ? now.depth() : 0});
        return r;
      }
    }
    return Register::unknown();
  }

  Environment& env_;
  const bpf_insn& insn_;
  const Helper& helper_;
  const MapSpec* map_ = nullptr;
  uint32_t map_id_ = 0;
  bool timer_map_ = false;
  const Register* callback_ = nullptr;
  uint32_t reference_ = 0;
  uint32_t released_ = 0;
  std::optional<uint64_t> key_;
  std::vector<Lent> lent_;
  std::vector<Lent> filled_;
};

}  // namespace

Verdict apply_row(Environment& env, const bpf_insn& insn, const Helper& row) {
  Call call(env, insn, row);
  if (Verdict v = call.require()) return v;
  return call.apply();
}

Verdict apply_helper_call(Environment& env, const bpf_insn& insn) {
  const auto id = static_cast<uint32_t>(insn.imm);
  const Helper* helper = find_helper(id, env.type.helper_set);
  if (helper == nullptr) {
    helper = find_helper(id);
    if (helper == nullptr) return refuse(EINVAL, "invalid func unknown#{}", insn.imm);
    return refuse(EINVAL, "program of this type cannot use helper {}#{}", helper->name, insn.imm);
  }
  if (helper->gpl_only && !env.gpl_compatible) {
    return refuse(EINVAL, "cannot call GPL-restricted function from non-GPL compatible program");
  }
  if (env.now->lock_id != 0 && id != BPF_FUNC_spin_unlock) {
    return refuse(EINVAL, "function calls are not allowed while holding a lock");
  }
  return apply_row(env, insn, *helper);
}

}  // namespace xnic::vm::verifier

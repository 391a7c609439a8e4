// Arguments that are the kernel's own objects in map values: locks, timers.
// Test: the comparison of verdicts in tests/verdicts.
#include <cerrno>

#include "vm/verifier/call.h"
#include "vm/verifier/local_objects.h"

namespace xnic::vm::verifier {

// The value whose lock or timer an argument names.
Verdict Call::require_field(uint32_t number, int32_t field, std::string_view name) const {
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

Verdict Call::require_lock(uint32_t number) {
  if (is_in_tree_callback(env_)) {
    return refuse(EACCES, "can't spin_{{lock,unlock}} in rbtree cb");
  }
  const Register& r = env_.reg(number);
  const void* allocation = r.map;
  if (r.type == Type::local_object) {
    if (Verdict v = require_own_lock(number)) return v;
    allocation = env_.spec.btf.get();
  } else {
    const int32_t field = r.map != nullptr ? r.map->fields.spin_lock_offset() : -1;
    if (Verdict v = require_field(number, field, "spin_lock")) return v;
  }
  State& now = *env_.now;
  if (helper_.id == BPF_FUNC_spin_lock) {
    if (now.lock_id != 0) return refuse(EINVAL, "Locking two bpf_spin_locks are not allowed");
    // The only value of an array that is addressed directly has an id of its own, too.
    now.lock_id = r.id;
    now.lock_map = allocation;
    return {};
  }
  if (now.lock_id == 0) return refuse(EINVAL, "bpf_spin_unlock without taking a lock");
  if (now.lock_id != r.id || now.lock_map != allocation) {
    return refuse(EINVAL, "bpf_spin_unlock of different lock");
  }
  end_critical_section(now);
  now.lock_id = 0;
  now.lock_map = nullptr;
  return {};
}

// The lock in an object of the program.
Verdict Call::require_own_lock(uint32_t number) const {
  const Register& r = env_.reg(number);
  if (r.maybe_null || r.non_owning || r.trust == Trust::rcu) {
    return refuse(EACCES, "R{} type={} expected=map_value, ptr_", number, object_name(env_, r));
  }
  if (!r.number.is_constant() || r.number.bits.value != 0) {
    Register without_offset = r;
    without_offset.offset = 0;
    return require_unmodified(without_offset, number);
  }
  const int32_t field = fields_of(env_, r).spin_lock_offset();
  if (field < 0) return refuse(EINVAL, "local 'kptr' has no valid bpf_spin_lock");
  if (r.offset == field) return {};
  return refuse(EINVAL, "off {} doesn't point to 'struct bpf_spin_lock' that is at {}", r.offset,
                field);
}

Verdict Call::require_timer(uint32_t number) {
  const Register& r = env_.reg(number);
  const int32_t field = r.map != nullptr ? r.map->fields.timer_offset() : -1;
  if (Verdict v = require_field(number, field, "timer")) return v;
  map_ = r.map;
  map_id_ = r.map_id;
  timer_map_ = true;
  return {};
}

}  // namespace xnic::vm::verifier

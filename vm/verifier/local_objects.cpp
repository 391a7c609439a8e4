// Objects that the program makes, the lists and trees that hold them, and pointers to them in maps:
// what calls require of them and do to them. A program owns an object by the reference under which
// it acquired it. What it gave to a list or tree it may use for as long as it holds the lock
// (Register::non_owning), what it read from a map for as long as nothing is freed (Trust::rcu).
// Left out: objects of each CPU, and what Linux lets sleepable programs do outside of sections.
// Test: tests/sim/verify_command_test.cpp and the comparison of verdicts in tests/verdicts.
#include "vm/verifier/local_objects.h"

#include <bpf/btf.h>

#include <array>
#include <cerrno>

#include "vm/kfunc.h"
#include "vm/map.h"
#include "vm/verifier/call.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {
namespace {

using Kind = SpecialField::Kind;

// Ready to be used as what it is: not an object that somebody else owns.
bool is_own_object(const Register& r) {
  return r.type == Type::local_object && !r.maybe_null && !r.non_owning && r.trust != Trust::rcu;
}

int64_t offset_of(const Register& r) {
  return r.offset + static_cast<int64_t>(r.number.bits.value);
}

// What Linux asks of the offset of a pointer that a kfunc is given, by its kind.
Verdict require_fixed_offset(const Register& r, uint32_t number) {
  const bool may_move = r.type == Type::map_value || r.type == Type::stack || r.is_packet() ||
                        r.type == Type::memory || r.type == Type::record ||
                        r.type == Type::map_key || r.is_scalar();
  if (may_move && !r.maybe_null) return {};
  Register without_offset = r;
  if (r.type == Type::local_object && !r.maybe_null) without_offset.offset = 0;
  return require_unmodified(without_offset, number);
}

Verdict require_not_null(const Register& r, uint32_t number) {
  if (!r.maybe_null && !r.is_null()) return {};
  return refuse(EACCES, "Possibly NULL pointer passed to trusted arg{}", number - 1);
}

// The types are those that the program was loaded with: there are no others that it could name.
Verdict require_own_types(const Environment& env, const Register& r, const ValueFields& fields) {
  if (r.type == Type::local_object || fields.types() == env.spec.btf.get()) return {};
  return refuse(EINVAL, "the map's BTF is not that of the program, which is not supported yet");
}

std::string_view struct_name(const Environment& env, uint32_t type_id) {
  return env.spec.btf->type_name(type_id);
}

// Of a kptr, the kernel's own struct that it points to; 0 if that is one of the program.
uint32_t kernel_type_of(const Environment& env, const ValueFields& fields,
                        const SpecialField& field) {
  const bool is_known = field.is_kptr() && fields.types() != nullptr;
  return is_known ? env.kernel_types.struct_id(fields.types()->type_name(field.type_id)) : 0;
}

// The kernel's structs that are freed after a grace period, by what Linux lists.
bool is_freed_late(const Environment& env, uint32_t kernel_type) {
  static constexpr std::array<std::string_view, 4> kFreedLate = {"cgroup", "bpf_cpumask",
                                                                 "task_struct", "bpf_crypto_ctx"};
  return kernel_type != 0 &&
         std::ranges::find(kFreedLate, env.kernel_types.type_name(kernel_type)) != kFreedLate.end();
}

// Of an object that a list or tree owns: the last owner of a counted one may give it up at any
// time.
Trust borrowed_trust(const Environment& env, const Register& r) {
  return fields_of(env, r).has_refcount() ? Trust::rcu : Trust::untrusted;
}

}  // namespace

const ValueFields& fields_of(const Environment& env, const Register& r) {
  static const ValueFields kNone;
  if (r.type == Type::map_value) return r.map->fields;
  if (r.type != Type::local_object) return kNone;
  const LocalTypes* types = env.spec.btf->local_types();
  return types == nullptr ? kNone : types->fields_of(r.target);
}

std::string object_name(const Environment& env, const Register& r) {
  std::string name = type_name(r);
  if (r.type == Type::local_object) name += struct_name(env, r.target);
  return name;
}

bool is_in_tree_callback(const Environment& env) {
  const State& now = *env.now;
  for (uint32_t f = now.depth(); f > 0; --f) {
    if (!now.frames[f].in_callback) continue;
    const bpf_insn& call = env.code[now.frames[f].call_site];
    if (call.src_reg != kPseudoKfuncCall) continue;
    const Kfunc* kfunc = find_kfunc(call.imm, env.type.helper_set);
    if (kfunc != nullptr && kfunc->row.arguments[0] == Argument::rb_root) return true;
  }
  return false;
}

void end_critical_section(State& state) {
  state.for_each([](Register& r) {
    if (r.type == Type::local_object && r.non_owning) r = Register::unknown();
  });
}

void end_rcu_section(State& state) {
  state.for_each([](Register& r) {
    if (r.trust != Trust::rcu) return;
    // Of what a program's object was, nobody knows any more.
    if (r.type == Type::local_object) r.target = 0;
    r.type = Type::kernel_object;
    r.trust = Trust::untrusted;
    r.maybe_null = r.non_owning = false;
    r.reference = 0;
  });
}

Register loaded_kptr(Environment& env, const ValueFields& fields, const SpecialField& field) {
  const bool stays = field.kind == Kind::kptr && in_read_side_section(env);
  const uint32_t kernel_type = kernel_type_of(env, fields, field);
  const bool is_local = stays && kernel_type == 0 && fields.types() == env.spec.btf.get();
  Register r = is_local ? Register::pointer(Type::local_object)
                        : kernel_object(kernel_type, Trust::untrusted);
  r.maybe_null = true;
  r.id = env.new_id();
  if (!is_local) {
    if (stays && is_freed_late(env, kernel_type)) r.trust = Trust::rcu;
    return r;
  }
  r.target = field.type_id;
  r.trust = Trust::rcu;
  for (const SpecialField& part : fields_of(env, r).all()) {
    r.non_owning = r.non_owning || part.is_node();
  }
  return r;
}

Verdict Call::require_local_type(uint32_t number) {
  const Register& r = env_.reg(number);
  if (!r.is_scalar()) return refuse(EINVAL, "R{} is not a scalar", number);
  if (!r.number.is_constant()) return refuse(EINVAL, "R{} must be a known constant", number);
  mark_precise(env_, number);
  const uint64_t id = r.number.bits.value;
  if (id > UINT32_MAX) {
    return refuse(EINVAL, "local type ID argument must be in range [0, U32_MAX]");
  }
  if (env_.spec.btf == nullptr) {
    return refuse(EINVAL, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF");
  }
  const btf_type* type = btf__type_by_id(env_.spec.btf->parsed(), static_cast<uint32_t>(id));
  if (type == nullptr || !btf_is_composite(type)) {
    return refuse(EINVAL, "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct");
  }
  object_type_ = static_cast<uint32_t>(id);
  return {};
}

Verdict Call::require_dropped_object(uint32_t number) {
  const Register& r = env_.reg(number);
  if (Verdict v = require_not_null(r, number)) return v;
  if (r.reference == 0) return refuse(EINVAL, "R{} must be referenced or trusted", number);
  if (r.offset != 0) {
    return refuse(EINVAL,
                  "R{} must have zero offset when passed to release func or trusted arg to kfunc",
                  number);
  }
  if (Verdict v = require_unmodified(r, number)) return v;
  if (!is_own_object(r)) {
    return refuse(EINVAL, "arg#{} expected pointer to allocated object", number - 1);
  }
  released_ = r.reference;
  return {};
}

Verdict Call::require_counted_object(uint32_t number) {
  const Register& r = env_.reg(number);
  if (Verdict v = require_not_null(r, number)) return v;
  if (r.type != Type::local_object) {
    return refuse(EINVAL, "arg#{} is neither owning or non-owning ref", number - 1);
  }
  if (!fields_of(env_, r).has_refcount()) {
    return refuse(EINVAL, "arg#{} doesn't point to a type with bpf_refcount field", number - 1);
  }
  if (Verdict v = require_unmodified(r, number)) return v;
  object_type_ = r.target;
  is_owned_ = !r.non_owning && r.trust != Trust::rcu;
  return {};
}

// The lock that lies beside what the pointer leads to.
Verdict Call::require_locked(const Register& r, Kind kind) const {
  const State& now = *env_.now;
  const void* allocation = r.type == Type::map_value
                               ? static_cast<const void*>(r.map)
                               : static_cast<const void*>(env_.spec.btf.get());
  const int32_t lock = fields_of(env_, r).spin_lock_offset();
  if (now.lock_id == 0) {
    return refuse(EINVAL, "bpf_spin_lock at off={} must be held for {}", lock, name_of(kind));
  }
  if (now.lock_map == allocation && now.lock_id == r.id) return {};
  return refuse(EINVAL,
                "held lock and object are not in the same allocation; bpf_spin_lock at off={} must "
                "be held for {}",
                lock, name_of(kind));
}

// The lock must be held that lies beside the root.
Verdict Call::require_root(uint32_t number, Kind kind) {
  const Register& r = env_.reg(number);
  if (Verdict v = require_fixed_offset(r, number)) return v;
  const bool is_place = (r.type == Type::map_value && !r.maybe_null) || is_own_object(r);
  if (!is_place) {
    return refuse(EINVAL, "arg#{} expected pointer to map value or allocated object", number - 1);
  }
  if (r.type == Type::local_object && r.reference == 0) {
    return refuse(EINVAL, "allocated object must be referenced");
  }
  if (!r.number.is_constant()) {
    return refuse(EINVAL, "R{} doesn't have constant offset. {} has to be at the constant offset",
                  number, name_of(kind));
  }
  const ValueFields& fields = fields_of(env_, r);
  root_ = fields.find(kind, offset_of(r));
  if (root_ == nullptr) {
    return refuse(EINVAL, "{} not found at offset={}", name_of(kind),
                  static_cast<uint32_t>(offset_of(r)));
  }
  if (Verdict v = require_locked(r, kind)) return v;
  return require_own_types(env_, r, fields);
}

// A node of the kind that the root before it holds.
Verdict Call::require_node(uint32_t number, Kind kind) {
  const Register& r = env_.reg(number);
  if (!r.number.is_constant()) {
    return refuse(EINVAL, "R{} doesn't have constant offset. {} has to be at the constant offset",
                  number, name_of(kind));
  }
  const auto at = static_cast<uint32_t>(offset_of(r));
  if (fields_of(env_, r).find(kind, offset_of(r)) == nullptr) {
    return refuse(EINVAL, "{} not found at offset={}", name_of(kind), at);
  }
  if (r.target != root_->type_id) {
    return refuse(EINVAL,
                  "operation on {} expects arg#1 {} at offset={} in struct {}, but arg is at "
                  "offset={} in struct {}",
                  name_of(root_->kind), name_of(kind), root_->node_offset,
                  struct_name(env_, root_->type_id), at, struct_name(env_, r.target));
  }
  if (at == root_->node_offset) return {};
  return refuse(EINVAL, "arg#1 offset={}, but expected {} at offset={} in struct {}", at,
                name_of(kind), root_->node_offset, struct_name(env_, r.target));
}

Verdict Call::require_added_node(uint32_t number, Kind kind) {
  const Register& r = env_.reg(number);
  if (Verdict v = require_fixed_offset(r, number)) return v;
  if (!is_own_object(r)) {
    return refuse(EINVAL, "arg#{} expected pointer to allocated object", number - 1);
  }
  if (r.reference == 0) return refuse(EINVAL, "allocated object must be referenced");
  if (Verdict v = require_node(number, kind)) return v;
  given_ = r.reference;
  return {};
}

Verdict Call::require_tree_node(uint32_t number) {
  const Register& r = env_.reg(number);
  if (Verdict v = require_fixed_offset(r, number)) return v;
  if (r.type != Type::local_object || r.maybe_null || (!r.non_owning && r.reference == 0)) {
    return refuse(EINVAL, "{} can only take non-owning or refcounted bpf_rb_node pointer",
                  helper_.name);
  }
  if (is_in_tree_callback(env_)) {
    return refuse(EINVAL, "{} not allowed in rbtree cb", helper_.name);
  }
  return require_node(number, Kind::rb_node);
}

Verdict Call::require_kptr(uint32_t number) {
  const Register& r = env_.reg(number);
  if (r.maybe_null || (r.type != Type::map_value && r.type != Type::local_object)) {
    return refuse(EACCES, "R{} type={} expected=map_value, ptr_, ptr_, rcu_ptr_, rcu_ptr_", number,
                  object_name(env_, r));
  }
  if (r.type == Type::map_value && env_.map_of(r.map) != nullptr && r.map->btf_value_type_id == 0) {
    return refuse(EINVAL, "map '{}' has to have BTF in order to use bpf_kptr_xchg", r.map->name);
  }
  if (!r.number.is_constant()) {
    return refuse(EINVAL, "R{} doesn't have constant offset. kptr has to be at the constant offset",
                  number);
  }
  const ValueFields& fields = fields_of(env_, r);
  const bool has_any = std::ranges::any_of(fields.all(), &SpecialField::is_kptr);
  if (!has_any) return refuse(EINVAL, "R{} has no valid kptr", number);
  root_ = fields.find_kptr(offset_of(r));
  if (root_ == nullptr) return refuse(EACCES, "off={} doesn't point to kptr", offset_of(r));
  if (root_->kind == Kind::percpu_kptr) {
    return refuse(kErrorNotSupported, "{} of a percpu_kptr is not supported yet", helper_.name);
  }
  if (root_->kind != Kind::kptr) {
    return refuse(EACCES, "off={} kptr isn't referenced kptr", offset_of(r));
  }
  kernel_type_ = kernel_type_of(env_, fields, *root_);
  return kernel_type_ != 0 ? Verdict{} : require_own_types(env_, r, fields);
}

Verdict Call::require_stored_object(uint32_t number) {
  const Register& r = env_.reg(number);
  if (r.is_null()) {
    mark_precise(env_, number);
    return {};
  }
  const bool is_local = r.type == Type::local_object && !r.non_owning && r.trust != Trust::rcu &&
                        kernel_type_ == 0 && root_->type_id == r.target;
  const bool is_kernels = r.type == Type::kernel_object && is_trusted(r) && kernel_type_ != 0 &&
                          kernel_type_ == r.target;
  const bool fits = root_->kind == Kind::kptr && (is_local || is_kernels);
  if ((r.type == Type::local_object || r.type == Type::kernel_object) && r.maybe_null) {
    return refuse(EACCES, "Possibly NULL pointer passed to helper arg{}", number);
  }
  if (!fits) {
    const std::string_view expected = kernel_type_ != 0 ? env_.kernel_types.type_name(kernel_type_)
                                                        : struct_name(env_, root_->type_id);
    return refuse(EACCES, "invalid kptr access, R{} type={} expected=ptr_{}", number,
                  object_name(env_, r), expected);
  }
  if (r.offset != 0) {
    return refuse(EINVAL,
                  "R{} must have zero offset when passed to release func or trusted arg to kfunc",
                  number);
  }
  if (Verdict v = require_unmodified(r, number)) return v;
  if (r.reference == 0) {
    return refuse(EINVAL, "R{} must be referenced when passed to release function", number);
  }
  released_ = r.reference;
  return {};
}

// The object now belongs to the list or tree; the program may use it until it gives back the lock.
void Call::give_object() {
  std::erase_if(env_.now->references, [&](const Reference& r) { return r.id == given_; });
  env_.now->for_each([&](Register& r) {
    if (r.reference != given_) return;
    r.reference = 0;
    r.non_owning = true;
    r.trust = borrowed_trust(env_, r);
  });
}

Register Call::object_result() {
  Register r = Register::pointer(Type::local_object);
  r.maybe_null = true;
  switch (helper_.returns) {
    case Returns::new_object_or_null:
    case Returns::same_object_or_null:
      r = acquired(Type::local_object);
      r.target = object_type_;
      if (is_owned_) {
        // Whoever owns an object finds that it has an owner.
        r.maybe_null = false;
        r.id = fields_of(env_, r).has_spin_lock() ? env_.new_id() : 0;
      }
      return r;
    case Returns::kptr_or_null:
      r = acquired(kernel_type_ == 0 ? Type::local_object : Type::kernel_object);
      r.target = kernel_type_ == 0 ? root_->type_id : kernel_type_;
      if (kernel_type_ != 0) r.trust = Trust::compatible;
      return r;
    case Returns::taken_node_or_null:
      r = acquired(Type::local_object);
      break;
    default:
      r.id = env_.new_id();
      r.non_owning = true;
      break;
  }
  r.target = root_->type_id;
  r.offset = static_cast<int32_t>(root_->node_offset);
  if (r.non_owning) r.trust = borrowed_trust(env_, r);
  return r;
}

void enter_tree_callback(const Environment& env, const Frame& caller, Frame& callee) {
  const Register& root = caller[1];
  const SpecialField* field = fields_of(env, root).find(Kind::rb_root, offset_of(root));
  Register node = Register::pointer(Type::local_object);
  node.target = field->type_id;
  node.offset = static_cast<int32_t>(field->node_offset);
  node.non_owning = true;
  node.trust = borrowed_trust(env, node);
  callee[1] = callee[2] = node;
}

}  // namespace xnic::vm::verifier

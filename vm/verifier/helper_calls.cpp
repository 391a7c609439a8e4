// What calls of helpers do to the state. Test: tests/vm/verifier/analysis_test.cpp, and the
// comparison of verdicts in tests/verdicts.
#include "vm/verifier/helper_calls.h"

#include <cerrno>

#include "vm/verifier/call.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/function_calls.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {

Verdict Call::apply() {
  note_proof();
  for (const Lent& memory : lent_) {
    lend_stack(env_, memory.number, memory.size, memory.writable);
  }
  for (const Lent& memory : filled_) fill(memory);
  if (released_ != 0) {
    if (dynptr_) note_end(env_, *dynptr_);
    release(*env_.now, released_);
  }
  if (callback_ != nullptr) {
    if (Verdict v = call_back()) return v;
  }
  if (given_ != 0) give_object();
  const Register second = env_.reg(2);
  if (new_dynptr_) begin_dynptr(env_, *new_dynptr_);
  for (uint32_t i = 0; i <= 5; ++i) env_.reg(i) = {};
  env_.reg(0) = result(second);
  const bool writes_skb = helper_.id == BPF_FUNC_dynptr_write && dynptr_->kind == DynptrKind::skb;
  if (helper_.changes_packet || writes_skb) void_packet_pointers(*env_.now);
  if (iterator_) apply_iterator(env_, *iterator_);
  return {};
}

void Call::note_proof() {
  const Proof::Call found{env_.map_of(map_), key_.has_value(), key_.value_or(0)};
  const auto [known, is_first] = env_.proof.calls.emplace(env_.index, found);
  if (is_first) return;
  Proof::Call& call = known->second;
  if (call.map != found.map) call.map = nullptr;
  call.key_is_known = call.key_is_known && found.key_is_known && call.key == found.key;
}

// The helper writes every byte.
void Call::fill(const Lent& memory) {
  if (memory.size != 0 && env_.reg(memory.number).type == Type::stack) {
    note_unwritten(env_, memory.number, memory.size);
  }
  for (uint32_t i = 0; i < memory.size; ++i) {
    write_stack(env_, memory.number, static_cast<int32_t>(i), 1, {});
  }
}

Verdict Call::call_back() {
  Frame& caller = env_.now->frame();
  if (helper_.id == BPF_FUNC_loop) {
    mark_precise(env_, 1);
    if (caller.callback_depth >= env_.reg(1).number.full.umax) {
      caller.callback_depth = 0;
      return {};
    }
  }
  return push_callback(env_, insn_, callback_->target);
}

// NULL, or something that has to be given back.
Register Call::acquired(Type type) {
  Register r = Register::pointer(type);
  r.maybe_null = true;
  r.id = r.reference = env_.new_id();
  const State& now = *env_.now;
  env_.now->references.push_back({r.id, env_.index, now.frame().in_callback ? now.depth() : 0});
  return r;
}

// NULL, or a socket that is given back under the reference of another pointer to it.
Register Call::same_socket(Type type, uint32_t reference) {
  Register r = Register::pointer(type);
  r.maybe_null = true;
  r.id = env_.new_id();
  r.reference = reference;
  return r;
}

Register Call::result(const Register& second) {
  switch (helper_.returns) {
    case Returns::integer: {
      Register r = Register::unknown();
      if (helper_.id == BPF_FUNC_get_smp_processor_id && env_.possible_cpus != 0) {
        r.number.full.umax = env_.possible_cpus - 1;
        r.number.sync();
      }
      return r;
    }
    case Returns::size_or_error: {
      constexpr int64_t kMostErrors = 4095;
      Register r = Register::unknown();
      r.number.full.smin = -kMostErrors;
      r.number.full.smax = static_cast<int64_t>(most_bytes_);
      r.number.low.smin = static_cast<int32_t>(-kMostErrors);
      r.number.low.smax = static_cast<int32_t>(most_bytes_);
      r.number.sync();
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
    case Returns::map_value: {
      Register r = Register::pointer(Type::map_value);
      r.map = map_;
      r.map_id = map_id_;
      if (map_->fields.has_spin_lock()) r.id = env_.new_id();
      return r;
    }
    case Returns::map_value_or_null: {
      if (has_sockmap()) return acquired(Type::socket);
      Register r = Register::pointer(Type::map_value);
      r.map = map_;
      r.map_id = map_id_;
      r.maybe_null = !(key_ && *key_ < map_->max_entries);
      if (r.maybe_null || map_->fields.has_spin_lock()) r.id = env_.new_id();
      return r;
    }
    case Returns::kernel_object:
      return kernel_object(struct_id_, Trust::untrusted);
    case Returns::trusted_object: {
      const bool is_context = helper_.object.empty();
      return kernel_object(env_, is_context ? kernel_context_of(env_.spec.type) : helper_.object,
                           Trust::trusted);
    }
    case Returns::object_or_null: {
      Register r = kernel_object(env_, helper_.object, Trust::compatible);
      r.maybe_null = true;
      r.id = env_.new_id();
      r.reference = reference_;
      return r;
    }
    case Returns::slice_or_null:
    case Returns::read_only_slice_or_null: {
      Register r = Register::pointer(Type::memory);
      r.maybe_null = true;
      r.read_only = helper_.returns == Returns::read_only_slice_or_null;
      r.extent = static_cast<int32_t>(slice_size_);
      r.id = env_.new_id();
      r.reference = dynptr_->reference;
      r.dynptr = dynptr_->id;
      r.dynptr_kind = dynptr_->kind;
      return r;
    }
    case Returns::socket_or_null:
      return acquired(Type::socket);
    case Returns::socket_common_or_null:
      return acquired(Type::socket_common);
    case Returns::same_full_socket_or_null:
      return same_socket(Type::socket, reference_);
    case Returns::same_tcp_socket_or_null:
      return same_socket(Type::tcp_socket, reference_);
    case Returns::listener_or_null:
      return same_socket(Type::socket, 0);
    case Returns::new_object_or_null:
    case Returns::same_object_or_null:
    case Returns::kptr_or_null:
    case Returns::taken_node_or_null:
    case Returns::node_or_null:
      return object_result();
    case Returns::record_or_null: {
      Register r = acquired(Type::record);
      r.extent = static_cast<int32_t>(second.number.bits.value);
      return r;
    }
  }
  return Register::unknown();
}

Verdict apply_row(Environment& env, const bpf_insn& insn, const Helper& row) {
  Call call(env, insn, row);
  if (Verdict v = call.require()) return v;
  return call.apply();
}

namespace {

// Attach types of cgroup_sock_addr whose programs have no say in what a system call returns, or
// cannot bind a socket.
bool has_result_helpers(uint32_t attach_type, uint32_t helper) {
  constexpr uint32_t kUnixReceive = 51;  // younger than linux/bpf.h of Debian 12
  constexpr uint32_t kUnixNames[] = {52, 53};
  switch (attach_type) {
    case BPF_CGROUP_INET4_CONNECT:
    case BPF_CGROUP_INET6_CONNECT:
      return true;
    case BPF_CGROUP_UDP4_RECVMSG:
    case BPF_CGROUP_UDP6_RECVMSG:
    case BPF_CGROUP_INET4_GETPEERNAME:
    case BPF_CGROUP_INET6_GETPEERNAME:
    case BPF_CGROUP_INET4_GETSOCKNAME:
    case BPF_CGROUP_INET6_GETSOCKNAME:
    case kUnixReceive:
    case kUnixNames[0]:
    case kUnixNames[1]:
      return false;
    default:
      return helper != BPF_FUNC_bind;
  }
}

// Helpers that a program's type has, but not where it is attached.
bool is_out_of_place(const Environment& env, uint32_t helper) {
  const uint32_t type = env.spec.type;
  const uint32_t attach_type = env.spec.expected_attach_type;
  switch (helper) {
    case BPF_FUNC_get_retval:
    case BPF_FUNC_set_retval:
    case BPF_FUNC_bind:
      return !has_result_helpers(attach_type, helper);
    case BPF_FUNC_setsockopt:
    case BPF_FUNC_getsockopt:
      // TCP's congestion control must not start it anew while it ends.
      return member_stood_for(env) == "release" ||
             (type == BPF_PROG_TYPE_CGROUP_SOCKOPT && attach_type != BPF_CGROUP_SETSOCKOPT);
    case BPF_FUNC_lwt_push_encap:
      return type == BPF_PROG_TYPE_LWT_OUT || type == BPF_PROG_TYPE_LWT_SEG6LOCAL;
    default:
      return false;
  }
}

}  // namespace

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
  if (id == BPF_FUNC_get_local_storage && !env.reg(2).is_null()) {
    return refuse(EINVAL, "get_local_storage() doesn't support non-zero flags");
  }
  if (is_out_of_place(env, id)) {
    return refuse(EINVAL, "program of this type cannot use helper {}#{}", helper->name, id);
  }
  const bool sleeps =
      id == BPF_FUNC_copy_from_user || id == BPF_FUNC_copy_from_user_task || id == BPF_FUNC_sys_bpf;
  if (sleeps && ((env.spec.flags & BPF_F_SLEEPABLE) == 0 || env.now->in_rcu)) {
    return refuse(EINVAL, "helper call might sleep in a non-sleepable prog");
  }
  return apply_row(env, insn, *helper);
}

}  // namespace xnic::vm::verifier

// Follows check_kfunc_args() of kernel/bpf/verifier.c. Left out: functions that take callbacks,
// iterators, lists and trees, or that return memory; functions of modules.
// Test: tests/vm/verifier/kernel_objects_test.cpp, against Linux.
#include "vm/verifier/foreign_kfuncs.h"

#include <bpf/btf.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "vm/verifier/dynptrs.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/precision.h"
#include "vm/verifier/requirements.h"
#include "vm/verifier/struct_access.h"

namespace xnic::vm::verifier {
namespace {

// Linux's KF_* flags, which its types do not tell.
enum Flags : uint32_t {
  kNone = 0,
  kAcquires = 1,
  kReleases = 2,
  kMayFail = 4,  // returns NULL
  kTrusted = 8,  // takes trusted pointers alone
  kRcu = 16,     // takes those of a read-side section, too
  kSleeps = 32,
};

struct Row {
  std::string_view name;
  uint32_t program_types;
  uint32_t flags;
};

constexpr uint32_t kGeneric = kBtfTracing | kTc | kXdp | kStructOps | kSyscall | kCgroupSkb;
constexpr uint32_t kCpumask = kBtfTracing | kStructOps | kSyscall;
constexpr uint32_t kCrypto = kTc | kXdp;
constexpr uint32_t kLookup = kAcquires | kMayFail;
constexpr std::array kRows = {
    Row{"bpf_task_acquire", kGeneric, kLookup | kRcu},
    Row{"bpf_task_release", kGeneric, kReleases},
    Row{"bpf_task_from_pid", kGeneric, kLookup},
    Row{"bpf_task_from_vpid", kGeneric, kLookup},
    Row{"bpf_task_under_cgroup", kGeneric, kRcu},
    Row{"bpf_task_get_cgroup1", kGeneric, kLookup | kRcu},
    Row{"bpf_cgroup_acquire", kGeneric, kLookup | kRcu},
    Row{"bpf_cgroup_release", kGeneric, kReleases},
    Row{"bpf_cgroup_ancestor", kGeneric, kLookup | kRcu},
    Row{"bpf_cgroup_from_id", kGeneric, kLookup},
    Row{"bpf_cpumask_create", kCpumask, kLookup},
    Row{"bpf_cpumask_acquire", kCpumask, kAcquires | kTrusted},
    Row{"bpf_cpumask_release", kCpumask, kReleases},
    Row{"bpf_cpumask_first", kCpumask, kRcu},
    Row{"bpf_cpumask_first_zero", kCpumask, kRcu},
    Row{"bpf_cpumask_first_and", kCpumask, kRcu},
    Row{"bpf_cpumask_set_cpu", kCpumask, kRcu},
    Row{"bpf_cpumask_clear_cpu", kCpumask, kRcu},
    Row{"bpf_cpumask_test_cpu", kCpumask, kRcu},
    Row{"bpf_cpumask_test_and_set_cpu", kCpumask, kRcu},
    Row{"bpf_cpumask_test_and_clear_cpu", kCpumask, kRcu},
    Row{"bpf_cpumask_setall", kCpumask, kRcu},
    Row{"bpf_cpumask_clear", kCpumask, kRcu},
    Row{"bpf_cpumask_and", kCpumask, kRcu},
    Row{"bpf_cpumask_or", kCpumask, kRcu},
    Row{"bpf_cpumask_xor", kCpumask, kRcu},
    Row{"bpf_cpumask_equal", kCpumask, kRcu},
    Row{"bpf_cpumask_intersects", kCpumask, kRcu},
    Row{"bpf_cpumask_subset", kCpumask, kRcu},
    Row{"bpf_cpumask_empty", kCpumask, kRcu},
    Row{"bpf_cpumask_full", kCpumask, kRcu},
    Row{"bpf_cpumask_copy", kCpumask, kRcu},
    Row{"bpf_cpumask_any_distribute", kCpumask, kRcu},
    Row{"bpf_cpumask_any_and_distribute", kCpumask, kRcu},
    Row{"bpf_cpumask_weight", kCpumask, kRcu},
    Row{"bpf_crypto_ctx_create", kSyscall, kLookup | kSleeps},
    Row{"bpf_crypto_ctx_acquire", kCrypto | kSyscall, kLookup | kRcu},
    Row{"bpf_crypto_ctx_release", kCrypto | kSyscall, kReleases},
    Row{"bpf_crypto_encrypt", kCrypto, kRcu},
    Row{"bpf_crypto_decrypt", kCrypto, kRcu},
    Row{"bpf_xdp_ct_alloc", kXdp, kLookup},
    Row{"bpf_xdp_ct_lookup", kXdp, kLookup},
    Row{"bpf_skb_ct_alloc", kTc, kLookup},
    Row{"bpf_skb_ct_lookup", kTc, kLookup},
    Row{"bpf_ct_insert_entry", kXdp | kTc, kAcquires | kMayFail | kReleases},
    Row{"bpf_ct_release", kXdp | kTc, kReleases},
    Row{"bpf_ct_set_timeout", kXdp | kTc, kTrusted},
    Row{"bpf_ct_change_timeout", kXdp | kTc, kTrusted},
    Row{"bpf_ct_set_status", kXdp | kTc, kTrusted},
    Row{"bpf_ct_change_status", kXdp | kTc, kTrusted},
    Row{"bpf_ct_set_nat_info", kXdp | kTc, kTrusted},
    Row{"bpf_xdp_get_xfrm_state", kXdp, kLookup},
    Row{"bpf_xdp_xfrm_state_release", kXdp, kReleases},
    Row{"bpf_skb_set_xfrm_info", kTc, kNone},
    Row{"bpf_skb_get_xfrm_info", kTc, kNone},
    Row{"bpf_skb_set_fou_encap", kTc, kNone},
    Row{"bpf_skb_get_fou_encap", kTc, kNone},
    Row{"bpf_sk_assign_tcp_reqsk", kTc, kTrusted},
    Row{"bpf_sock_addr_set_sun_path", kCgroupAddress, kTrusted},
    Row{"bpf_sock_destroy", kBtfTracing, kTrusted},
    Row{"bpf_copy_from_user_str", kAnyType, kSleeps},
    Row{"bpf_map_sum_elem_count", kAnyType, kTrusted},
    Row{"tcp_slow_start", kStructOps, kNone},
    Row{"tcp_cong_avoid_ai", kStructOps, kNone},
    Row{"tcp_reno_cong_avoid", kStructOps, kNone},
    Row{"tcp_reno_ssthresh", kStructOps, kNone},
    Row{"tcp_reno_undo_cwnd", kStructOps, kNone},
    Row{"cubictcp_init", kStructOps, kNone},
    Row{"cubictcp_recalc_ssthresh", kStructOps, kNone},
    Row{"cubictcp_cong_avoid", kStructOps, kNone},
    Row{"cubictcp_state", kStructOps, kNone},
    Row{"cubictcp_cwnd_event", kStructOps, kNone},
    Row{"cubictcp_acked", kStructOps, kNone},
    Row{"dctcp_init", kStructOps, kNone},
    Row{"dctcp_update_alpha", kStructOps, kNone},
    Row{"dctcp_cwnd_event", kStructOps, kNone},
    Row{"dctcp_ssthresh", kStructOps, kNone},
    Row{"dctcp_cwnd_undo", kStructOps, kNone},
    Row{"dctcp_state", kStructOps, kNone},
    Row{"bbr_init", kStructOps, kNone},
    Row{"bbr_main", kStructOps, kNone},
    Row{"bbr_sndbuf_expand", kStructOps, kNone},
    Row{"bbr_undo_cwnd", kStructOps, kNone},
    Row{"bbr_cwnd_event", kStructOps, kNone},
    Row{"bbr_ssthresh", kStructOps, kNone},
    Row{"bbr_min_tso_segs", kStructOps, kNone},
    Row{"bbr_set_state", kStructOps, kNone},
};

class ForeignCall {
 public:
  ForeignCall(Environment& env, uint32_t function_id)
      : env_(env),
        types_(env.kernel_types.parsed()),
        name_(env.kernel_types.type_name(function_id)),
        prototype_(btf__type_by_id(types_, btf__type_by_id(types_, function_id)->type)) {}

  Verdict apply() {
    const auto row = std::ranges::find(kRows, name_, &Row::name);
    const bool is_for_iterators = name_ == "bpf_sock_destroy";
    if (row == kRows.end() || (row->program_types & callers()) == 0 ||
        (is_for_iterators && env_.spec.expected_attach_type != BPF_TRACE_ITER)) {
      return refuse(EACCES, "calling kernel function {} is not allowed", name_);
    }
    flags_ = row->flags;
    if (env_.now->lock_id != 0) {
      return refuse(EINVAL, "function calls are not allowed while holding a lock");
    }
    if (has(kSleeps)) {
      if ((env_.spec.flags & BPF_F_SLEEPABLE) == 0) {
        return refuse(EACCES, "program must be sleepable to call sleepable kfunc {}", name_);
      }
      if (env_.now->in_rcu) {
        return refuse(EACCES, "kernel func {} is sleepable within rcu_read_lock region", name_);
      }
    }
    for (uint32_t i = 0; i < btf_vlen(prototype_); ++i) {
      if (Verdict v = require(i)) return v;
    }
    if (has(kReleases) && released_ == 0) {
      return refuse(EINVAL, "release kernel function {} expects refcounted PTR_TO_BTF_ID", name_);
    }
    if (released_ != 0) release(*env_.now, released_);
    const Register r0 = result();
    for (uint32_t i = 0; i <= 5; ++i) env_.reg(i) = {};
    env_.reg(0) = r0;
    return {};
  }

 private:
  // What Linux counts the program as: tracepoints and perf events have what fentry and its kin
  // have.
  uint32_t callers() const {
    const uint32_t type = env_.spec.type;
    const bool traces = type == BPF_PROG_TYPE_TRACEPOINT || type == BPF_PROG_TYPE_PERF_EVENT;
    return env_.type.helper_set | (traces ? kBtfTracing : 0);
  }

  bool has(Flags flag) const { return (flags_ & flag) != 0; }

  const btf_type* skip(uint32_t id, uint32_t* at = nullptr) const {
    return skip_modifiers(types_, id, at);
  }

  std::string_view parameter_name(uint32_t position) const {
    return btf__str_by_offset(types_, btf_params(prototype_)[position].name_off);
  }

  bool is_size(uint32_t position) const {
    return position < btf_vlen(prototype_) && (parameter_name(position).ends_with("__sz") ||
                                               parameter_name(position).ends_with("__szk"));
  }

  bool is_optional(uint32_t position) const { return parameter_name(position).ends_with("__opt"); }

  bool takes_objects_alone() const { return has(kTrusted) || has(kRcu) || has(kReleases); }

  Verdict require(uint32_t position) {
    const uint32_t number = position + 1;
    const std::string_view name = parameter_name(position);
    if (name.ends_with("__ign")) return {};
    if (Verdict v = require_initialised(env_, number)) return v;
    const btf_type* type = skip(btf_params(prototype_)[position].type);
    if (type == nullptr || !btf_is_ptr(type)) return require_number(position);
    uint32_t target_id = 0;
    const btf_type* target = skip(type->type, &target_id);
    const Register& r = env_.reg(number);
    const bool may_be_null = name.ends_with("__nullable") || is_optional(position) ||
                             (is_size(position + 1) && !takes_objects_alone());
    if (r.is_null() || r.maybe_null) {
      if (r.is_null() && may_be_null) {
        mark_precise(env_, number);
        return {};
      }
      return refuse(EACCES, "Possibly NULL pointer passed to trusted arg{}", position);
    }
    if (name.ends_with("__map")) {
      if (r.type == Type::map) return require_unmodified(r, number);
      return refuse(EINVAL, "pointer in R{} isn't map pointer", number);
    }
    const std::string_view target_name =
        target == nullptr || type->type == 0 ? "" : env_.kernel_types.type_name(target_id);
    if (is_context(target_name) && r.type == Type::context) return require_unmodified(r, number);
    if (target_name == "bpf_dynptr") return require_dynptr_argument(number);
    const bool is_object = target != nullptr && type->type != 0 && btf_is_composite(target) &&
                           (r.type == Type::kernel_object || r.is_socket());
    if (is_object) return require_object(position, target_id);
    if (is_size(position + 1)) return {};  // with its size
    const int64_t size = type->type == 0 ? -1 : btf__resolve_size(types_, target_id);
    if (size <= 0 || !is_plain(target)) {
      return refuse(EINVAL, "arg#{} pointer type {} {} must point to scalar, or struct with scalar",
                    position, "STRUCT", target_name);
    }
    return require_memory(number, static_cast<uint32_t>(size));
  }

  Verdict require_number(uint32_t position) {
    const uint32_t number = position + 1;
    if (!env_.reg(number).is_scalar()) return refuse(EINVAL, "R{} is not a scalar", number);
    const std::string_view name = parameter_name(position);
    if (name.ends_with("__k") || name.ends_with("__szk")) {
      if (!env_.reg(number).number.is_constant()) {
        return refuse(EINVAL, "R{} must be a known constant", number);
      }
      mark_precise(env_, number);
    }
    if (!is_size(position)) return {};
    if (position == 0) return refuse(EINVAL, "arg#0 is a size of nothing");
    const Register& memory = env_.reg(number - 1);
    const Bounds& size = env_.reg(number).number;
    const bool has_none = size.is_constant() && size.bits.value == 0;
    if (memory.is_null() && (has_none || is_optional(position - 1))) return {};
    if (size.full.smin < 0) {
      return refuse(EACCES, "R{} min value is negative, either use unsigned or 'var &= const'",
                    number);
    }
    if (size.full.umax >= kMaxVariableSize) {
      return refuse(EACCES, "R{} unbounded memory access, use 'var &= const' or 'if (var < const)'",
                    number);
    }
    if (Verdict v = require_memory(number - 1, static_cast<uint32_t>(size.full.umax))) return v;
    mark_precise(env_, number);
    return {};
  }

  // The function may read and write it.
  Verdict require_memory(uint32_t number, uint32_t size) {
    for (const Direction direction : {Direction::read, Direction::write}) {
      if (Verdict v = require_helper_access(env_, number, size, direction, true)) return v;
    }
    const Register& r = env_.reg(number);
    if (r.type == Type::map || r.type == Type::kernel_object || r.is_scalar()) {
      return refuse(EACCES, "R{} type={} expected=fp", number, type_name(r));
    }
    if (r.type != Type::stack) return {};
    if (Verdict v = require_plain_stack(env_, number, 0, size)) return v;
    lend_stack(env_, number, size, true);
    return {};
  }

  Verdict require_dynptr_argument(uint32_t number) {
    static constexpr Helper kFunction{};
    DynptrUse use;
    return require_dynptr(env_, number, Argument::dynptr, kFunction, use);
  }

  Verdict require_object(uint32_t position, uint32_t target_id) {
    const uint32_t number = position + 1;
    const Register& r = env_.reg(number);
    const bool is_released = has(kReleases) && r.reference != 0 && released_ == 0;
    const bool asks = takes_objects_alone() || env_.spec.type == BPF_PROG_TYPE_STRUCT_OPS;
    const bool is_usable = r.is_socket() || is_trusted(r) || (has(kRcu) && r.trust == Trust::rcu);
    if (asks && !is_usable) {
      return has(kRcu) ? refuse(EINVAL, "R{} must be a rcu pointer", number)
                       : refuse(EINVAL, "R{} must be referenced or trusted", number);
    }
    if (!asks && (r.trust == Trust::untrusted || r.trust == Trust::elsewhere) && !r.is_socket()) {
      return refuse(EINVAL, "R{} must be referenced or trusted", number);
    }
    // A member will do where the object itself is not taken.
    Register start = r;
    if (!has(kAcquires) && !has(kReleases)) start.offset = std::min(r.offset, 0);
    if (Verdict v = require_unmodified(start, number)) return v;
    if (!is_of_type(r, target_id)) {
      return refuse(EINVAL,
                    "kernel function {} args#{} expected pointer to STRUCT {} but R{} has a "
                    "pointer to another",
                    name_, position, env_.kernel_types.type_name(target_id), number);
    }
    if (is_released) {
      if (!env_.now->has_reference(r.reference)) {
        return refuse(EINVAL, "kernel function {} reference has not been acquired before", name_);
      }
      released_ = r.reference;
    }
    return {};
  }

  bool is_of_type(const Register& r, uint32_t target_id) const {
    const std::string_view wanted = env_.kernel_types.type_name(target_id);
    switch (r.type) {
      case Type::socket_common:
        return wanted == "sock_common";
      case Type::socket:
        return wanted == "sock" || wanted == "sock_common";
      case Type::tcp_socket:
        return wanted == "tcp_sock" || wanted == "sock" || wanted == "sock_common";
      default:
        break;
    }
    // A task that is released is of exactly that type; what has the same name with a tail, such as
    // nf_conn___init, is of another.
    if (has(kAcquires) || has(kReleases)) return env_.kernel_types.type_name(r.target) == wanted;
    return has_struct_at(env_, r.target, static_cast<uint32_t>(r.offset), wanted);
  }

  static bool is_context(std::string_view name) {
    return name == "xdp_md" || name == "__sk_buff" || name == "xdp_buff" || name == "sk_buff" ||
           name == "bpf_sock_addr_kern";
  }

  // Numbers, and structs of nothing else.
  bool is_plain(const btf_type* type, uint32_t depth = 0) const {
    constexpr uint32_t kDeepest = 4;
    if (type == nullptr || depth > kDeepest) return false;
    if (btf_is_int(type) || btf_is_any_enum(type)) return true;
    if (btf_is_array(type)) return is_plain(skip(btf_array(type)->type), depth);
    if (!btf_is_composite(type)) return false;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      if (!is_plain(skip(btf_members(type)[i].type), depth + 1)) return false;
    }
    return true;
  }

  Register result() {
    const btf_type* type = skip(prototype_->type);
    if (prototype_->type == 0) return {};
    if (type == nullptr || !btf_is_ptr(type)) return Register::unknown();
    uint32_t id = 0;
    skip(type->type, &id);
    Register r = kernel_object(id, Trust::compatible);
    r.maybe_null = has(kMayFail);
    if (r.maybe_null) r.id = env_.new_id();
    if (has(kAcquires)) {
      if (r.id == 0) r.id = env_.new_id();
      r.reference = r.id;
      const State& now = *env_.now;
      env_.now->references.push_back({r.id, env_.index, now.frame().in_callback ? now.depth() : 0});
    }
    return r;
  }

  Environment& env_;
  const btf* types_;
  std::string_view name_;
  const btf_type* prototype_;
  uint32_t flags_ = 0;
  uint32_t released_ = 0;
};

}  // namespace

Verdict apply_foreign_kfunc(Environment& env, uint32_t function_id) {
  return ForeignCall(env, function_id).apply();
}

}  // namespace xnic::vm::verifier

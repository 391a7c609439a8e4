#include "vm/verifier/signature.h"

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <tl/expected.hpp>

#include "vm/verifier/dynptrs.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/requirements.h"
#include "vm/verifier/struct_access.h"

namespace xnic::vm::verifier {
namespace {

constexpr size_t kMostParameters = 5;

struct Parameter {
  enum class Kind : uint8_t { number, context, memory, dynptr, object };
  Kind kind = Kind::number;
  bool may_be_null = false;
  uint32_t size = 0;               // of memory
  uint32_t target = 0;             // of an object: the id of its struct in the kernel's types
  Trust trust = Trust::untrusted;  // of an object
};
using Parameters = std::vector<Parameter>;

// The struct that a program of the type is given, as its source names it.
std::string_view context_name(uint32_t type) {
  switch (type) {
    case BPF_PROG_TYPE_XDP:
      return "xdp_md";
    case BPF_PROG_TYPE_KPROBE:
      return "bpf_user_pt_regs_t";
    case BPF_PROG_TYPE_PERF_EVENT:
      return "bpf_perf_event_data";
    case BPF_PROG_TYPE_RAW_TRACEPOINT:
    case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
      return "bpf_raw_tracepoint_args";
    case BPF_PROG_TYPE_CGROUP_SOCK:
      return "bpf_sock";
    case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
      return "bpf_sock_addr";
    case BPF_PROG_TYPE_SOCK_OPS:
      return "bpf_sock_ops";
    case BPF_PROG_TYPE_SK_MSG:
      return "sk_msg_md";
    case BPF_PROG_TYPE_SK_LOOKUP:
      return "bpf_sk_lookup";
    case BPF_PROG_TYPE_SK_REUSEPORT:
      return "sk_reuseport_md";
    case BPF_PROG_TYPE_CGROUP_SOCKOPT:
      return "bpf_sockopt";
    case BPF_PROG_TYPE_CGROUP_SYSCTL:
      return "bpf_sysctl";
    case BPF_PROG_TYPE_CGROUP_DEVICE:
      return "bpf_cgroup_dev_ctx";
    case BPF_PROG_TYPE_SOCKET_FILTER:
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
    case BPF_PROG_TYPE_CGROUP_SKB:
    case BPF_PROG_TYPE_LWT_IN:
    case BPF_PROG_TYPE_LWT_OUT:
    case BPF_PROG_TYPE_LWT_XMIT:
    case BPF_PROG_TYPE_LWT_SEG6LOCAL:
    case BPF_PROG_TYPE_SK_SKB:
    case BPF_PROG_TYPE_FLOW_DISSECTOR:
      return "__sk_buff";
    default:
      return {};
  }
}

bool is_number(const btf_type* type) {
  return type != nullptr && (btf_is_int(type) || btf_is_any_enum(type));
}

bool has_tag(const btf* types, uint32_t function, size_t parameter, std::string_view tag) {
  const uint32_t count = btf__type_cnt(types);
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (btf_is_decl_tag(type) && type->type == function &&
        btf_decl_tag(type)->component_idx == static_cast<int>(parameter) &&
        tag == btf__str_by_offset(types, type->name_off)) {
      return true;
    }
  }
  return false;
}

// A pointer to what programs of the type are given, by its name in the source.
bool points_to_context(const Environment& env, const btf* types, const btf_type* pointer,
                       const btf_type* target) {
  const std::string_view name = context_name(env.spec.type);
  if (name.empty() || target == nullptr || !btf_is_struct(target)) return false;
  if (btf__str_by_offset(types, target->name_off) == name) return true;
  if (env.spec.type != BPF_PROG_TYPE_KPROBE) return false;
  // A type of its own on each architecture.
  if (btf__str_by_offset(types, target->name_off) == std::string_view("pt_regs")) return true;
  const btf_type* type = btf__type_by_id(types, pointer->type);
  while (type != nullptr && btf_is_mod(type)) type = btf__type_by_id(types, type->type);
  return type != nullptr && btf_is_typedef(type) &&
         btf__str_by_offset(types, type->name_off) == name;
}

tl::expected<Parameters, Refusal> parameters_of(const Environment& env, uint32_t subprogram) {
  const auto fail = [](Verdict v) { return tl::unexpected<Refusal>(std::move(*v)); };
  const uint32_t start = env.flow.functions[subprogram].start;
  const auto info = std::ranges::find(env.spec.functions, start, &bpf_func_info::insn_off);
  const std::string& name = env.subprograms[subprogram].name;
  if (env.spec.btf == nullptr || info == env.spec.functions.end()) {
    return fail(refuse(EINVAL, "Global function {}() has no BTF signature", name));
  }
  const btf* types = env.spec.btf->parsed();
  const btf_type* function = btf__type_by_id(types, info->type_id);
  const btf_type* prototype = btf__type_by_id(types, function->type);
  if (!is_number(skip_modifiers(types, prototype->type))) {
    return fail(refuse(
        EINVAL, "Global function {}() doesn't return scalar. Only those are supported.", name));
  }
  const size_t count = btf_vlen(prototype);
  if (count > kMostParameters) {
    return fail(refuse(EINVAL, "Global function {}() with {} > {} args. Buggy compiler.", name,
                       count, kMostParameters));
  }
  Parameters parameters;
  for (size_t i = 0; i < count; ++i) {
    const btf_type* type = skip_modifiers(types, btf_params(prototype)[i].type);
    if (is_number(type)) {
      parameters.push_back({});
      continue;
    }
    if (type == nullptr || !btf_is_ptr(type)) {
      return fail(refuse(EINVAL, "Arg#{} type in {}() is not supported yet.", i, name));
    }
    const btf_type* target = skip_modifiers(types, type->type);
    const std::string_view target_name =
        target == nullptr ? std::string_view() : btf__str_by_offset(types, target->name_off);
    if (points_to_context(env, types, type, target) ||
        has_tag(types, info->type_id, i, "arg:ctx")) {
      parameters.push_back({Parameter::Kind::context});
      continue;
    }
    if (target != nullptr && btf_is_struct(target) && target_name == "bpf_dynptr") {
      parameters.push_back({Parameter::Kind::dynptr});
      continue;
    }
    const bool is_trusted = has_tag(types, info->type_id, i, "arg:trusted");
    if (is_trusted || has_tag(types, info->type_id, i, "arg:untrusted")) {
      // A name may have a tail (___local) that tells it from the kernel's.
      const std::string_view kernel_name = target_name.substr(0, target_name.find("___"));
      const uint32_t id = env.kernel_types.struct_id(kernel_name);
      if (id == 0) {
        return fail(refuse(EINVAL, "arg#{} type {} is not known to the kernel", i, target_name));
      }
      parameters.push_back({.kind = Parameter::Kind::object,
                            .may_be_null = has_tag(types, info->type_id, i, "arg:nullable"),
                            .target = id,
                            .trust = is_trusted ? Trust::trusted : Trust::untrusted});
      continue;
    }
    const int64_t size = btf__resolve_size(types, type->type);
    if (size <= 0) {
      return fail(
          refuse(EINVAL, "arg#{} reference type('{}') size cannot be determined", i, target_name));
    }
    parameters.push_back({Parameter::Kind::memory, !has_tag(types, info->type_id, i, "arg:nonnull"),
                          static_cast<uint32_t>(size)});
  }
  return parameters;
}

Verdict require_memory(Environment& env, uint32_t number, const Parameter& parameter) {
  Register& r = env.reg(number);
  if (!parameter.may_be_null && (r.maybe_null || r.is_null())) {
    return refuse(EINVAL, "arg#{} is expected to be non-NULL", number - 1);
  }
  if (r.is_null()) return {};
  const bool maybe_null = std::exchange(r.maybe_null, false);
  Verdict v = require_helper_access(env, number, parameter.size, Direction::read, false);
  if (!v) v = require_helper_access(env, number, parameter.size, Direction::write, false);
  r.maybe_null = maybe_null;
  if (!v && r.type == Type::stack) lend_stack(env, number, parameter.size, true);
  return v;
}

Verdict require_object(Environment& env, uint32_t number, const Parameter& parameter) {
  const Register& r = env.reg(number);
  if (parameter.trust == Trust::untrusted) return {};  // any value will do
  if (r.is_null() || r.maybe_null) {
    if (parameter.may_be_null) return {};
    return refuse(EINVAL, "arg#{} is expected to be non-NULL", number - 1);
  }
  if (r.type == Type::kernel_object && r.target == parameter.target && is_trusted(r)) {
    return require_unmodified(r, number);
  }
  return refuse(EACCES, "R{} type={} expected=trusted_ptr_", number, type_name(r));
}

}  // namespace

Verdict enter_global(Environment& env, uint32_t subprogram, Frame& frame) {
  const auto parameters = parameters_of(env, subprogram);
  if (!parameters) return parameters.error();
  for (uint32_t i = 0; i < parameters->size(); ++i) {
    const Parameter& parameter = (*parameters)[i];
    Register& r = frame[i + 1];
    switch (parameter.kind) {
      case Parameter::Kind::number:
        r = Register::unknown();
        break;
      case Parameter::Kind::context:
        r = Register::pointer(Type::context);
        break;
      case Parameter::Kind::dynptr:
        // Whatever callers give is taken for one of map values.
        r = Register::pointer(Type::dynptr);
        r.dynptr_kind = DynptrKind::local;
        r.dynptr = env.new_id();
        break;
      case Parameter::Kind::object:
        r = kernel_object(parameter.target, parameter.trust);
        r.maybe_null = parameter.may_be_null;
        if (r.maybe_null) r.id = env.new_id();
        break;
      case Parameter::Kind::memory:
        r = Register::pointer(Type::memory);
        r.extent = static_cast<int32_t>(parameter.size);
        r.maybe_null = parameter.may_be_null;
        if (r.maybe_null) r.id = env.new_id();
        break;
    }
  }
  return {};
}

Verdict require_signature(Environment& env, uint32_t subprogram) {
  const auto parameters = parameters_of(env, subprogram);
  if (!parameters) return parameters.error();
  for (uint32_t i = 0; i < parameters->size(); ++i) {
    const uint32_t number = i + 1;
    const Register& r = env.reg(number);
    switch ((*parameters)[i].kind) {
      case Parameter::Kind::number:
        if (!r.is_scalar()) return refuse(EINVAL, "R{} is not a scalar", number);
        break;
      case Parameter::Kind::context:
        if (r.type != Type::context) {
          return refuse(EINVAL, "arg#{} expected pointer to ctx, but got {}", i, type_name(r));
        }
        if (Verdict v = require_unmodified(r, number)) return v;
        break;
      case Parameter::Kind::dynptr: {
        static constexpr Helper kFunction{};
        DynptrUse use;
        if (Verdict v = require_dynptr(env, number, Argument::dynptr, kFunction, use)) return v;
        break;
      }
      case Parameter::Kind::object:
        if (Verdict v = require_object(env, number, (*parameters)[i])) return v;
        break;
      case Parameter::Kind::memory:
        if (Verdict v = require_memory(env, number, (*parameters)[i])) return v;
        break;
    }
  }
  return {};
}

}  // namespace xnic::vm::verifier

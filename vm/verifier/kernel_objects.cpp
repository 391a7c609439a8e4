// Follows btf_ctx_access() of kernel/bpf/btf.c, and check_ptr_to_btf_access() of
// kernel/bpf/verifier.c. Left out: writes, but for the fields that TCP's congestion control may set
// and marks of connections; tags of percpu memory. Test: tests/vm/verifier/kernel_objects_test.cpp,
// against Linux.
#include "vm/verifier/kernel_objects.h"

#include <bpf/btf.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "vm/verifier/struct_access.h"

namespace xnic::vm::verifier {
namespace {

// Fields whose object lives as long as the one that holds it, by what Linux lists. `rcu`: as long
// as the program's read-side section.
struct SafeField {
  std::string_view owner;
  std::string_view field;
  Trust trust;
  bool maybe_null;
};
constexpr std::array kSafeFields = {
    SafeField{"task_struct", "cpus_ptr", Trust::rcu, false},
    SafeField{"task_struct", "cgroups", Trust::rcu, false},
    SafeField{"task_struct", "real_parent", Trust::rcu, false},
    SafeField{"task_struct", "group_leader", Trust::rcu, false},
    SafeField{"cgroup", "kn", Trust::rcu, false},
    SafeField{"css_set", "dfl_cgrp", Trust::rcu, false},
    SafeField{"cgroup_subsys_state", "cgroup", Trust::rcu, false},
    SafeField{"mm_struct", "exe_file", Trust::rcu, true},
    SafeField{"sk_buff", "sk", Trust::rcu, true},
    SafeField{"request_sock", "sk", Trust::rcu, true},
    SafeField{"bpf_iter_meta", "seq", Trust::trusted, false},
    SafeField{"linux_binprm", "file", Trust::trusted, false},
    SafeField{"file", "f_inode", Trust::trusted, false},
    SafeField{"dentry", "d_inode", Trust::trusted, false},
    SafeField{"socket", "sk", Trust::trusted, true},
    SafeField{"vm_area_struct", "vm_mm", Trust::trusted, true},
    SafeField{"vm_area_struct", "vm_file", Trust::trusted, true},
};

std::string_view struct_name(const Environment& env, uint32_t id) {
  return id == 0 ? "void" : env.kernel_types.type_name(id);
}

Register through(Environment& env, const Register& base, const StructField& field) {
  if (field.struct_id == 0) return Register::unknown();
  Register r = kernel_object(field.struct_id, Trust::untrusted);
  if (field.tag == "user" || field.tag == "percpu") {
    r.trust = Trust::elsewhere;
    return r;
  }
  if (base.trust == Trust::untrusted) return r;
  // In a union there may be something else.
  const Trust by_habit = field.in_union ? Trust::untrusted : Trust::compatible;
  if (!is_trusted(base) && base.trust != Trust::rcu) {
    r.trust = by_habit;
    return r;
  }
  const auto safe = std::ranges::find_if(kSafeFields, [&](const SafeField& f) {
    return f.owner == struct_name(env, base.target) && f.field == field.name;
  });
  const bool is_safe = safe != kSafeFields.end();
  const bool in_section = in_read_side_section(env);
  if (is_safe && (safe->trust == Trust::trusted || in_section)) {
    r.trust = safe->trust;
    r.maybe_null = safe->maybe_null;
  } else if (in_section) {
    const bool by_tag = field.tag == "rcu";
    r.trust = by_tag && !field.in_union ? Trust::rcu : by_habit;
    r.maybe_null = by_tag;
  }
  if (r.maybe_null) r.id = env.new_id();
  return r;
}

// What TCP's congestion control may set of its socket (net/ipv4/bpf_tcp_ca.c).
constexpr std::array<std::string_view, 10> kCongestionFields = {
    "sk_pacing_rate", "sk_pacing_status", "icsk_ca_priv", "pending",   "snd_cwnd",
    "snd_cwnd_cnt",   "snd_cwnd_stamp",   "snd_ssthresh", "ecn_flags", "app_limited"};

bool may_write(const Environment& env, const Register& r, const StructField& field) {
  if (!is_trusted(r)) return false;
  const std::string_view owner = struct_name(env, r.target);
  switch (env.spec.type) {
    case BPF_PROG_TYPE_STRUCT_OPS:
      return owner == "tcp_sock" &&
             std::ranges::find(kCongestionFields, field.name) != kCongestionFields.end();
    case BPF_PROG_TYPE_XDP:
    case BPF_PROG_TYPE_SCHED_CLS:  // net/netfilter/nf_conntrack_bpf.c
      return (owner == "nf_conn" || owner == "nf_conn___init") && field.name == "mark";
    default:
      return false;
  }
}

// The kernel's struct for maps of a type.
std::string_view map_struct(bpf_map_type type) {
  switch (type) {
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_PERCPU_ARRAY:
    case BPF_MAP_TYPE_PROG_ARRAY:
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
    case BPF_MAP_TYPE_CGROUP_ARRAY:
    case BPF_MAP_TYPE_ARRAY_OF_MAPS:
      return "bpf_array";
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_LRU_HASH:
    case BPF_MAP_TYPE_LRU_PERCPU_HASH:
    case BPF_MAP_TYPE_HASH_OF_MAPS:
      return "bpf_htab";
    case BPF_MAP_TYPE_LPM_TRIE:
      return "lpm_trie";
    case BPF_MAP_TYPE_STACK_TRACE:
      return "bpf_stack_map";
    case BPF_MAP_TYPE_DEVMAP:
    case BPF_MAP_TYPE_DEVMAP_HASH:
      return "bpf_dtab";
    case BPF_MAP_TYPE_SOCKMAP:
      return "bpf_stab";
    case BPF_MAP_TYPE_SOCKHASH:
      return "bpf_shtab";
    case BPF_MAP_TYPE_CPUMAP:
      return "bpf_cpu_map";
    case BPF_MAP_TYPE_XSKMAP:
      return "xsk_map";
    case BPF_MAP_TYPE_QUEUE:
    case BPF_MAP_TYPE_STACK:
      return "bpf_queue_stack";
    case BPF_MAP_TYPE_RINGBUF:
      return "bpf_ringbuf_map";
    case BPF_MAP_TYPE_BLOOM_FILTER:
      return "bpf_bloom_filter";
    default:
      return "bpf_map";
  }
}

// Whether each CPU has a variable of its own.
bool is_percpu(const btf* types, uint32_t variable) {
  const int section = btf__find_by_name_kind(types, ".data..percpu", BTF_KIND_DATASEC);
  const btf_type* type =
      section < 0 ? nullptr : btf__type_by_id(types, static_cast<uint32_t>(section));
  if (type == nullptr) return false;
  const std::span<const btf_var_secinfo> variables(btf_var_secinfos(type), btf_vlen(type));
  return std::ranges::find(variables, variable, &btf_var_secinfo::type) != variables.end();
}

ObjectOf owner_behind(const Register& r) {
  return r.trust == Trust::untrusted ? ObjectOf::untrusted : ObjectOf::kernel;
}

// A program that runs here has pointers that lead nowhere.
Verdict refuse_unreal(uint32_t number) {
  return refuse(EACCES, "R{} points to an object of the kernel, which does not exist here", number);
}

}  // namespace

Register kernel_object(uint32_t struct_id, Trust trust) {
  Register r = Register::pointer(Type::kernel_object);
  r.target = struct_id;
  r.trust = trust;
  return r;
}

Register kernel_object(const Environment& env, std::string_view name, Trust trust) {
  return kernel_object(env.kernel_types.struct_id(name), trust);
}

// By include/linux/bpf_types.h.
std::string_view kernel_context_of(uint32_t type) {
  switch (type) {
    case BPF_PROG_TYPE_XDP:
      return "xdp_buff";
    case BPF_PROG_TYPE_SOCKET_FILTER:
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
    case BPF_PROG_TYPE_CGROUP_SKB:
    case BPF_PROG_TYPE_LWT_IN:
    case BPF_PROG_TYPE_LWT_OUT:
    case BPF_PROG_TYPE_LWT_XMIT:
    case BPF_PROG_TYPE_LWT_SEG6LOCAL:
    case BPF_PROG_TYPE_SK_SKB:
      return "sk_buff";
    case BPF_PROG_TYPE_CGROUP_SOCK:
      return "sock";
    case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
      return "bpf_sock_addr_kern";
    case BPF_PROG_TYPE_CGROUP_SOCKOPT:
      return "bpf_sockopt_kern";
    case BPF_PROG_TYPE_CGROUP_SYSCTL:
      return "bpf_sysctl_kern";
    case BPF_PROG_TYPE_CGROUP_DEVICE:
      return "bpf_cgroup_dev_ctx";
    case BPF_PROG_TYPE_SOCK_OPS:
      return "bpf_sock_ops_kern";
    case BPF_PROG_TYPE_SK_MSG:
      return "sk_msg";
    case BPF_PROG_TYPE_FLOW_DISSECTOR:
      return "bpf_flow_dissector";
    case BPF_PROG_TYPE_SK_LOOKUP:
      return "bpf_sk_lookup_kern";
    case BPF_PROG_TYPE_SK_REUSEPORT:
      return "sk_reuseport_kern";
    case BPF_PROG_TYPE_PERF_EVENT:
      return "bpf_perf_event_data_kern";
    default:
      return {};
  }
}

Register kernel_symbol(const Environment& env, uint32_t type_id) {
  const btf* types = env.kernel_types.parsed();
  const btf_type* symbol = btf__type_by_id(types, type_id);
  Register memory = Register::pointer(Type::memory);
  memory.read_only = true;
  if (!btf_is_var(symbol)) return memory;
  uint32_t target = 0;
  const btf_type* type = skip_modifiers(types, symbol->type, &target);
  if (is_struct(type)) {
    return kernel_object(target, is_percpu(types, type_id) ? Trust::elsewhere : Trust::compatible);
  }
  const int64_t size = btf__resolve_size(types, symbol->type);
  memory.extent = static_cast<int32_t>(std::clamp<int64_t>(size, 0, INT32_MAX));
  if (is_percpu(types, type_id)) return kernel_object(0, Trust::elsewhere);
  return memory;
}

bool in_read_side_section(const Environment& env) {
  return env.now->in_rcu || env.now->lock_id != 0 || (env.spec.flags & BPF_F_SLEEPABLE) == 0;
}

bool has_struct_at(const Environment& env, uint32_t struct_id, uint32_t offset,
                   std::string_view name) {
  const btf* types = env.kernel_types.parsed();
  const btf_type* type = skip_modifiers(types, struct_id);
  while (is_struct(type)) {
    if (offset == 0 && name_of(types, type) == name) return true;
    const btf_type* inner = nullptr;
    for (uint32_t i = 0; i < btf_vlen(type) && inner == nullptr; ++i) {
      const btf_type* member = skip_modifiers(types, btf_members(type)[i].type);
      const uint32_t start = btf_member_bit_offset(type, i) / 8;
      if (!is_struct(member) || offset < start || offset >= start + member->size) continue;
      inner = member;
      offset -= start;
    }
    type = inner;
  }
  return false;
}

bool is_kernel_socket(const Environment& env, const Register& r) {
  return r.type == Type::kernel_object && !r.maybe_null && r.offset == 0 &&
         r.trust != Trust::untrusted && r.trust != Trust::elsewhere &&
         has_struct_at(env, r.target, 0, "sock_common");
}

bool is_trusted(const Register& r) { return r.reference != 0 || r.trust == Trust::trusted; }

Verdict require_kernel_object(const Environment& env, uint32_t number, int64_t offset,
                              uint32_t size, Direction direction) {
  const Register& r = (*env.now)[number];
  if (env.will_run()) return refuse_unreal(number);
  if (!env.gpl_compatible) {
    return refuse(EINVAL, "Cannot access kernel 'struct {}' from non-GPL compatible program",
                  struct_name(env, r.target));
  }
  if (offset < 0) {
    return refuse(EACCES, "R{} is ptr_{} invalid negative access: off={}", number,
                  struct_name(env, r.target), offset);
  }
  if (!r.number.is_constant() || r.number.bits.value != 0) {
    return refuse(EACCES, "R{} is ptr_{} invalid variable offset: off={}", number,
                  struct_name(env, r.target), offset);
  }
  if (r.trust == Trust::elsewhere) {
    return refuse(EACCES, "R{} is ptr_{} access user memory: off={}", number,
                  struct_name(env, r.target), offset);
  }
  const bool write = direction == Direction::write;
  if (write && r.trust == Trust::untrusted) return refuse(EACCES, "only read is supported");
  if (r.target == 0) {
    if (!write) return {};
    return refuse(EACCES, "R{} invalid mem access '{}'", number, type_name(r));
  }
  const auto field = find_field(env.kernel_types.parsed(), r.target, static_cast<uint32_t>(offset),
                                size, owner_behind(r));
  if (!field) return field.error();
  if (write && !may_write(env, r, *field)) return refuse(EACCES, "only read is supported");
  return {};
}

Register loaded_from_kernel_object(Environment& env, const Register& base, int64_t offset,
                                   uint32_t size) {
  if (base.target == 0) return Register::unknown();
  const auto field = find_field(env.kernel_types.parsed(), base.target,
                                static_cast<uint32_t>(offset), size, owner_behind(base));
  return field ? through(env, base, *field) : Register::unknown();
}

Verdict require_map_object(const Environment& env, uint32_t number, int64_t offset, uint32_t size,
                           Direction direction) {
  const Register& r = (*env.now)[number];
  const std::string_view name = map_struct(r.map->type);
  if (env.will_run()) return refuse_unreal(number);
  if (offset < 0) {
    return refuse(EACCES, "R{} is {} invalid negative access: off={}", number, name, offset);
  }
  if (direction == Direction::write) {
    return refuse(EACCES, "only read from {} is supported", name);
  }
  const uint32_t id = env.kernel_types.struct_id(name);
  if (id == 0) return refuse(EACCES, "R{} invalid mem access '{}'", number, type_name(r));
  const auto field = find_field(env.kernel_types.parsed(), id, static_cast<uint32_t>(offset), size,
                                ObjectOf::kernel);
  return field ? Verdict{} : field.error();
}

Register loaded_from_map_object(Environment& env, const Register& base, int64_t offset,
                                uint32_t size) {
  const Register object = kernel_object(env, map_struct(base.map->type), Trust::compatible);
  return loaded_from_kernel_object(env, object, offset, size);
}

}  // namespace xnic::vm::verifier

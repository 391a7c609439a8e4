// Follows btf_struct_walk() and btf_ctx_access() of kernel/bpf/btf.c, and check_ptr_to_btf_access()
// of kernel/bpf/verifier.c. Left out: writes, but for the fields that TCP's congestion control may
// set; tags of percpu memory. Test: tests/vm/verifier/kernel_objects_test.cpp, against Linux.
#include "vm/verifier/kernel_objects.h"

#include <bpf/btf.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace xnic::vm::verifier {
namespace {

struct Field {
  uint32_t struct_id = 0;  // that a pointer leads to; 0: a number
  std::string_view name;
  std::string_view owner;  // the struct that holds it
  bool in_union = false;   // that may hold something else
  std::string_view tag;    // of the pointer's type: "rcu", "user", "percpu"
};

const btf_type* skip_modifiers(const btf* types, uint32_t id, uint32_t* at = nullptr) {
  const btf_type* type = btf__type_by_id(types, id);
  while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type))) {
    id = type->type;
    type = btf__type_by_id(types, id);
  }
  if (at != nullptr) *at = id;
  return type;
}

bool is_struct(const btf_type* type) { return type != nullptr && btf_is_composite(type); }

std::string_view name_of(const btf* types, const btf_type* type) {
  return btf__str_by_offset(types, type->name_off);
}

// The field of a struct, or of one within it, that holds the bytes.
class Walk {
 public:
  Walk(const btf* types, bool untrusted) : types_(types), untrusted_(untrusted) {}

  tl::expected<Field, Refusal> find(uint32_t id, uint32_t offset, uint32_t size) {
    uint32_t at = 0;
    const btf_type* type = skip_modifiers(types_, id, &at);
    Field field;
    while (true) {
      if (!is_struct(type)) return fail(EINVAL, "type #{} is not a struct", id);
      field.owner = name_of(types_, type);
      if (btf_is_union(type) && btf_vlen(type) != 1) field.in_union = true;
      if (offset + size > type->size) {
        const btf_type* element = trailing_element(type, offset);
        if (element == nullptr) {
          return fail(EACCES, "access beyond struct {} at off {} size {}", field.owner, offset,
                      size);
        }
        if (!is_struct(element)) return field;
        type = element;
        continue;
      }
      const btf_type* inner = nullptr;
      const auto found = member(type, offset, size, field, inner);
      if (!found) return tl::unexpected(found.error());
      if (inner == nullptr) return field;
      type = inner;
    }
  }

 private:
  template <class... Args>
  static tl::unexpected<Refusal> fail(int error, fmt::format_string<Args...> text, Args&&... args) {
    return tl::unexpected<Refusal>(std::move(*refuse(error, text, std::forward<Args>(args)...)));
  }

  // What a struct that ends in an array without a length has behind its end; moves `offset` into
  // the element.
  const btf_type* trailing_element(const btf_type* type, uint32_t& offset) const {
    if (btf_vlen(type) == 0) return nullptr;
    const uint32_t last = btf_vlen(type) - 1;
    const btf_type* array = skip_modifiers(types_, btf_members(type)[last].type);
    if (array == nullptr || !btf_is_array(array) || btf_array(array)->nelems != 0) return nullptr;
    const uint32_t start = btf_member_bit_offset(type, last) / 8;
    if (offset < start) return nullptr;
    const btf_type* element = skip_modifiers(types_, btf_array(array)->type);
    if (btf_is_int(element)) return element;
    if (!is_struct(element) || element->size == 0) return nullptr;
    offset = (offset - start) % element->size;
    return element;
  }

  // The member at an offset: a struct to go on in, or `field` has what there is to know.
  tl::expected<void, Refusal> member(const btf_type* type, uint32_t& offset, uint32_t size,
                                     Field& field, const btf_type*& inner) const {
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& one = btf_members(type)[i];
      const uint32_t bit = btf_member_bit_offset(type, i);
      const uint32_t bits = btf_member_bitfield_size(type, i);
      uint32_t start = bit / 8;
      if (offset + size <= start) break;
      if (bits != 0) {
        if (offset <= start && (bit + bits + 7) / 8 <= offset + size) return {};
        continue;
      }
      if (offset < start) break;
      const int64_t bytes = btf__resolve_size(types_, one.type);
      if (bytes < 0) {
        return fail(EFAULT, "field {} doesn't have size", btf__str_by_offset(types_, one.name_off));
      }
      const uint32_t end = start + static_cast<uint32_t>(bytes);
      if (offset >= end) continue;
      const btf_type* of = skip_modifiers(types_, one.type);
      while (of != nullptr && btf_is_array(of)) of = skip_modifiers(types_, btf_array(of)->type);
      if (of == nullptr) return {};
      if (const int64_t step = size_of(of); step > 0) {
        start += (offset - start) / static_cast<uint32_t>(step) * static_cast<uint32_t>(step);
      }
      if (is_struct(of)) {
        offset -= start;
        inner = of;
        return {};
      }
      field.name = btf__str_by_offset(types_, one.name_off);
      if (btf_is_ptr(of)) return pointer(of, start, offset, size, field);
      if (offset + size > end && !untrusted_ && !field.in_union) {
        return fail(EACCES,
                    "access beyond the end of member {} (mend:{}) in struct {} with off {} size {}",
                    field.name, end, field.owner, offset, size);
      }
      return {};
    }
    return fail(EINVAL, "struct {} doesn't have field at offset {}", field.owner, offset);
  }

  tl::expected<void, Refusal> pointer(const btf_type* type, uint32_t start, uint32_t offset,
                                      uint32_t size, Field& field) const {
    if (size != sizeof(uint64_t) || offset != start) {
      return fail(EACCES,
                  "cannot access ptr member {} with moff {} in struct {} with off {} size {}",
                  field.name, start, field.owner, offset, size);
    }
    const btf_type* tagged = btf__type_by_id(types_, type->type);
    if (tagged != nullptr && btf_is_type_tag(tagged)) field.tag = name_of(types_, tagged);
    uint32_t id = 0;
    const btf_type* target = skip_modifiers(types_, type->type, &id);
    if (is_struct(target)) field.struct_id = id;
    return {};
  }

  int64_t size_of(const btf_type* type) const {
    if (btf_is_ptr(type)) return sizeof(uint64_t);
    return btf_is_int(type) || btf_is_any_enum(type) || is_struct(type) ? type->size : 0;
  }

  const btf* types_;
  const bool untrusted_;
};

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

bool in_read_side_section(const Environment& env) {
  return env.now->in_rcu || env.now->lock_id != 0 || (env.spec.flags & BPF_F_SLEEPABLE) == 0;
}

Register through(Environment& env, const Register& base, const Field& field) {
  if (field.struct_id == 0) return Register::unknown();
  Register r = kernel_object(field.struct_id, Trust::untrusted);
  if (field.tag == "user" || field.tag == "percpu") {
    r.trust = Trust::elsewhere;
    return r;
  }
  if (base.trust == Trust::untrusted) return r;
  if (!is_trusted(base) && base.trust != Trust::rcu) {
    r.trust = Trust::compatible;
    return r;
  }
  const auto safe = std::ranges::find_if(kSafeFields, [&](const SafeField& f) {
    return f.owner == field.owner && f.field == field.name;
  });
  const bool is_safe = safe != kSafeFields.end();
  const bool in_section = in_read_side_section(env);
  if (is_safe && (safe->trust == Trust::trusted || in_section)) {
    r.trust = safe->trust;
    r.maybe_null = safe->maybe_null;
  } else if (in_section) {
    r.trust = field.tag == "rcu" ? Trust::rcu : Trust::compatible;
    r.maybe_null = field.tag == "rcu";
  }
  if (r.maybe_null) r.id = env.new_id();
  return r;
}

std::string_view struct_name(const Environment& env, uint32_t id) {
  return id == 0 ? "void" : env.kernel_types.type_name(id);
}

// What TCP's congestion control may set of its socket (net/ipv4/bpf_tcp_ca.c).
constexpr std::array<std::string_view, 10> kCongestionFields = {
    "sk_pacing_rate", "sk_pacing_status", "icsk_ca_priv", "pending",   "snd_cwnd",
    "snd_cwnd_cnt",   "snd_cwnd_stamp",   "snd_ssthresh", "ecn_flags", "app_limited"};

bool may_write(const Environment& env, const Register& r, const Field& field) {
  return env.spec.type == BPF_PROG_TYPE_STRUCT_OPS && is_trusted(r) &&
         struct_name(env, r.target) == "tcp_sock" &&
         std::ranges::find(kCongestionFields, field.name) != kCongestionFields.end();
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

bool is_or_begins_with(const Environment& env, uint32_t struct_id, std::string_view name) {
  const btf* types = env.kernel_types.parsed();
  const btf_type* type = skip_modifiers(types, struct_id);
  while (is_struct(type)) {
    if (name_of(types, type) == name) return true;
    if (btf_vlen(type) == 0 || btf_member_bit_offset(type, 0) != 0) return false;
    type = skip_modifiers(types, btf_members(type)->type);
  }
  return false;
}

bool is_kernel_socket(const Environment& env, const Register& r) {
  return r.type == Type::kernel_object && !r.maybe_null && r.offset == 0 &&
         r.trust != Trust::untrusted && r.trust != Trust::elsewhere &&
         is_or_begins_with(env, r.target, "sock_common");
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
  const auto field = Walk(env.kernel_types.parsed(), r.trust == Trust::untrusted)
                         .find(r.target, static_cast<uint32_t>(offset), size);
  if (!field) return field.error();
  if (write && !may_write(env, r, *field)) return refuse(EACCES, "only read is supported");
  return {};
}

Register loaded_from_kernel_object(Environment& env, const Register& base, int64_t offset,
                                   uint32_t size) {
  if (base.target == 0) return Register::unknown();
  const auto field = Walk(env.kernel_types.parsed(), base.trust == Trust::untrusted)
                         .find(base.target, static_cast<uint32_t>(offset), size);
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
  const auto field =
      Walk(env.kernel_types.parsed(), false).find(id, static_cast<uint32_t>(offset), size);
  return field ? Verdict{} : field.error();
}

Register loaded_from_map_object(Environment& env, const Register& base, int64_t offset,
                                uint32_t size) {
  const Register object = kernel_object(env, map_struct(base.map->type), Trust::compatible);
  return loaded_from_kernel_object(env, object, offset, size);
}

}  // namespace xnic::vm::verifier

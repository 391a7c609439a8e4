// Follows btf_ctx_access() of kernel/bpf/btf.c. Left out: arguments that are structs by value, of
// more than 8 bytes; functions of modules.
// Test: tests/vm/verifier/kernel_objects_test.cpp, against Linux.
#include <bpf/btf.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/struct_access.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint32_t kRawTracepoint = BPF_TRACE_RAW_TP;
constexpr std::string_view kTracepoint = "btf_trace_";
constexpr std::string_view kIterator = "bpf_iter_";

// Arguments of tracepoints that may be NULL or an error instead of a pointer.
struct Doubtful {
  std::string_view tracepoint;
  uint32_t argument;
  bool may_be_error = false;
};
constexpr std::array kDoubtful = {
    Doubtful{"sched_pi_setprio", 1},
    Doubtful{"sched_process_wait", 0},
    Doubtful{"sched_stick_numa", 2},
    Doubtful{"sched_swap_numa", 2},
    Doubtful{"fib_table_lookup", 2},
    Doubtful{"posix_lock_inode", 1},
    Doubtful{"fcntl_setlk", 1},
    Doubtful{"locks_remove_posix", 1},
    Doubtful{"flock_lock_inode", 1},
    Doubtful{"break_lease_noblock", 1},
    Doubtful{"break_lease_block", 1},
    Doubtful{"break_lease_unblock", 1},
    Doubtful{"generic_delete_lease", 1},
    Doubtful{"time_out_leases", 1},
    Doubtful{"ext4_mballoc_discard", 1},
    Doubtful{"ext4_mballoc_free", 1},
    Doubtful{"mm_khugepaged_scan_pmd", 1},
    Doubtful{"mm_collapse_huge_page_isolate", 0},
    Doubtful{"mm_khugepaged_scan_file", 1},
    Doubtful{"mm_khugepaged_collapse_file", 1},
    Doubtful{"mm_page_alloc", 0},
    Doubtful{"mm_page_pcpu_drain", 0},
    Doubtful{"mm_page_alloc_zone_locked", 0},
    Doubtful{"netfs_failure", 1},
    Doubtful{"device_pm_callback_start", 1},
    Doubtful{"qdisc_dequeue", 3},
    Doubtful{"signal_generate", 1, true},
    Doubtful{"signal_deliver", 1, true},
    Doubtful{"kfree_skb", 3},
    Doubtful{"tcp_send_reset", 0},
    Doubtful{"tcp_send_reset", 1},
    Doubtful{"tmigr_update_events", 0},
    Doubtful{"writeback_dirty_folio", 1},
    Doubtful{"folio_wait_writeback", 1},
};

// Iterators whose objects Linux does not vouch for.
constexpr std::array<std::string_view, 5> kLooseIterators = {"task_file", "task_vma", "bpf_prog",
                                                             "bpf_link", "ipv6_route"};

// What the arguments are of: a function's prototype and the name of the place.
struct AttachPoint {
  const btf_type* prototype = nullptr;
  std::string_view name;
  uint32_t first = 0;  // argument that the program is given
};

AttachPoint attach_point_of(const Environment& env, const btf* types) {
  const btf_type* type = btf__type_by_id(types, env.spec.attach_type_id);
  if (type == nullptr) return {};
  const std::string_view name = btf__str_by_offset(types, type->name_off);
  if (env.spec.type == BPF_PROG_TYPE_STRUCT_OPS) {
    const uint32_t member = env.spec.expected_attach_type;
    if (!btf_is_struct(type) || member >= btf_vlen(type)) return {};
    const btf_type* pointer = skip_modifiers(types, btf_members(type)[member].type);
    if (!btf_is_ptr(pointer)) return {};
    const btf_type* prototype = skip_modifiers(types, pointer->type);
    return btf_is_func_proto(prototype) ? AttachPoint{prototype, name} : AttachPoint{};
  }
  if (env.spec.expected_attach_type == kRawTracepoint) {
    if (!btf_is_typedef(type) || !name.starts_with(kTracepoint)) return {};
    const btf_type* pointer = btf__type_by_id(types, type->type);
    if (!btf_is_ptr(pointer)) return {};
    const btf_type* prototype = btf__type_by_id(types, pointer->type);
    return btf_is_func_proto(prototype) ? AttachPoint{prototype, name.substr(kTracepoint.size()), 1}
                                        : AttachPoint{};
  }
  if (!btf_is_func(type)) return {};
  const bool iterates = env.spec.expected_attach_type == BPF_TRACE_ITER;
  if (iterates && !name.starts_with(kIterator)) return {};
  return {btf__type_by_id(types, type->type), name};
}

class Arguments {
 public:
  Arguments(const Environment& env, const btf* types, const AttachPoint& place)
      : env_(env), types_(types), place_(place) {}

  std::vector<Register> all() const {
    std::vector<Register> arguments;
    for (uint32_t i = place_.first; i < btf_vlen(place_.prototype); ++i) {
      arguments.push_back(one(btf_params(place_.prototype)[i], i - place_.first));
    }
    return arguments;
  }

 private:
  bool is_iterator() const {
    return env_.spec.type == BPF_PROG_TYPE_TRACING &&
           env_.spec.expected_attach_type == BPF_TRACE_ITER;
  }

  Register one(const btf_param& parameter, uint32_t number) const {
    const btf_type* type = skip_modifiers(types_, parameter.type);
    // Numbers, and what a program may not follow.
    if (type == nullptr || !btf_is_ptr(type)) return Register::unknown();
    const btf_type* tagged = btf__type_by_id(types_, type->type);
    const bool is_user_memory = tagged != nullptr && btf_is_type_tag(tagged);
    uint32_t id = 0;
    const btf_type* target = skip_modifiers(types_, type->type, &id);
    const std::string_view name = btf__str_by_offset(types_, parameter.name_off);
    const bool of_nothing = type->type == 0 || target == nullptr;
    if (is_iterator() && of_nothing && (name == "key" || name == "value")) {
      Register buffer = Register::pointer(Type::memory);
      buffer.extent = INT32_MAX;
      buffer.read_only = name == "key";
      buffer.maybe_null = true;
      return buffer;
    }
    if (of_nothing || !btf_is_composite(target)) return Register::unknown();
    Register object = kernel_object(id, Trust::trusted);
    if (is_user_memory) object.trust = Trust::elsewhere;
    if (is_iterator()) {
      const std::string_view kind = place_.name.substr(kIterator.size());
      const bool is_map_of_elements = name == "map" && kind != "bpf_map";
      object.maybe_null = name != "meta" && !is_map_of_elements;
      const bool is_loose = std::ranges::find(kLooseIterators, kind) != kLooseIterators.end();
      if (is_loose && name != "meta") object.trust = Trust::compatible;
    }
    if (name.ends_with("__nullable")) object.maybe_null = true;
    for (const Doubtful& doubt : kDoubtful) {
      const bool is_this =
          place_.first == 1 && doubt.tracepoint == place_.name && doubt.argument == number;
      if (!is_this) continue;
      if (doubt.may_be_error) return Register::unknown();
      object.maybe_null = true;
    }
    // TCP's congestion control is given sockets of TCP.
    if (env_.spec.type == BPF_PROG_TYPE_STRUCT_OPS && place_.name == "tcp_congestion_ops" &&
        env_.kernel_types.type_name(id) == "sock") {
      object.target = env_.kernel_types.struct_id("tcp_sock");
    }
    return object;
  }

  const Environment& env_;
  const btf* types_;
  const AttachPoint& place_;
};

}  // namespace

std::string_view member_stood_for(const Environment& env) {
  if (env.spec.type != BPF_PROG_TYPE_STRUCT_OPS) return {};
  const btf* types = env.kernel_types.parsed();
  const btf_type* type = btf__type_by_id(types, env.spec.attach_type_id);
  const uint32_t member = env.spec.expected_attach_type;
  if (type == nullptr || !btf_is_struct(type) || member >= btf_vlen(type)) return {};
  return btf__str_by_offset(types, btf_members(type)[member].name_off);
}

tl::expected<std::vector<Register>, Refusal> typed_arguments(const Environment& env) {
  const auto fail = [](Verdict v) { return tl::unexpected<Refusal>(std::move(*v)); };
  if (env.spec.type == BPF_PROG_TYPE_STRUCT_OPS) {
    if (!env.gpl_compatible) {
      return fail(refuse(EINVAL, "struct ops programs must have a GPL compatible license"));
    }
    if (member_stood_for(env) == "get_info") {  // of tcp_congestion_ops
      return fail(refuse(kErrorNotSupported, "attach to unsupported member get_info of struct {}",
                         env.kernel_types.type_name(env.spec.attach_type_id)));
    }
  }
  const btf* types = env.kernel_types.parsed();
  const AttachPoint place = attach_point_of(env, types);
  if (place.prototype != nullptr) return Arguments(env, types, place).all();
  return fail(refuse(EINVAL,
                     "attach_btf_id {} is not a function or tracepoint that a program of this type "
                     "attaches to",
                     env.spec.attach_type_id));
}

bool stands_for_void(const Environment& env) {
  if (env.spec.type != BPF_PROG_TYPE_STRUCT_OPS) return false;
  const AttachPoint place = attach_point_of(env, env.kernel_types.parsed());
  return place.prototype != nullptr && place.prototype->type == 0;
}

}  // namespace xnic::vm::verifier

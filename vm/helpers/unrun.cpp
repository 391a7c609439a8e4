// Helpers of program types that are verified and that nothing here runs. Where such a row also
// names types that do run, it answers what Linux answers on a machine without processes, counters
// and sockets. Left out: texts of bpf_snprintf_btf. Test: tests/bpf/kernel_objects, compared with
// Linux by tests/differential, and the comparison of verdicts in tests/verdicts.
#include <array>
#include <cerrno>
#include <cstring>

#include "vm/helpers/rows.h"
#include "vm/kernel_face.h"
#include "vm/map.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

uint64_t none(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) { return 0; }

uint64_t invalid(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return result(-EINVAL);
}

// The idle task is one of the kernel's own.
uint64_t not_permitted(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return result(-EPERM);
}

uint64_t no_entry(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return result(-ENOENT);
}

uint64_t task_registers(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return kTaskRegisters;
}

uint64_t no_stack(Invocation&, uint64_t, uint64_t to, uint64_t size, uint64_t, uint64_t) {
  std::memset(memory_at(to), 0, size);
  return result(-EINVAL);
}

// The root is the only cgroup, the first on the way down to that of any task.
uint64_t ancestor(Invocation&, uint64_t level, uint64_t, uint64_t, uint64_t, uint64_t) {
  return static_cast<int32_t>(level) == 0 ? 1 : 0;
}

uint64_t under_cgroup(Invocation&, uint64_t map, uint64_t index, uint64_t, uint64_t, uint64_t) {
  const bool is_there = static_cast<uint32_t>(index) < map_at(map).spec().max_entries;
  return result(is_there ? -EAGAIN : -E2BIG);  // nothing fills such a map
}

// The root, or the only network namespace.
uint64_t first(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) { return 1; }

// There is no memory of a user.
uint64_t no_user_memory(Invocation&, uint64_t to, uint64_t size, uint64_t, uint64_t, uint64_t) {
  std::memset(memory_at(to), 0, size);
  return result(-EFAULT);
}

uint64_t no_namespace(Invocation&, uint64_t, uint64_t, uint64_t to, uint64_t size, uint64_t) {
  std::memset(memory_at(to), 0, size);
  return result(-EINVAL);
}

// Events of packets are written, never counted.
uint64_t no_counter(Invocation& run, uint64_t map, uint64_t flags, uint64_t, uint64_t, uint64_t) {
  if ((flags & ~BPF_F_INDEX_MASK) != 0) return result(-EINVAL);
  const uint64_t index = flags == BPF_F_CURRENT_CPU ? run.environment.cpu : flags;
  return result(index < map_at(map).spec().max_entries ? -ENOENT : -E2BIG);
}

uint64_t no_counter_value(Invocation& run, uint64_t map, uint64_t flags, uint64_t to, uint64_t size,
                          uint64_t) {
  std::memset(memory_at(to), 0, size);
  if (size != sizeof(bpf_perf_event_value)) return result(-EINVAL);
  return no_counter(run, map, flags, 0, 0, 0);
}

using A = Argument;
using R = Returns;
constexpr uint32_t kCgroup = kCgroupSkb | kCgroupSock | kCgroupAddress | kCgroupSockopt |
                             kCgroupSysctl | kCgroupDevice | kSockOps;
constexpr uint32_t kHasRetval =
    kCgroupSock | kCgroupAddress | kCgroupSockopt | kCgroupSysctl | kCgroupDevice;
constexpr uint32_t kHasOptions = kCgroupAddress | kSockOps;
constexpr std::array<A, 5> kOption = {A::context, A::any, A::any, A::memory_write, A::size};
constexpr std::array<A, 5> kNewOption = {A::context, A::any, A::any, A::memory_read, A::size};
constexpr std::array<A, 5> kSocketStorage = {A::map, A::socket, A::map_value_or_null, A::any};
constexpr std::array<A, 5> kEntry = {A::context, A::map, A::map_key, A::any};

constexpr uint32_t kHasCasts =
    kAnyType & ~(kCgroupDevice | kCgroupSock | kCgroupSockopt | kTracing | kPerfEvent | kNetfilter |
                 kSkReuseport | kStructOps | kCgroupSysctl);
constexpr std::array kRows = {
    // Tasks and their memory.
    XNIC_HELPER(probe_read_user, kAnyType, R::integer, {A::memory_write, A::size_or_zero, A::any},
                no_user_memory, kGplOnly),
    XNIC_HELPER(probe_read_user_str, kAnyType, R::size_or_error,
                {A::memory_write, A::size_or_zero, A::any}, no_user_memory, kGplOnly),
    XNIC_HELPER(probe_read, kTracing | kBtfTracing | kSyscall, R::integer,
                {A::memory_write, A::size_or_zero, A::any}, no_user_memory, kGplOnly),
    XNIC_HELPER(probe_read_str, kTracing | kBtfTracing | kSyscall, R::size_or_error,
                {A::memory_write, A::size_or_zero, A::any}, no_user_memory, kGplOnly),
    XNIC_HELPER(send_signal, kAnyType, R::integer, {A::any}, not_permitted),
    XNIC_HELPER(send_signal_thread, kAnyType, R::integer, {A::any}, not_permitted),
    XNIC_HELPER(get_ns_current_pid_tgid, kAnyType, R::integer,
                {A::any, A::any, A::memory_write, A::size}, no_namespace),
    XNIC_HELPER(copy_from_user_task, kAnyType, R::integer,
                {A::memory_write, A::size_or_zero, A::any, A::task, A::any}, no_user_memory,
                kGplOnly),
    XNIC_HELPER(get_cgroup_classid, kAnyType & ~(kTc | kLwt), R::integer, {}, none),
    XNIC_HELPER(current_task_under_cgroup, kAnyType, R::integer, {A::map, A::any}, under_cgroup),
    XNIC_HELPER(get_current_cgroup_id, kAnyType, R::integer, {}, first),
    XNIC_HELPER(get_current_ancestor_cgroup_id, kAnyType, R::integer, {A::any}, ancestor),
    // Tracing.
    XNIC_HELPER(get_stackid, kTracing | kBtfTracing | kSyscall, R::integer,
                {A::context, A::map, A::any}, invalid, kGplOnly),
    XNIC_HELPER(get_stack, kTracing | kBtfTracing | kSyscall, R::size_or_error,
                {A::context, A::memory_write, A::size_or_zero, A::any}, invalid, kGplOnly),
    XNIC_HELPER(get_func_ip, kTracing | kBtfTracing | kSyscall, R::integer, {A::context}, none,
                kGplOnly),
    XNIC_HELPER(get_attach_cookie, kTracing | kBtfTracing, R::integer, {A::context}, none),
    XNIC_HELPER(perf_event_read, kAnyType, R::integer, {A::map, A::any}, no_counter, kGplOnly),
    XNIC_HELPER(perf_event_read_value, kAnyType, R::integer,
                {A::map, A::any, A::memory_write, A::size}, no_counter_value, kGplOnly),
    XNIC_HELPER(get_branch_snapshot, kAnyType, R::integer,
                {A::memory_write, A::size_or_zero, A::any}, no_entry, kGplOnly),
    XNIC_HELPER(perf_prog_read_value, kPerfEvent, R::integer,
                {A::context, A::memory_write, A::size}, invalid, kGplOnly),
    XNIC_HELPER(read_branch_records, kPerfEvent, R::integer,
                {A::context, A::memory_write_or_null, A::size_or_zero, A::any}, invalid, kGplOnly),
    // Objects of the kernel.
    XNIC_HELPER(task_pt_regs, kAnyType, R::trusted_object, {A::task}, task_registers, kGplOnly,
                kAnyLicense, "pt_regs"),
    XNIC_HELPER(get_task_stack, kAnyType, R::size_or_error,
                {A::task, A::memory_write, A::size_or_zero, A::any}, no_stack),
    XNIC_HELPER(task_storage_get, kAnyType, R::map_value_or_null,
                {A::map, A::task, A::map_value_or_null, A::any}, none),
    XNIC_HELPER(task_storage_delete, kAnyType, R::integer, {A::map, A::task}, no_entry),
    Helper{uapi::kCgrpStorageGet,
           "bpf_cgrp_storage_get",
           kAnyType,
           R::map_value_or_null,
           {A::map, A::cgroup, A::map_value_or_null, A::any},
           none},
    Helper{uapi::kCgrpStorageDelete,
           "bpf_cgrp_storage_delete",
           kAnyType,
           R::integer,
           {A::map, A::cgroup},
           no_entry},
    XNIC_HELPER(seq_printf, kBtfTracing, R::integer,
                {A::seq_file, A::memory_read, A::size, A::memory_read_or_null, A::size_or_zero},
                invalid, kGplOnly),
    XNIC_HELPER(seq_write, kBtfTracing, R::integer, {A::seq_file, A::memory_read, A::size_or_zero},
                invalid, kGplOnly),
    XNIC_HELPER(seq_printf_btf, kBtfTracing, R::integer,
                {A::seq_file, A::memory_read, A::size_or_zero, A::any}, invalid, kGplOnly),
    XNIC_HELPER(snprintf_btf, kAnyType, R::integer,
                {A::memory_write, A::size, A::memory_read, A::size, A::any}, invalid),
    XNIC_HELPER(d_path, kBtfTracing, R::integer, {A::path, A::memory_write, A::size_or_zero},
                invalid),
    XNIC_HELPER(sock_from_file, kBtfTracing | kSyscall, R::object_or_null, {A::file}, none,
                kAnyLicense, kAnyLicense, "socket"),
    XNIC_HELPER(skb_output, kBtfTracing, R::integer,
                {A::sk_buff, A::map, A::any, A::memory_read, A::size_or_zero}, invalid, kGplOnly),
    XNIC_HELPER(skc_to_tcp_sock, kHasCasts, R::object_or_null, {A::socket}, none, kAnyLicense,
                kAnyLicense, "tcp_sock"),
    XNIC_HELPER(skc_to_tcp6_sock, kHasCasts, R::object_or_null, {A::socket}, none, kAnyLicense,
                kAnyLicense, "tcp6_sock"),
    XNIC_HELPER(skc_to_tcp_timewait_sock, kHasCasts, R::object_or_null, {A::socket}, none,
                kAnyLicense, kAnyLicense, "tcp_timewait_sock"),
    XNIC_HELPER(skc_to_tcp_request_sock, kHasCasts, R::object_or_null, {A::socket}, none,
                kAnyLicense, kAnyLicense, "tcp_request_sock"),
    XNIC_HELPER(skc_to_udp6_sock, kHasCasts, R::object_or_null, {A::socket}, none, kAnyLicense,
                kAnyLicense, "udp6_sock"),
    XNIC_HELPER(skc_to_unix_sock, kHasCasts, R::object_or_null, {A::socket}, none, kAnyLicense,
                kAnyLicense, "unix_sock"),
    XNIC_HELPER(skc_to_mptcp_sock, kHasCasts, R::object_or_null, {A::socket}, none, kAnyLicense,
                kAnyLicense, "mptcp_sock"),
    XNIC_HELPER(sk_storage_get, kBtfTracing | kStructOps | kSyscall, R::map_value_or_null,
                {A::map, A::full_socket_or_null, A::map_value_or_null, A::any}, none),
    XNIC_HELPER(sk_storage_delete, kBtfTracing | kStructOps | kSyscall, R::integer,
                {A::map, A::full_socket_or_null}, no_entry),
    XNIC_HELPER(get_socket_cookie, kBtfTracing | kSyscall, R::integer, {A::socket}, none),
    XNIC_HELPER(getsockopt, kStructOps | kBtfTracing, R::integer,
                {A::socket, A::any, A::any, A::memory_write, A::size}, invalid),
    XNIC_HELPER(setsockopt, kStructOps | kBtfTracing, R::integer,
                {A::socket, A::any, A::any, A::memory_read, A::size}, invalid),
    XNIC_HELPER(tcp_send_ack, kStructOps, R::integer, {A::socket, A::any}, invalid),
    // Of who may do all that a user may.
    XNIC_HELPER(sys_bpf, kSyscall, R::integer, {A::any, A::memory_read, A::size}, invalid),
    XNIC_HELPER(sys_close, kSyscall, R::integer, {A::any}, invalid),
    XNIC_HELPER(btf_find_by_name_kind, kSyscall, R::integer,
                {A::memory_read, A::size, A::any, A::any}, invalid),
    XNIC_HELPER(copy_from_user, kAnyType, R::integer, {A::memory_write, A::size_or_zero, A::any},
                no_user_memory),
    // Cgroups.
    XNIC_HELPER(get_local_storage, kCgroup, R::map_value, {A::map, A::any}, none),
    XNIC_HELPER(get_retval, kHasRetval, R::integer, {}, none),
    XNIC_HELPER(set_retval, kHasRetval, R::integer, {A::any}, none),
    XNIC_HELPER(skb_cgroup_id, kTc | kCgroupSkb, R::integer, {A::context}, none),
    XNIC_HELPER(skb_ancestor_cgroup_id, kTc | kCgroupSkb, R::integer, {A::context, A::any}, none),
    XNIC_HELPER(skb_cgroup_classid, kTc, R::integer, {A::context}, none),
    XNIC_HELPER(skb_under_cgroup, kTc | kLwt, R::integer, {A::context, A::map, A::any}, no_entry),
    XNIC_HELPER(sk_cgroup_id, kCgroupSkb, R::integer, {A::socket}, none),
    XNIC_HELPER(sk_ancestor_cgroup_id, kCgroupSkb, R::integer, {A::socket, A::any}, none),
    XNIC_HELPER(sysctl_get_name, kCgroupSysctl, R::integer,
                {A::context, A::memory_write, A::size, A::any}, invalid),
    XNIC_HELPER(sysctl_get_current_value, kCgroupSysctl, R::integer,
                {A::context, A::memory_write, A::size}, invalid),
    XNIC_HELPER(sysctl_get_new_value, kCgroupSysctl, R::integer,
                {A::context, A::memory_write, A::size}, invalid),
    XNIC_HELPER(sysctl_set_new_value, kCgroupSysctl, R::integer,
                {A::context, A::memory_read, A::size}, invalid),
    // Sockets.
    XNIC_HELPER(getsockopt, kHasOptions, R::integer, kOption, invalid),
    XNIC_HELPER(setsockopt, kHasOptions, R::integer, kNewOption, invalid),
    XNIC_HELPER(getsockopt, kCgroupSockopt, R::integer,
                {A::socket, A::any, A::any, A::memory_write, A::size}, invalid),
    XNIC_HELPER(setsockopt, kCgroupSockopt, R::integer,
                {A::socket, A::any, A::any, A::memory_read, A::size}, invalid),
    XNIC_HELPER(bind, kCgroupAddress, R::integer, {A::context, A::memory_read, A::size}, invalid),
    XNIC_HELPER(get_socket_cookie, kSkReuseport, R::integer, {A::socket}, none),
    XNIC_HELPER(get_netns_cookie,
                kTc | kSocketFilter | kCgroupSkb | kCgroupSock | kCgroupAddress | kCgroupSockopt |
                    kMessage | kSockOps,
                R::integer, {A::context_or_null}, first),
    XNIC_HELPER(sk_storage_get,
                kTc | kCgroupSkb | kCgroupAddress | kCgroupSockopt | kMessage | kSockOps,
                R::map_value_or_null, kSocketStorage, none),
    XNIC_HELPER(sk_storage_get, kCgroupSock, R::map_value_or_null,
                {A::map, A::context, A::map_value_or_null, A::any}, none),
    XNIC_HELPER(sk_storage_delete,
                kTc | kCgroupSkb | kCgroupAddress | kCgroupSockopt | kMessage | kSockOps,
                R::integer, {A::map, A::socket}, no_entry),
    XNIC_HELPER(sk_assign, kSkLookup, R::integer, {A::context, A::full_socket_or_null, A::any},
                invalid),
    XNIC_HELPER(sk_select_reuseport, kSkReuseport, R::integer, kEntry, invalid),
    XNIC_HELPER(sk_redirect_map, kStream, R::integer, {A::context, A::map, A::any, A::any}, none),
    XNIC_HELPER(sk_redirect_hash, kStream, R::integer, kEntry, none),
    XNIC_HELPER(sock_map_update, kSockOps, R::integer, kEntry, invalid),
    XNIC_HELPER(sock_hash_update, kSockOps, R::integer, kEntry, invalid),
    XNIC_HELPER(sock_ops_cb_flags_set, kSockOps, R::integer, {A::context, A::any}, invalid),
    XNIC_HELPER(load_hdr_opt, kSockOps, R::integer, {A::context, A::memory_write, A::size, A::any},
                invalid),
    XNIC_HELPER(store_hdr_opt, kSockOps, R::integer, {A::context, A::memory_read, A::size, A::any},
                invalid, kAnyLicense, kChangesPacket),
    XNIC_HELPER(reserve_hdr_opt, kSockOps, R::integer, {A::context, A::any, A::any}, invalid),
    // Messages and packets.
    XNIC_HELPER(msg_redirect_map, kMessage, R::integer, {A::context, A::map, A::any, A::any}, none),
    XNIC_HELPER(msg_redirect_hash, kMessage, R::integer, kEntry, none),
    XNIC_HELPER(msg_apply_bytes, kMessage, R::integer, {A::context, A::any}, none),
    XNIC_HELPER(msg_cork_bytes, kMessage, R::integer, {A::context, A::any}, none),
    XNIC_HELPER(msg_pull_data, kMessage, R::integer, {A::context, A::any, A::any, A::any}, invalid,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(msg_push_data, kMessage, R::integer, {A::context, A::any, A::any, A::any}, invalid,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(msg_pop_data, kMessage, R::integer, {A::context, A::any, A::any, A::any}, invalid,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(lwt_push_encap, kLwt, R::integer, {A::context, A::any, A::memory_read, A::size},
                invalid, kAnyLicense, kChangesPacket),
    XNIC_HELPER(lwt_seg6_store_bytes, kLwtSeg6, R::integer,
                {A::context, A::any, A::memory_read, A::size}, invalid, kAnyLicense,
                kChangesPacket),
    XNIC_HELPER(lwt_seg6_action, kLwtSeg6, R::integer,
                {A::context, A::any, A::memory_read, A::size}, invalid, kAnyLicense,
                kChangesPacket),
    XNIC_HELPER(lwt_seg6_adjust_srh, kLwtSeg6, R::integer, {A::context, A::any, A::any}, invalid,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(skb_get_xfrm_state, kTc, R::integer,
                {A::context, A::any, A::memory_write, A::size, A::any}, no_namespace),
};

}  // namespace

std::span<const Helper> unrun_helpers() { return kRows; }

}  // namespace xnic::vm

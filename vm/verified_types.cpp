// Program types that are verified here and that nothing runs: no hook takes them, BPF_PROG_TEST_RUN
// answers ENOTSUPP. The rows say what Linux permits in the is_valid_access functions of its program
// types; their fields read as 0.
// Left out: LSM and netfilter.
// Test: tests/vm/verified_types_test.cpp, against Linux.
#include "vm/verified_types.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "vm/helper.h"
#include "vm/socket_types.h"
#include "vm/verified_fields.h"

namespace xnic::vm {
namespace {

// Read in parts and written in words, however its words lie.
constexpr ContextField address(std::string_view name, size_t offset, uint16_t size) {
  ContextField row = field(name, offset, size, true, true);
  row.in_pieces = true;
  return row;
}

// The arguments of a raw tracepoint, which are numbers to the verifier.
constexpr size_t kMostArguments = 12;
constexpr auto kRawTracepointFields = [] {
  std::array<ContextField, kMostArguments> fields{};
  for (size_t i = 0; i < fields.size(); ++i) fields[i] = field("args", 8 * i, 8, false, true);
  return fields;
}();

// The first may be a buffer, which is left out here: it is a number, read whole.
constexpr auto kWritableTracepointFields = [] {
  auto fields = kRawTracepointFields;
  fields[0] = read_only("args", 0, 8);
  return fields;
}();

// What a tracepoint tells, behind what is the kernel's own.
constexpr size_t kTracepointBytes = 8192;  // PERF_MAX_TRACE_SIZE
constexpr auto kTracepointFields = [] {
  std::array<ContextField, kTracepointBytes / 8 - 1> fields{};
  for (size_t i = 0; i < fields.size(); ++i) fields[i] = in_parts("field", 8 * (i + 1), 8);
  return fields;
}();

// struct pt_regs of x86-64, as user space has it.
constexpr size_t kPtRegs = 21;
constexpr auto kProbeFields = [] {
  std::array<ContextField, kPtRegs> fields{};
  for (size_t i = 0; i < fields.size(); ++i) fields[i] = field("register", 8 * i, 8, false, true);
  return fields;
}();

// struct bpf_perf_event_data: the same, read whole, then what was sampled.
constexpr auto kPerfEventFields = [] {
  std::array<ContextField, kPtRegs + 2> fields{};
  for (size_t i = 0; i < kPtRegs; ++i) fields[i] = read_only("register", 8 * i, 8);
  fields[kPtRegs] = field("sample_period", 8 * kPtRegs, 8, false, true);
  fields[kPtRegs + 1] = field("addr", 8 * kPtRegs + 8, 8, false, true);
  return fields;
}();

// What tells of the socket of a packet.
constexpr std::array kSocketFields = {
    field("family", offsetof(__sk_buff, family), 4, false, true),
    read_only("remote_ip4", offsetof(__sk_buff, remote_ip4)),
    read_only("local_ip4", offsetof(__sk_buff, local_ip4)),
    read_only("remote_ip6", offsetof(__sk_buff, remote_ip6[0])),
    read_only("remote_ip6", offsetof(__sk_buff, remote_ip6[1])),
    read_only("remote_ip6", offsetof(__sk_buff, remote_ip6[2])),
    read_only("remote_ip6", offsetof(__sk_buff, remote_ip6[3])),
    read_only("local_ip6", offsetof(__sk_buff, local_ip6[0])),
    read_only("local_ip6", offsetof(__sk_buff, local_ip6[1])),
    read_only("local_ip6", offsetof(__sk_buff, local_ip6[2])),
    read_only("local_ip6", offsetof(__sk_buff, local_ip6[3])),
    field("remote_port", offsetof(__sk_buff, remote_port), 4, false, true),
    field("local_port", offsetof(__sk_buff, local_port), 4, false, true),
};

constexpr bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// __sk_buff without some fields, with few that may be written.
std::vector<ContextField> skb_fields(std::span<const ContextField> all,
                                     std::initializer_list<std::string_view> refused,
                                     std::initializer_list<std::string_view> writable,
                                     bool has_socket_fields) {
  std::vector<ContextField> fields;
  for (ContextField row : all) {
    if (is_one_of(row.name, refused)) continue;
    const std::string_view name = row.name.starts_with("cb[") ? "cb" : row.name;
    if (row.writable && !is_one_of(name, writable)) {
      row.writable = false;
      row.store = nullptr;
    }
    fields.push_back(row);
  }
  if (has_socket_fields) {
    fields.insert(fields.end(), kSocketFields.begin(), kSocketFields.end());
  }
  return fields;
}

constexpr std::array kMessageFields = {
    pointer("data", offsetof(sk_msg_md, data), 8, Points::packet),
    pointer("data_end", offsetof(sk_msg_md, data_end), 8, Points::packet_end),
    read_only("family", offsetof(sk_msg_md, family)),
    read_only("remote_ip4", offsetof(sk_msg_md, remote_ip4)),
    read_only("local_ip4", offsetof(sk_msg_md, local_ip4)),
    read_only("remote_ip6", offsetof(sk_msg_md, remote_ip6[0])),
    read_only("remote_ip6", offsetof(sk_msg_md, remote_ip6[1])),
    read_only("remote_ip6", offsetof(sk_msg_md, remote_ip6[2])),
    read_only("remote_ip6", offsetof(sk_msg_md, remote_ip6[3])),
    read_only("local_ip6", offsetof(sk_msg_md, local_ip6[0])),
    read_only("local_ip6", offsetof(sk_msg_md, local_ip6[1])),
    read_only("local_ip6", offsetof(sk_msg_md, local_ip6[2])),
    read_only("local_ip6", offsetof(sk_msg_md, local_ip6[3])),
    read_only("remote_port", offsetof(sk_msg_md, remote_port)),
    read_only("local_port", offsetof(sk_msg_md, local_port)),
    read_only("size", offsetof(sk_msg_md, size)),
    pointer("sk", offsetof(sk_msg_md, sk), 8, Points::socket),
};

constexpr std::array kAddressFields = {
    read_only("user_family", offsetof(bpf_sock_addr, user_family)),
    address("user_ip4", offsetof(bpf_sock_addr, user_ip4), 4),
    address("user_ip6", offsetof(bpf_sock_addr, user_ip6[0]), 8),
    address("user_ip6", offsetof(bpf_sock_addr, user_ip6[2]), 8),
    address("user_port", offsetof(bpf_sock_addr, user_port), 4),
    read_only("family", offsetof(bpf_sock_addr, family)),
    read_only("type", offsetof(bpf_sock_addr, type)),
    read_only("protocol", offsetof(bpf_sock_addr, protocol)),
    address("msg_src_ip4", offsetof(bpf_sock_addr, msg_src_ip4), 4),
    address("msg_src_ip6", offsetof(bpf_sock_addr, msg_src_ip6[0]), 4),
    address("msg_src_ip6", offsetof(bpf_sock_addr, msg_src_ip6[1]), 8),
    address("msg_src_ip6", offsetof(bpf_sock_addr, msg_src_ip6[3]), 4),
    pointer("sk", offsetof(bpf_sock_addr, sk), 8, Points::socket),
};

bool is_ipv4(uint32_t attach_type) {
  switch (attach_type) {
    case BPF_CGROUP_INET4_BIND:
    case BPF_CGROUP_INET4_CONNECT:
    case BPF_CGROUP_INET4_GETPEERNAME:
    case BPF_CGROUP_INET4_GETSOCKNAME:
    case BPF_CGROUP_UDP4_SENDMSG:
    case BPF_CGROUP_UDP4_RECVMSG:
      return true;
    default:
      return false;
  }
}

bool is_ipv6(uint32_t attach_type) {
  switch (attach_type) {
    case BPF_CGROUP_INET6_BIND:
    case BPF_CGROUP_INET6_CONNECT:
    case BPF_CGROUP_INET6_GETPEERNAME:
    case BPF_CGROUP_INET6_GETSOCKNAME:
    case BPF_CGROUP_UDP6_SENDMSG:
    case BPF_CGROUP_UDP6_RECVMSG:
      return true;
    default:
      return false;
  }
}

bool address_has_field(const ContextField& field, uint32_t attach_type, bool) {
  if (field.name == "user_ip4") return is_ipv4(attach_type);
  if (field.name == "user_ip6") return is_ipv6(attach_type);
  if (field.name == "msg_src_ip4") return attach_type == BPF_CGROUP_UDP4_SENDMSG;
  if (field.name == "msg_src_ip6") return attach_type == BPF_CGROUP_UDP6_SENDMSG;
  return true;
}

// Attach types for Unix sockets, which older headers lack (BPF_CGROUP_UNIX_*).
constexpr uint32_t kUnixReceive = 51;
constexpr uint32_t kUnixGetPeerName = 52;
constexpr uint32_t kUnixGetSockName = 53;

ResultRange address_results(uint32_t attach_type) {
  switch (attach_type) {
    case BPF_CGROUP_UDP4_RECVMSG:
    case BPF_CGROUP_UDP6_RECVMSG:
    case kUnixReceive:
    case BPF_CGROUP_INET4_GETPEERNAME:
    case BPF_CGROUP_INET6_GETPEERNAME:
    case kUnixGetPeerName:
    case BPF_CGROUP_INET4_GETSOCKNAME:
    case BPF_CGROUP_INET6_GETSOCKNAME:
    case kUnixGetSockName:
      return {1, 1};
    case BPF_CGROUP_INET4_BIND:
    case BPF_CGROUP_INET6_BIND:
      return {0, 3};
    default:
      return {0, 1};
  }
}

// struct bpf_sock as programs of cgroups see the socket that is made, bound or released. Linux also
// permits reads of 1 and 2 bytes at the start of some fields, and of 4 at that of the port.
constexpr std::array kSockFields = {
    field("bound_dev_if", offsetof(bpf_sock, bound_dev_if), 4, true, false),
    read_only("family", offsetof(bpf_sock, family)),
    read_only("type", offsetof(bpf_sock, type)),
    read_only("protocol", offsetof(bpf_sock, protocol)),
    field("mark", offsetof(bpf_sock, mark), 4, true, false),
    field("priority", offsetof(bpf_sock, priority), 4, true, false),
    field("src_ip4", offsetof(bpf_sock, src_ip4), 4, false, true),
    field("src_ip6", offsetof(bpf_sock, src_ip6[0]), 4, false, true),
    field("src_ip6", offsetof(bpf_sock, src_ip6[1]), 4, false, true),
    field("src_ip6", offsetof(bpf_sock, src_ip6[2]), 4, false, true),
    field("src_ip6", offsetof(bpf_sock, src_ip6[3]), 4, false, true),
    read_only("src_port", offsetof(bpf_sock, src_port)),
    field("dst_port", offsetof(bpf_sock, dst_port), 2, false, true),
    field("dst_ip4", offsetof(bpf_sock, dst_ip4), 4, false, true),
    field("dst_ip6", offsetof(bpf_sock, dst_ip6[0]), 4, false, true),
    field("dst_ip6", offsetof(bpf_sock, dst_ip6[1]), 4, false, true),
    field("dst_ip6", offsetof(bpf_sock, dst_ip6[2]), 4, false, true),
    field("dst_ip6", offsetof(bpf_sock, dst_ip6[3]), 4, false, true),
    read_only("state", offsetof(bpf_sock, state)),
    read_only("rx_queue_mapping", offsetof(bpf_sock, rx_queue_mapping)),
};

bool sock_has_field(const ContextField& field, uint32_t attach_type, bool) {
  if (is_one_of(field.name, {"bound_dev_if", "mark", "priority"})) {
    return attach_type == BPF_CGROUP_INET_SOCK_CREATE ||
           attach_type == BPF_CGROUP_INET_SOCK_RELEASE;
  }
  const bool bound4 = attach_type == BPF_CGROUP_INET4_POST_BIND;
  const bool bound6 = attach_type == BPF_CGROUP_INET6_POST_BIND;
  if (field.name == "src_ip4") return bound4;
  if (field.name == "src_ip6") return bound6;
  if (field.name == "src_port") return bound4 || bound6;
  return true;
}

// Iterators go on or come again; functions are left as they are; tracepoints hear nothing.
ResultRange tracing_results(uint32_t attach_type) {
  switch (attach_type) {
    case BPF_TRACE_FENTRY:
    case BPF_TRACE_FEXIT:
      return {0, 0};
    case BPF_TRACE_ITER:
      return {0, 1};
    default:
      return kAnyResult;
  }
}
ResultRange zero_or_one(uint32_t) { return {0, 1}; }
ResultRange cgroup_skb_results(uint32_t attach_type) {
  return {0, attach_type == BPF_CGROUP_INET_EGRESS ? 3 : 1};
}

std::string_view no_verdict(uint32_t) { return "NONE"; }
Action no_action(uint32_t) { return Action::pass; }

ProgramType row(bpf_prog_type type, std::string_view name, uint32_t helpers, size_t context_size,
                std::span<const ContextField> fields) {
  return {type, name, helpers, static_cast<uint32_t>(context_size), fields, no_verdict, no_action};
}

}  // namespace

std::vector<ProgramType> verified_program_types(std::span<const ContextField> skb) {
  static const auto kCgroupSkbFields =
      skb_fields(skb, {"tc_classid", "data_meta", "wire_len", "tstamp_type"},
                 {"mark", "priority", "cb", "tstamp"}, true);
  static const auto kLwtFields =
      skb_fields(skb, {"tc_classid", "data_meta", "tstamp", "wire_len", "hwtstamp", "tstamp_type"},
                 {"mark", "priority", "cb"}, false);
  static const auto kStreamFields = skb_fields(
      skb, {"tc_classid", "data_meta", "tstamp", "wire_len", "hwtstamp", "tstamp_type", "mark"},
      {"tc_index", "priority"}, true);
  constexpr size_t kSkb = sizeof(__sk_buff);
  std::vector<ProgramType> rows = {
      row(BPF_PROG_TYPE_TRACEPOINT, "tracepoint", kTracing, kTracepointBytes, kTracepointFields),
      row(BPF_PROG_TYPE_RAW_TRACEPOINT, "raw_tracepoint", kTracing, 8 * kMostArguments,
          kRawTracepointFields),
      row(BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, "raw_tracepoint_writable", kTracing,
          8 * kMostArguments, kWritableTracepointFields),
      row(BPF_PROG_TYPE_KPROBE, "kprobe", kTracing, 8 * kPtRegs, kProbeFields),
      row(BPF_PROG_TYPE_PERF_EVENT, "perf_event", kTracing | kPerfEvent, 8 * kPtRegs + 16,
          kPerfEventFields),
      row(BPF_PROG_TYPE_CGROUP_SKB, "cgroup_skb", kCgroupSkb, kSkb, kCgroupSkbFields),
      row(BPF_PROG_TYPE_LWT_IN, "lwt_in", kLwt, kSkb, kLwtFields),
      row(BPF_PROG_TYPE_LWT_OUT, "lwt_out", kLwt, kSkb, kLwtFields),
      row(BPF_PROG_TYPE_LWT_XMIT, "lwt_xmit", kLwt | kLwtXmit, kSkb, kLwtFields),
      row(BPF_PROG_TYPE_LWT_SEG6LOCAL, "lwt_seg6local", kLwt | kLwtSeg6, kSkb, kLwtFields),
      row(BPF_PROG_TYPE_SK_SKB, "sk_skb", kStream, kSkb, kStreamFields),
      row(BPF_PROG_TYPE_SK_MSG, "sk_msg", kMessage, sizeof(sk_msg_md), kMessageFields),
      row(BPF_PROG_TYPE_CGROUP_SOCK, "cgroup_sock", kCgroupSock, sizeof(bpf_sock), kSockFields),
      row(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "cgroup_sock_addr", kCgroupAddress, sizeof(bpf_sock_addr),
          kAddressFields),
  };
  constexpr size_t kMostOfContext = 0xffff;
  rows.push_back(row(BPF_PROG_TYPE_TRACING, "tracing", kBtfTracing, 8 * kMostArguments, {}));
  rows.push_back(row(BPF_PROG_TYPE_STRUCT_OPS, "struct_ops", kStructOps, 8 * kMostArguments, {}));
  rows.push_back(row(BPF_PROG_TYPE_SYSCALL, "syscall", kSyscall, kMostOfContext, {}));
  for (ProgramType& type : rows) {
    switch (type.type) {
      case BPF_PROG_TYPE_TRACING:
        type.has_typed_arguments = true;
        type.results = tracing_results;
        break;
      case BPF_PROG_TYPE_SYSCALL:
        type.context_is_memory = true;
        break;
      case BPF_PROG_TYPE_STRUCT_OPS:
        type.has_typed_arguments = true;
        break;
      case BPF_PROG_TYPE_CGROUP_SKB:
        type.packet_is_read_only = true;
        type.results = cgroup_skb_results;
        break;
      case BPF_PROG_TYPE_LWT_IN:
      case BPF_PROG_TYPE_LWT_OUT:
      case BPF_PROG_TYPE_LWT_SEG6LOCAL:
        type.packet_is_read_only = true;
        break;
      case BPF_PROG_TYPE_CGROUP_SOCK:
        type.has_field = sock_has_field;
        type.results = zero_or_one;
        break;
      case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
        type.has_field = address_has_field;
        type.results = address_results;
        break;
      default:
        break;
    }
  }
  for (const ProgramType& type : socket_program_types()) rows.push_back(type);
  for (ProgramType& type : rows) type.is_only_verified = true;
  return rows;
}

}  // namespace xnic::vm

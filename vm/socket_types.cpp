// What Linux permits in the is_valid_access functions of these types (net/core/filter.c,
// kernel/bpf/cgroup.c, net/netfilter). Test: tests/vm/verified_types_test.cpp, against Linux.
#include "vm/socket_types.h"

#include <array>
#include <cstddef>

#include "vm/helper.h"
#include "vm/verified_fields.h"

namespace xnic::vm {
namespace {

// struct bpf_sock_ops: words, but for what counts bytes and for addresses.
constexpr auto kSockOpsFields = [] {
  constexpr size_t kFirst = offsetof(bpf_sock_ops, op);
  constexpr size_t kWords = (offsetof(bpf_sock_ops, bytes_received) - kFirst) / 4;
  std::array<ContextField, kWords + 8> fields{};
  for (size_t i = 0; i < kWords; ++i) {
    const size_t at = kFirst + 4 * i;
    const bool writable =
        at == offsetof(bpf_sock_ops, reply) || at == offsetof(bpf_sock_ops, sk_txhash);
    fields[i] = field("word", at, 4, writable, false);
  }
  constexpr size_t kFlags = offsetof(bpf_sock_ops, skb_tcp_flags);
  const std::array rest = {
      read_only("bytes_received", offsetof(bpf_sock_ops, bytes_received), 8),
      read_only("bytes_acked", offsetof(bpf_sock_ops, bytes_acked), 8),
      pointer("sk", offsetof(bpf_sock_ops, sk), 8, Points::socket_or_null),
      pointer("skb_data", offsetof(bpf_sock_ops, skb_data), 8, Points::packet),
      pointer("skb_data_end", offsetof(bpf_sock_ops, skb_data_end), 8, Points::packet_end),
      read_only("skb_len", offsetof(bpf_sock_ops, skb_len)),
      // Linux lets its first byte and half be read alone, too.
      read_only("skb_tcp_flags", kFlags),
      read_only("skb_hwtstamp", kFlags + 4, 8),
  };
  for (size_t i = 0; i < rest.size(); ++i) fields[kWords + i] = rest[i];
  return fields;
}();
constexpr size_t kSockOpsBytes = offsetof(bpf_sock_ops, skb_tcp_flags) + 12;

constexpr std::array kSkLookupFields = {
    pointer("sk", offsetof(bpf_sk_lookup, sk), 8, Points::socket_or_null),
    in_parts("family", offsetof(bpf_sk_lookup, family)),
    in_parts("protocol", offsetof(bpf_sk_lookup, protocol)),
    in_parts("remote_ip4", offsetof(bpf_sk_lookup, remote_ip4)),
    in_parts("remote_ip6", offsetof(bpf_sk_lookup, remote_ip6[0])),
    in_parts("remote_ip6", offsetof(bpf_sk_lookup, remote_ip6[1])),
    in_parts("remote_ip6", offsetof(bpf_sk_lookup, remote_ip6[2])),
    in_parts("remote_ip6", offsetof(bpf_sk_lookup, remote_ip6[3])),
    // With the zeros behind it.
    in_parts("remote_port", offsetof(bpf_sk_lookup, remote_port)),
    in_parts("local_ip4", offsetof(bpf_sk_lookup, local_ip4)),
    in_parts("local_ip6", offsetof(bpf_sk_lookup, local_ip6[0])),
    in_parts("local_ip6", offsetof(bpf_sk_lookup, local_ip6[1])),
    in_parts("local_ip6", offsetof(bpf_sk_lookup, local_ip6[2])),
    in_parts("local_ip6", offsetof(bpf_sk_lookup, local_ip6[3])),
    in_parts("local_port", offsetof(bpf_sk_lookup, local_port)),
    in_parts("ingress_ifindex", offsetof(bpf_sk_lookup, ingress_ifindex)),
};

constexpr std::array kSkReuseportFields = {
    pointer("data", offsetof(sk_reuseport_md, data), 8, Points::packet),
    pointer("data_end", offsetof(sk_reuseport_md, data_end), 8, Points::packet_end),
    in_parts("len", offsetof(sk_reuseport_md, len)),
    [] {
      ContextField row = in_parts("eth_protocol", offsetof(sk_reuseport_md, eth_protocol));
      row.least = 2;
      return row;
    }(),
    in_parts("ip_protocol", offsetof(sk_reuseport_md, ip_protocol)),
    in_parts("bind_inany", offsetof(sk_reuseport_md, bind_inany)),
    read_only("hash", offsetof(sk_reuseport_md, hash)),
    pointer("sk", offsetof(sk_reuseport_md, sk), 8, Points::socket),
    pointer("migrating_sk", offsetof(sk_reuseport_md, migrating_sk), 8,
            Points::socket_common_or_null),
};

constexpr std::array kSockoptFields = {
    pointer("sk", offsetof(bpf_sockopt, sk), 8, Points::socket),
    pointer("optval", offsetof(bpf_sockopt, optval), 8, Points::packet),
    pointer("optval_end", offsetof(bpf_sockopt, optval_end), 8, Points::packet_end),
    field("level", offsetof(bpf_sockopt, level), 4, true, false),
    field("optname", offsetof(bpf_sockopt, optname), 4, true, false),
    field("optlen", offsetof(bpf_sockopt, optlen), 4, true, false),
    field("retval", offsetof(bpf_sockopt, retval), 4, true, false),
};

bool sockopt_has_field(const ContextField& field, uint32_t attach_type, bool write) {
  if (field.name == "retval") return attach_type == BPF_CGROUP_GETSOCKOPT;
  const bool is_asked_for = field.name == "level" || field.name == "optname";
  return !write || !is_asked_for || attach_type == BPF_CGROUP_SETSOCKOPT;
}

constexpr std::array kSysctlFields = {
    in_parts("write", offsetof(bpf_sysctl, write)),
    field("file_pos", offsetof(bpf_sysctl, file_pos), 4, true, true),
};

constexpr std::array kDeviceFields = {
    in_parts("access_type", offsetof(bpf_cgroup_dev_ctx, access_type)),
    read_only("major", offsetof(bpf_cgroup_dev_ctx, major)),
    read_only("minor", offsetof(bpf_cgroup_dev_ctx, minor)),
};

constexpr std::array kFlowDissectorFields = {
    pointer("data", offsetof(__sk_buff, data), 4, Points::packet),
    pointer("data_end", offsetof(__sk_buff, data_end), 4, Points::packet_end),
    pointer("flow_keys", offsetof(__sk_buff, flow_keys), 8, Points::flow_keys),
};

ResultRange zero_or_one(uint32_t) { return {0, 1}; }
std::string_view no_verdict(uint32_t) { return "NONE"; }
Action no_action(uint32_t) { return Action::pass; }

ProgramType row(bpf_prog_type type, std::string_view name, uint32_t helpers, size_t context_size,
                std::span<const ContextField> fields) {
  ProgramType row{type,   name,       helpers,  static_cast<uint32_t>(context_size),
                  fields, no_verdict, no_action};
  row.packet_is_read_only = type != BPF_PROG_TYPE_CGROUP_SOCKOPT;
  const bool decides = type != BPF_PROG_TYPE_SK_REUSEPORT && type != BPF_PROG_TYPE_FLOW_DISSECTOR;
  if (decides) row.results = zero_or_one;
  if (type == BPF_PROG_TYPE_CGROUP_SOCKOPT) row.has_field = sockopt_has_field;
  return row;
}

}  // namespace

std::vector<ProgramType> socket_program_types() {
  return {
      row(BPF_PROG_TYPE_SOCK_OPS, "sock_ops", kSockOps, kSockOpsBytes, kSockOpsFields),
      row(BPF_PROG_TYPE_SK_LOOKUP, "sk_lookup", kSkLookup, sizeof(bpf_sk_lookup), kSkLookupFields),
      row(BPF_PROG_TYPE_SK_REUSEPORT, "sk_reuseport", kSkReuseport, sizeof(sk_reuseport_md),
          kSkReuseportFields),
      row(BPF_PROG_TYPE_CGROUP_SOCKOPT, "cgroup_sockopt", kCgroupSockopt, sizeof(bpf_sockopt),
          kSockoptFields),
      row(BPF_PROG_TYPE_CGROUP_SYSCTL, "cgroup_sysctl", kCgroupSysctl, sizeof(bpf_sysctl),
          kSysctlFields),
      row(BPF_PROG_TYPE_CGROUP_DEVICE, "cgroup_device", kCgroupDevice, sizeof(bpf_cgroup_dev_ctx),
          kDeviceFields),
      row(BPF_PROG_TYPE_FLOW_DISSECTOR, "flow_dissector", kFlowDissector, sizeof(__sk_buff),
          kFlowDissectorFields),
  };
}

}  // namespace xnic::vm

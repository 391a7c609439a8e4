// Helpers that read and set what an sk_buff has besides its bytes, and the one that sends a clone.
// Test: tests/bpf/skb_fields and tests/differential/skb_script_test.cpp, compared with Linux.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <cerrno>
#include <cstring>

#include "vm/checksum.h"
#include "vm/flow_hash.h"
#include "vm/helpers/rows.h"
#include "vm/net_device.h"

namespace xnic::vm {
namespace {

uint64_t skb_change_type(Invocation& run, uint64_t, uint64_t type, uint64_t, uint64_t, uint64_t) {
  const auto wanted = static_cast<uint32_t>(type);
  if (run.packet.skb.pkt_type > PACKET_OTHERHOST || wanted > PACKET_OTHERHOST) {
    return result(-EINVAL);
  }
  run.packet.skb.pkt_type = wanted;
  return 0;
}

uint64_t get_hash_recalc(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  SkbFields& skb = run.packet.skb;
  if (skb.hash == 0 && !skb.hash_is_set) skb.hash = flow_hash(run.packet);
  return skb.hash;
}

uint64_t set_hash(Invocation& run, uint64_t, uint64_t hash, uint64_t, uint64_t, uint64_t) {
  run.packet.skb.hash = static_cast<uint32_t>(hash);
  run.packet.skb.hash_is_set = true;
  return 0;
}

uint64_t set_hash_invalid(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  run.packet.skb.hash = 0;
  run.packet.skb.hash_is_set = false;
  return 0;
}

uint64_t skb_set_tstamp(Invocation& run, uint64_t, uint64_t tstamp, uint64_t type, uint64_t,
                        uint64_t) {
  constexpr uint32_t kRealtime = 0;  // BPF_SKB_CLOCK_*: the others are monotonic, TAI
  constexpr uint32_t kTai = 2;
  SkbFields& skb = run.packet.skb;
  if (skb.protocol != htons(ETH_P_IP) && skb.protocol != htons(ETH_P_IPV6)) {
    return result(-EOPNOTSUPP);
  }
  const auto clock = static_cast<uint32_t>(type);
  if (clock > kTai || (clock != kRealtime && tstamp == 0)) return result(-EINVAL);
  skb.tstamp = tstamp;
  skb.tstamp_type = static_cast<uint8_t>(clock);
  return 0;
}

// The protocol behind the VLAN tags in the bytes; 0 if they do not end.
uint16_t protocol_behind_tags(const Packet& packet) {
  constexpr int kMaxTags = 8;
  uint16_t protocol = packet.skb.protocol;
  // With its length known, the link layer's header counts the first tag.
  uint32_t at = packet.skb.mac_length == 0 ? kEthernetHeader : packet.skb.mac_length - kVlanTag;
  for (int tags = 1; is_vlan(protocol); ++tags, at += kVlanTag) {
    std::array<uint8_t, 2> next{};
    if (tags == kMaxTags || !packet.read(at + 2, next)) return 0;
    std::memcpy(&protocol, next.data(), sizeof protocol);
  }
  return protocol;
}

// RFC 3168, 5: a packet whose ends understand it is marked, and the IPv4 header's checksum follows.
// 1 if the mark is there afterwards.
uint64_t skb_ecn_set_ce(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  constexpr uint8_t kMask = 3;
  constexpr uint8_t kNotCapable = 0;
  constexpr uint8_t kCe = 3;
  Packet& packet = run.packet;
  const uint16_t protocol = protocol_behind_tags(packet);
  const bool v4 = protocol == htons(ETH_P_IP);
  if (!v4 && protocol != htons(ETH_P_IPV6)) return 0;
  const int64_t end = packet.network_offset() + (v4 ? 20 : 40);
  if (end > packet.linear_length()) return 0;
  uint8_t* header = packet.network_header();
  const uint8_t mark = (v4 ? header[1] : header[1] >> 4) & kMask;
  if (mark == kNotCapable) return 0;
  if (v4) {
    if (mark == kCe) return 1;
    uint16_t checksum;
    std::memcpy(&checksum, header + 10, sizeof checksum);
    const uint32_t sum = checksum + uint32_t{htons(static_cast<uint16_t>(0xfffb + mark + 1))};
    checksum = static_cast<uint16_t>(sum + (sum >> 16));
    std::memcpy(header + 10, &checksum, sizeof checksum);
    header[1] |= kCe;
    return 1;
  }
  const uint32_t before = sum_of({header, 4});
  header[1] |= kCe << 4;
  if (packet.skb.checksum_state == ChecksumState::complete) {
    packet.skb.checksum = sum_add(sum_subtract(packet.skb.checksum, before), sum_of({header, 4}));
  }
  return 1;
}

// No packet here belongs to a task or has a route.
uint64_t get_cgroup_classid(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return 0;
}
uint64_t get_route_realm(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return 0;
}

uint64_t clone_redirect(Invocation& run, uint64_t, uint64_t ifindex, uint64_t flags, uint64_t,
                        uint64_t) {
  Packet& packet = run.packet;
  const auto device = static_cast<uint32_t>(ifindex);
  if ((flags & ~uint64_t{BPF_F_INGRESS}) != 0) return result(-EINVAL);
  if (packet.skb.gso_size != 0 && packet.skb.gso_type == 0) return result(-EBADMSG);
  if (run.environment.network->by_index(device) == nullptr) return result(-EINVAL);
  auto clone = std::make_unique<Packet>();
  clone->copy(packet);
  packet.unclone();
  // Only what has a link layer header goes to these devices.
  if (clone->headers.mac >= clone->headers.network) return result(-ERANGE);
  run.clones.push_back(
      {std::move(clone), {.kind = Redirect::Kind::interface, .ifindex = device, .flags = flags}});
  return 0;
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(skb_change_type, kTc, R::integer, {A::context, A::any}, skb_change_type),
    XNIC_HELPER(get_hash_recalc, kTc | kLwt, R::integer, {A::context}, get_hash_recalc),
    XNIC_HELPER(set_hash, kTc, R::integer, {A::context, A::any}, set_hash),
    XNIC_HELPER(set_hash_invalid, kTc | kLwtXmit, R::integer, {A::context}, set_hash_invalid),
    XNIC_HELPER(skb_set_tstamp, kTc, R::integer, {A::context, A::any, A::any}, skb_set_tstamp),
    XNIC_HELPER(skb_ecn_set_ce, kTc | kCgroupSkb, R::integer, {A::context}, skb_ecn_set_ce),
    XNIC_HELPER(get_cgroup_classid, kTc | kLwt, R::integer, {A::context}, get_cgroup_classid),
    XNIC_HELPER(get_route_realm, kTc | kLwt, R::integer, {A::context}, get_route_realm),
    XNIC_HELPER(clone_redirect, kTc | kLwtXmit, R::integer, {A::context, A::any, A::any},
                clone_redirect, kAnyLicense, kChangesPacket),
};

}  // namespace

std::span<const Helper> skb_field_helpers() { return kRows; }

}  // namespace xnic::vm

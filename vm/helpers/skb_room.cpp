// Helpers that make or take room between the link layer and the network layer of an sk_buff, or
// behind the network header, for tunnels and for translation between IPv4 and IPv6.
// Left out: the offsets of inner headers, which no helper shows.
// Test: tests/bpf/skb_room and tests/differential/skb_script_test.cpp, compared with Linux;
// tests/vm/skb_test.cpp for segmented packets, whose kind BPF_PROG_TEST_RUN does not know.
#include "vm/helpers/skb_room.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vm/helpers/rows.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kIpv4Header = 20;
constexpr uint32_t kIpv6Header = 40;
constexpr uint32_t kMaxRoom = 0xfff;

// SKB_GSO_*, the kernel's own numbers: how a packet with gso_size is to be segmented.
constexpr uint32_t kGsoTcpV4 = 1u << 0;
constexpr uint32_t kGsoDodgy = 1u << 1;  // headers are to be checked first
constexpr uint32_t kGsoTcpV6 = 1u << 4;
constexpr uint32_t kGsoGre = 1u << 6;
constexpr uint32_t kGsoIpv4Tunnel = 1u << 8;
constexpr uint32_t kGsoIpv6Tunnel = 1u << 9;
constexpr uint32_t kGsoUdpTunnel = 1u << 10;
constexpr uint32_t kGsoUdp = 1u << 17;

constexpr uint64_t kEncapL3 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
constexpr uint64_t kEncapL4 = BPF_F_ADJ_ROOM_ENCAP_L4_GRE | BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
constexpr uint64_t kDecapL3 = uapi::kDecapIpv4 | uapi::kDecapIpv6;
constexpr uint64_t kInnerMacShift = 56;  // BPF_ADJ_ROOM_ENCAP_L2_SHIFT

bool is_ip(uint16_t protocol) {
  return protocol == htons(ETH_P_IP) || protocol == htons(ETH_P_IPV6);
}

uint32_t ip_header(uint16_t protocol) {
  return protocol == htons(ETH_P_IP) ? kIpv4Header : kIpv6Header;
}

uint32_t mac_header_length(const Packet& packet) {
  return static_cast<uint32_t>(int32_t{packet.headers.network} - packet.headers.mac);
}

// The link and network headers stay where they are from the start of data on, which has moved.
struct KeptHeaders {
  explicit KeptHeaders(const Packet& packet)
      : mac(packet.mac_offset()),
        network(packet.network_offset()),
        transport_is_network(packet.headers.transport == packet.headers.network) {}
  void put_back(Packet& packet) const {
    packet.set_mac_offset(mac);
    packet.set_network_offset(network);
    if (transport_is_network) packet.headers.transport = packet.headers.network;
  }

  int32_t mac;
  int32_t network;
  bool transport_is_network;
};

// Zeros come in at `offset`; what lies in front moves. Linux goes on behind the end of a packet
// that was cut off in its headers; here there is nothing.
void push_room(Packet& packet, uint32_t offset, uint32_t count) {
  const KeptHeaders headers(packet);
  packet.ensure_headroom(count);
  packet.push(count);
  const uint32_t end = packet.linear_length();
  std::memmove(packet.data(), packet.data() + count, std::min(offset, end - count));
  if (offset < end) std::memset(packet.data() + offset, 0, std::min(count, end - offset));
  headers.put_back(packet);
}

// 0 or -errno.
int pop_room(Packet& packet, uint32_t offset, uint32_t count) {
  const uint64_t end = uint64_t{offset} + count;
  if (end > packet.length() || !packet.ensure_linear(offset + count)) return -ENOMEM;
  const KeptHeaders headers(packet);
  remove_from_sum(packet, {packet.data() + offset, count});
  std::memmove(packet.data() + count, packet.data(), offset);
  packet.pull(count);
  headers.put_back(packet);
  return 0;
}

uint64_t skb_change_proto(Invocation& run, uint64_t, uint64_t to, uint64_t flags, uint64_t,
                          uint64_t) {
  constexpr uint32_t kDifference = kIpv6Header - kIpv4Header;
  if (flags != 0) return result(-EINVAL);
  Packet& packet = run.packet;
  SkbFields& skb = packet.skb;
  const auto protocol = static_cast<uint16_t>(to);
  if (!is_ip(protocol) || !is_ip(skb.protocol) || protocol == skb.protocol) {
    return result(-kNotSupported);
  }
  const uint32_t at = mac_header_length(packet);
  const bool to_v6 = protocol == htons(ETH_P_IPV6);
  if (to_v6) {
    push_room(packet, at, kDifference);
  } else if (const int error = pop_room(packet, at, kDifference); error != 0) {
    return result(error);
  }
  if (skb.gso_size != 0) {
    const uint32_t from = to_v6 ? kGsoTcpV4 : kGsoTcpV6;
    if ((skb.gso_type & from) != 0) skb.gso_type ^= kGsoTcpV4 | kGsoTcpV6;
    skb.gso_type |= kGsoDodgy;
  }
  skb.protocol = protocol;
  skb.hash = 0;
  skb.hash_is_set = false;
  return 0;
}

// Whether headers in front of segments may change: the length of UDP's is theirs to keep.
bool may_resize_segments(const SkbFields& skb, uint64_t flags) {
  if (skb.gso_size == 0 || (skb.gso_type & (kGsoTcpV4 | kGsoTcpV6)) != 0) return true;
  return (skb.gso_type & kGsoUdp) != 0 && (flags & BPF_F_ADJ_ROOM_FIXED_GSO) != 0;
}

// Segments have `growth` bytes less to carry; how many there are is to be counted anew.
void resize_segments(SkbFields& skb, uint64_t flags, int32_t growth, uint32_t gso_type) {
  if (skb.gso_size == 0) return;
  skb.gso_type |= gso_type;
  skb.gso_segs = 0;
  if ((flags & BPF_F_ADJ_ROOM_FIXED_GSO) == 0) {
    skb.gso_size = static_cast<uint16_t>(static_cast<int32_t>(skb.gso_size) - growth);
  }
}

int objection_to_encapsulation(const SkbFields& skb, uint32_t count, uint64_t flags) {
  const auto inner_mac = static_cast<uint32_t>(flags >> kInnerMacShift);
  if (!is_ip(skb.protocol)) return -kNotSupported;
  if ((flags & kEncapL3) == kEncapL3 || (flags & kEncapL4) == kEncapL4) return -EINVAL;
  if ((flags & BPF_F_ADJ_ROOM_ENCAP_L2_ETH) != 0 && inner_mac < kEthernetHeader) return -EINVAL;
  if (skb.encapsulation) return -EALREADY;
  return inner_mac > count ? -EINVAL : 0;
}

uint32_t tunnel_gso_type(uint64_t flags) {
  if ((flags & BPF_F_ADJ_ROOM_ENCAP_L4_UDP) != 0) return kGsoUdpTunnel;
  if ((flags & BPF_F_ADJ_ROOM_ENCAP_L4_GRE) != 0) return kGsoGre;
  return (flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) != 0 ? kGsoIpv6Tunnel : kGsoIpv4Tunnel;
}

int grow(Packet& packet, uint32_t offset, uint32_t count, uint64_t flags) {
  SkbFields& skb = packet.skb;
  if (!may_resize_segments(skb, flags)) return -kNotSupported;
  packet.ensure_headroom(count);
  const bool encapsulates = (flags & kEncapL3) != 0;
  const uint32_t mac_length = mac_header_length(packet);
  if (encapsulates) {
    if (const int error = objection_to_encapsulation(skb, count, flags); error != 0) return error;
  }
  push_room(packet, offset, count);
  uint32_t gso_type = kGsoDodgy;
  if (encapsulates) {
    const bool outer_v6 = (flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) != 0;
    skb.encapsulation = true;
    const uint32_t outer_header = outer_v6 ? kIpv6Header : kIpv4Header;
    packet.set_network_offset(static_cast<int32_t>(mac_length));
    if ((flags & kEncapL4) != 0) {
      packet.set_transport_offset(static_cast<int32_t>(mac_length + outer_header));
    }
    skb.protocol = htons(outer_v6 ? ETH_P_IPV6 : ETH_P_IP);
    gso_type |= tunnel_gso_type(flags);
  }
  resize_segments(skb, flags, static_cast<int32_t>(count), gso_type);
  return 0;
}

int shrink(Packet& packet, uint32_t offset, uint32_t count, uint64_t flags) {
  SkbFields& skb = packet.skb;
  constexpr uint64_t kKnown = BPF_F_ADJ_ROOM_FIXED_GSO | kDecapL3 | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
  if ((flags & ~kKnown) != 0) return -EINVAL;
  if (!may_resize_segments(skb, flags)) return -kNotSupported;
  if (const int error = pop_room(packet, offset, count); error != 0) return error;
  if ((flags & kDecapL3) != 0) {
    skb.protocol = htons((flags & uapi::kDecapIpv6) != 0 ? ETH_P_IPV6 : ETH_P_IP);
  }
  resize_segments(skb, flags, -static_cast<int32_t>(count), kGsoDodgy);
  return 0;
}

uint64_t skb_adjust_room(Invocation& run, uint64_t, uint64_t difference, uint64_t mode,
                         uint64_t flags, uint64_t) {
  constexpr uint64_t kKnown =
      BPF_F_ADJ_ROOM_FIXED_GSO | kEncapL3 | kEncapL4 | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | kDecapL3 |
      uint64_t{BPF_ADJ_ROOM_ENCAP_L2_MASK} << kInnerMacShift | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
  Packet& packet = run.packet;
  SkbFields& skb = packet.skb;
  const auto change = static_cast<int32_t>(difference);
  const bool shrinks = change < 0;
  const uint32_t count =
      shrinks ? 0 - static_cast<uint32_t>(change) : static_cast<uint32_t>(change);
  if ((flags & ~kKnown) != 0) return result(-EINVAL);
  if (count > kMaxRoom) return result(-EFAULT);
  if (!is_ip(skb.protocol)) return result(-kNotSupported);

  uint32_t offset = mac_header_length(packet);
  const auto where = static_cast<uint32_t>(mode);
  if (where == BPF_ADJ_ROOM_NET) offset += ip_header(skb.protocol);
  if (where != BPF_ADJ_ROOM_NET && where != BPF_ADJ_ROOM_MAC) return result(-kNotSupported);

  uint32_t min_left = ip_header(skb.protocol);
  if ((flags & kDecapL3) != 0) {
    if (!shrinks || (flags & kDecapL3) == kDecapL3) return result(-EINVAL);
    min_left = (flags & uapi::kDecapIpv6) != 0 ? kIpv6Header : kIpv4Header;
  }
  const uint32_t length = packet.length() - static_cast<uint32_t>(packet.network_offset());
  if (shrinks && (count >= length || length - count < min_left)) return result(-kNotSupported);
  if (!shrinks && packet.length() + count > kMaxSkbLength && skb.gso_size == 0) {
    return result(-kNotSupported);
  }
  const int error =
      shrinks ? shrink(packet, offset, count, flags) : grow(packet, offset, count, flags);
  if (error == 0 && (flags & BPF_F_ADJ_ROOM_NO_CSUM_RESET) == 0 &&
      skb.checksum_state == ChecksumState::unnecessary) {
    skb.checksum_state = ChecksumState::none;
  }
  return result(error);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(skb_change_proto, kTc, R::integer, {A::context, A::any, A::any}, skb_change_proto,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(skb_adjust_room, kTc | kStream, R::integer, {A::context, A::any, A::any, A::any},
                skb_adjust_room, kAnyLicense, kChangesPacket),
};

}  // namespace

std::span<const Helper> skb_room_helpers() { return kRows; }

}  // namespace xnic::vm

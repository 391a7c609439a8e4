// Helpers that change the length of an sk_buff at its ends, and its VLAN tag.
// Test: tests/bpf/skb_size and tests/differential/skb_script_test.cpp, compared with Linux.
#include <arpa/inet.h>
#include <linux/if_ether.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vm/checksum.h"
#include "vm/helpers/rows.h"
#include "vm/helpers/skb_room.h"

namespace xnic::vm {
namespace {

// Linux would not find the memory for what a segmented packet may ask.
constexpr uint32_t kMaxBuffer = 1u << 22;

// What is in front of the transport header stays, or of the network header.
uint32_t min_length(const Packet& packet) {
  const bool has_transport = packet.headers.transport != HeaderOffsets::kUnset;
  const int32_t transport = has_transport ? packet.transport_offset() : 0;
  return static_cast<uint32_t>(transport > 0 ? transport : std::max(packet.network_offset(), 0));
}

void set_mac_length(Packet& packet) {
  packet.skb.mac_length = static_cast<uint16_t>(packet.headers.network - packet.headers.mac);
}

uint64_t skb_change_tail(Invocation& run, uint64_t, uint64_t new_length, uint64_t flags, uint64_t,
                         uint64_t) {
  Packet& packet = run.packet;
  SkbFields& skb = packet.skb;
  const auto length = static_cast<uint32_t>(new_length);
  if (flags != 0 || length > kMaxSkbLength || length < min_length(packet)) return result(-EINVAL);
  if (skb.encapsulation) return result(-kNotSupported);
  packet.ensure_linear(packet.length());
  if (length != packet.length()) {
    if (skb.checksum_state == ChecksumState::complete) skb.checksum_state = ChecksumState::none;
    packet.set_length(length);
  }
  if (skb.gso_size != 0) skb.gso_size = skb.gso_segs = skb.gso_type = 0;
  return 0;
}

uint64_t skb_change_head(Invocation& run, uint64_t, uint64_t room, uint64_t flags, uint64_t,
                         uint64_t) {
  Packet& packet = run.packet;
  const auto count = static_cast<uint32_t>(room);
  const uint64_t length = uint64_t{packet.length()} + count;
  if (flags != 0 || (packet.skb.gso_size == 0 && length > kMaxSkbLength) || length > UINT32_MAX) {
    return result(-EINVAL);
  }
  if (length > kMaxBuffer) return result(-ENOMEM);
  packet.ensure_headroom(count);
  packet.push(count);
  std::memset(packet.data(), 0, count);
  packet.set_mac_offset(0);
  set_mac_length(packet);
  return 0;
}

// At tc ingress the packet's sum leaves out the link layer, which counts while a tag is moved.
void count_mac_header(Packet& packet, bool counts) {
  if (!packet.skb.at_ingress || packet.skb.checksum_state != ChecksumState::complete) return;
  const std::span<const uint8_t> header{
      packet.data(), std::min<uint32_t>(packet.skb.mac_length, packet.linear_length())};
  if (counts) {
    packet.skb.checksum = sum_add(packet.skb.checksum, sum_of(header));
  } else {
    remove_from_sum(packet, header);
  }
}

std::span<const uint8_t> tag_bytes(const Packet& packet) {
  return {packet.data() + kMacAddresses, kVlanTag};
}

// A tag that is in the fields already moves into the bytes. 0 or -errno.
int push_tag(Packet& packet, uint16_t protocol, uint16_t tci) {
  SkbFields& skb = packet.skb;
  if (skb.vlan_present) {
    if (!packet.ensure_linear(kEthernetHeader)) return -EINVAL;
    const int32_t mac = packet.mac_offset();
    const int32_t network = packet.network_offset();
    packet.insert_vlan_tag(skb.vlan_proto, skb.vlan_tci);
    packet.set_mac_offset(mac);
    packet.set_network_offset(network);
    skb.protocol = skb.vlan_proto;
    if (skb.checksum_state == ChecksumState::complete) {
      skb.checksum = sum_add(skb.checksum, sum_of(tag_bytes(packet)));
    }
  }
  skb.vlan_present = true;
  skb.vlan_proto = protocol;
  skb.vlan_tci = tci;
  return 0;
}

// Takes the tag out of the bytes. 0 or -errno.
int take_tag(Packet& packet, uint16_t& tci) {
  if (!packet.ensure_linear(kEthernetHeader + kVlanTag)) return -ENOMEM;
  remove_from_sum(packet, tag_bytes(packet));
  const int32_t mac = packet.mac_offset();
  tci = packet.remove_vlan_tag();
  packet.set_mac_offset(mac);
  if (packet.network_offset() < static_cast<int32_t>(kEthernetHeader)) {
    packet.set_network_offset(kEthernetHeader);
  }
  set_mac_length(packet);
  return 0;
}

// The tag in the fields goes, or else the first one in the bytes; the next one moves into the
// fields.
int pop_tag(Packet& packet) {
  SkbFields& skb = packet.skb;
  uint16_t tci = 0;
  if (skb.vlan_present) {
    skb.vlan_present = false;
    skb.vlan_proto = skb.vlan_tci = 0;
  } else {
    if (!is_vlan(skb.protocol)) return 0;
    if (const int error = take_tag(packet, tci); error != 0) return error;
  }
  if (!is_vlan(skb.protocol)) return 0;
  const uint16_t protocol = skb.protocol;
  if (const int error = take_tag(packet, tci); error != 0) return error;
  skb.vlan_present = true;
  skb.vlan_proto = protocol;
  skb.vlan_tci = tci;
  return 0;
}

uint64_t skb_vlan_push(Invocation& run, uint64_t, uint64_t protocol, uint64_t tci, uint64_t,
                       uint64_t) {
  Packet& packet = run.packet;
  auto tag_protocol = static_cast<uint16_t>(protocol);
  if (!is_vlan(tag_protocol)) tag_protocol = htons(ETH_P_8021Q);
  count_mac_header(packet, true);
  const int error = push_tag(packet, tag_protocol, static_cast<uint16_t>(tci));
  count_mac_header(packet, false);
  set_mac_length(packet);
  return result(error);
}

uint64_t skb_vlan_pop(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  count_mac_header(run.packet, true);
  const int error = pop_tag(run.packet);
  count_mac_header(run.packet, false);
  return result(error);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(skb_change_tail, kTc | kLwtXmit | kStream, R::integer, {A::context, A::any, A::any},
                skb_change_tail, kAnyLicense, kChangesPacket),
    XNIC_HELPER(skb_change_head, kTc | kLwtXmit | kStream, R::integer, {A::context, A::any, A::any},
                skb_change_head, kAnyLicense, kChangesPacket),
    XNIC_HELPER(skb_vlan_push, kTc, R::integer, {A::context, A::any, A::any}, skb_vlan_push,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(skb_vlan_pop, kTc, R::integer, {A::context}, skb_vlan_pop, kAnyLicense,
                kChangesPacket),
};

}  // namespace

std::span<const Helper> skb_size_helpers() { return kRows; }

}  // namespace xnic::vm

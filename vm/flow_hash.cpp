// Left out of what Linux's flow dissector sees: VLAN tags, MPLS, tunnels, IPv6 extension headers
// and flow labels. Test: tests/vm/skb_test.cpp.
#include "vm/flow_hash.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <array>
#include <utility>

namespace xnic::vm {
namespace {

// One end of a flow: its address, an IPv4 one with zeros behind, and its port.
using Endpoint = std::array<uint8_t, 18>;

struct Flow {
  Endpoint source{};
  Endpoint destination{};
  uint8_t protocol = 0;
};

bool has_ports(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
         protocol == IPPROTO_UDPLITE || protocol == IPPROTO_DCCP;
}

// Where the network layer is not there as a whole, what there is counts.
Flow flow_of(const Packet& packet) {
  Flow flow;
  const auto network = static_cast<uint32_t>(packet.network_offset());
  const auto byte_at = [&](uint32_t offset) {
    uint8_t byte = 0;
    packet.read(network + offset, {&byte, 1});
    return byte;
  };
  const auto read_pair = [&](uint32_t offset, uint32_t size, uint32_t to) {
    packet.read(network + offset, std::span(flow.source).subspan(to, size));
    packet.read(network + offset + size, std::span(flow.destination).subspan(to, size));
  };
  constexpr uint32_t kPort = 16;
  uint32_t transport = 0;
  bool fragment = false;
  if (packet.skb.protocol == htons(ETH_P_IP)) {
    flow.protocol = byte_at(9);
    read_pair(12, 4, 0);
    transport = 4u * (byte_at(0) & 0xf);
    fragment = ((byte_at(6) & 0x3f) | byte_at(7)) != 0;
  } else if (packet.skb.protocol == htons(ETH_P_IPV6)) {
    flow.protocol = byte_at(6);
    read_pair(8, 16, 0);
    transport = 40;
  }
  if (!fragment && has_ports(flow.protocol)) read_pair(transport, 2, kPort);
  return flow;
}

}  // namespace

uint32_t flow_hash(const Packet& packet) {
  Flow flow = flow_of(packet);
  if (flow.destination < flow.source) std::swap(flow.source, flow.destination);
  uint32_t hash = 0x811c9dc5;
  const auto mix = [&hash](uint8_t byte) { hash = (hash ^ byte) * 0x01000193; };
  for (const uint8_t byte : flow.source) mix(byte);
  for (const uint8_t byte : flow.destination) mix(byte);
  mix(flow.protocol);
  return hash == 0 ? 1 : hash;
}

}  // namespace xnic::vm

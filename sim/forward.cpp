// Forwarding by routes and neighbours, as net/ipv4/ip_forward.c and net/ipv6/ip6_output.c do it.
// It leaves out: fragmentation (what would be cut is lost), ICMP answers, checks of the source
// (rp_filter, martians), IP options, and neighbours that first have to be asked.
// Test: tests/sim/forward_test.cpp, against the real kernel.
#include "sim/forward.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "vm/checksum.h"

namespace xnic::sim {
namespace {

using Fate = Forwarding::Fate;

constexpr uint8_t kTosBits = 0x1e;

// What both versions have in a packet.
struct Header {
  vm::IpAddress destination;
  uint8_t tos = 0;
  uint8_t* hops = nullptr;
};

// TC_PRIO_* of a type of service, as rt_tos2priority has it.
uint32_t priority_of(uint8_t tos) {
  constexpr std::array<uint8_t, 16> kPriorities = {0, 1, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4};
  return kPriorities[(tos & kTosBits) >> 1];
}

// Nothing for what the IP layer throws away: that is not this one's to count.
std::optional<Header> ipv4_header(vm::Packet& packet) {
  uint8_t* at = packet.data() + vm::kEthernetHeader;
  iphdr ip;
  std::memcpy(&ip, at, sizeof ip);
  const uint32_t room = packet.length() - vm::kEthernetHeader;
  const uint32_t length = ip.ihl * 4u;
  const uint32_t whole = __builtin_bswap16(ip.tot_len);
  if (ip.version != 4 || length < sizeof ip || whole < length || whole > room) return std::nullopt;
  if (packet.linear_length() < vm::kEthernetHeader + length) return std::nullopt;
  if (vm::checksum_of(vm::sum_of({at, length})) != 0) return std::nullopt;
  return Header{vm::IpAddress::v4_at(&ip.daddr), ip.tos, at + offsetof(iphdr, ttl)};
}

std::optional<Header> ipv6_header(vm::Packet& packet) {
  uint8_t* at = packet.data() + vm::kEthernetHeader;
  ipv6hdr ip;
  std::memcpy(&ip, at, sizeof ip);
  const uint32_t room = packet.length() - vm::kEthernetHeader;
  if (ip.version != 6 || __builtin_bswap16(ip.payload_len) + sizeof ip > room) return std::nullopt;
  const auto for_one_link = [](const in6_addr& address) {
    return address.s6_addr[0] == 0xff ||
           (address.s6_addr[0] == 0xfe && address.s6_addr[1] >> 6 == 2);
  };
  if (for_one_link(ip.saddr) || for_one_link(ip.daddr)) return std::nullopt;
  return Header{vm::IpAddress::v6_at(&ip.daddr), 0, at + offsetof(ipv6hdr, hop_limit)};
}

// One hop less, with IPv4's checksum.
void take_hop(const Header& header) {
  --*header.hops;
  if (header.destination.v6) return;
  // RFC 1624: the hop count is the high byte of its word.
  uint8_t* check = header.hops - offsetof(iphdr, ttl) + offsetof(iphdr, check);
  const uint32_t sum = uint32_t{check[0]} * 256 + check[1] + 0x100;
  const uint32_t folded = sum + (sum >= 0xffff ? 1 : 0);
  check[0] = static_cast<uint8_t>(folded >> 8);
  check[1] = static_cast<uint8_t>(folded);
}

}  // namespace

bool forwards(const vm::Network& network, uint32_t ifindex) {
  const vm::Interface* device = network.by_index(ifindex);
  return device != nullptr && (device->forwards_v4 || device->forwards_v6);
}

Forwarding forward(const vm::Network& network, vm::Packet& packet) {
  const vm::Interface* device = network.by_index(packet.ifindex);
  if (!forwards(network, packet.ifindex)) return {};
  if (packet.skb.pkt_type != PACKET_HOST || packet.skb.vlan_present) return {};
  const bool v4 = packet.skb.protocol == __builtin_bswap16(ETH_P_IP);
  const bool v6 = packet.skb.protocol == __builtin_bswap16(ETH_P_IPV6);
  if (!(v4 ? device->forwards_v4 : v6 && device->forwards_v6)) return {};
  const size_t least = vm::kEthernetHeader + (v4 ? sizeof(iphdr) : sizeof(ipv6hdr));
  if (packet.linear_length() < least) return {};
  const auto header = v4 ? ipv4_header(packet) : ipv6_header(packet);
  if (!header) return {};

  const auto way = network.way_of({.destination = header->destination, .tos = header->tos});
  if (way.route == nullptr) return {.fate = Fate::lost};
  const vm::Route::Type type = way.route->type;
  if (type == vm::Route::Type::local || type == vm::Route::Type::other) return {};
  const vm::Interface* out = way.hop != nullptr ? network.by_index(way.hop->ifindex) : nullptr;
  if (out == nullptr || !out->up) return {.fate = Fate::lost};
  const uint32_t length = packet.length() - vm::kEthernetHeader;
  const bool fits = length <= network.mtu_of(way) || packet.skb.gso_size != 0;
  const vm::Neighbour* neighbour =
      network.neighbour(out->ifindex, way.hop->gateway.value_or(header->destination));
  if (*header->hops <= 1 || !fits || neighbour == nullptr) return {.fate = Fate::lost};

  take_hop(*header);
  if (v4) packet.skb.priority = priority_of(header->tos);
  if (packet.skb.tstamp_type == 0) packet.skb.tstamp = 0;
  std::ranges::copy(neighbour->mac, packet.data());
  std::ranges::copy(out->mac, packet.data() + neighbour->mac.size());
  return {.fate = Fate::sent, .ifindex = out->ifindex};
}

}  // namespace xnic::sim

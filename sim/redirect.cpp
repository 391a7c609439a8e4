// It leaves out: bridges and bonds as targets, frames in fragments, and what a neighbour that is
// not known yet would answer.
#include "sim/redirect.h"

#include <linux/if_ether.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "vm/program.h"

namespace xnic::sim {
namespace {

constexpr uint32_t kVlanHeader = 4;
constexpr uint32_t kIpv4Destination = 16;  // offsets in the IP header
constexpr uint32_t kIpv6Destination = 24;
constexpr uint32_t kIpv4Header = 20;
constexpr uint32_t kIpv6Header = 40;

// The destination of the IP packet; nothing for what is none.
std::optional<vm::IpAddress> ip_destination(const vm::Packet& packet) {
  const uint8_t* network = packet.data() + vm::kEthernetHeader;
  const uint32_t length = packet.linear_length();
  if (packet.skb.protocol == __builtin_bswap16(ETH_P_IP) &&
      length >= vm::kEthernetHeader + kIpv4Header) {
    return vm::IpAddress::v4_at(network + kIpv4Destination);
  }
  if (packet.skb.protocol == __builtin_bswap16(ETH_P_IPV6) &&
      length >= vm::kEthernetHeader + kIpv6Header) {
    return vm::IpAddress::v6_at(network + kIpv6Destination);
  }
  return std::nullopt;
}

std::optional<vm::IpAddress> given_hop(const bpf_redir_neigh& hop, bool v6_packet) {
  if (hop.nh_family == AF_INET6) return vm::IpAddress::v6_at(hop.ipv6_nh);
  if (hop.nh_family == AF_INET && !v6_packet) return vm::IpAddress::v4_at(&hop.ipv4_nh);
  return std::nullopt;
}

// The next hop on the way out of this interface. Without a route, an IPv4 address is taken to be on
// the link.
std::optional<vm::IpAddress> routed_hop(const vm::Network& network, uint32_t ifindex,
                                        const vm::IpAddress& destination) {
  const vm::Network::Way way = network.way_of({.destination = destination, .out = ifindex});
  if (way.hop == nullptr) {
    const bool rejected = way.route != nullptr;
    if (destination.v6 || rejected) return std::nullopt;
    return destination;
  }
  return way.hop->gateway ? way.hop->gateway : destination;
}

}  // namespace

uint32_t other_end(const vm::Network& network, uint32_t ifindex) {
  if (ifindex == vm::kLoopbackIfindex) return ifindex;
  const vm::Interface* device = network.by_index(ifindex);
  return device != nullptr ? device->peer : 0;
}

bool takes_xdp(const vm::Network& network, uint32_t ifindex, uint32_t length) {
  const vm::Interface* device = network.by_index(ifindex);
  return device != nullptr && device->up && ifindex != vm::kLoopbackIfindex &&
         length <= device->mtu + vm::kEthernetHeader + kVlanHeader;
}

std::vector<vm::RedirectEntry> broadcast_targets(const vm::Network& network,
                                                 const vm::Redirect& redirect,
                                                 const vm::Packet& packet) {
  const bool excludes = (redirect.flags & BPF_F_EXCLUDE_INGRESS) != 0;
  std::vector<vm::RedirectEntry> targets;
  uint32_t key = 0;
  const uint8_t* last = nullptr;
  while (redirect.map->next_key(last, reinterpret_cast<uint8_t*>(&key)) == 0) {
    last = reinterpret_cast<const uint8_t*>(&key);
    auto entry = redirect.map->redirect_entry(key);
    if (!entry || !takes_xdp(network, entry->ifindex, packet.length())) continue;
    if (excludes && entry->ifindex == packet.ingress_ifindex) continue;
    targets.push_back(std::move(*entry));
  }
  return targets;
}

vm::Action run_entry_program(const vm::RedirectEntry& entry, uint32_t egress_ifindex,
                             vm::Packet& packet, vm::Environment& environment,
                             vm::Redirect& redirect, uint64_t& instructions) {
  if (entry.program == nullptr) return vm::Action::pass;
  packet.egress_ifindex = egress_ifindex;
  vm::Invocation invocation(packet, environment);
  const uint64_t r0 = entry.program->code().run(invocation);
  packet.egress_ifindex = 0;
  instructions += invocation.instructions;
  redirect = std::move(invocation.redirect);
  if (invocation.fault) {
    if (environment.fault) environment.fault(*invocation.fault);
    return vm::Action::aborted;
  }
  return vm::find_program_type(BPF_PROG_TYPE_XDP)->action(static_cast<uint32_t>(r0));
}

bool address_to_neighbour(const vm::Network& network, const vm::Redirect& redirect,
                          vm::Packet& packet) {
  const vm::Interface* device = network.by_index(redirect.ifindex);
  const bool to_many = packet.linear_length() != 0 && (packet.data()[0] & 1) != 0;
  const auto destination = ip_destination(packet);
  if (device == nullptr || to_many || !destination) return false;
  const auto hop = redirect.next_hop ? given_hop(*redirect.next_hop, destination->v6)
                                     : routed_hop(network, redirect.ifindex, *destination);
  if (!hop) return false;
  const vm::Neighbour* neighbour = network.neighbour(redirect.ifindex, *hop);
  if (neighbour == nullptr) return false;
  std::ranges::copy(neighbour->mac, packet.data());
  std::ranges::copy(device->mac, packet.data() + neighbour->mac.size());
  return true;
}

}  // namespace xnic::sim

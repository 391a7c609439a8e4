// What Linux's FIB answers was learnt from net/ipv4/fib_*.c and
// net/ipv6/{ip6_fib,route,addrconf}.c. Test: tests/sim/network_test.cpp, against namespaces of the
// real kernel.
#include "vm/network.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxIpv4Mtu = 0xffff;
constexpr uint32_t kMinIpv6Mtu = 1280;
constexpr uint32_t kMaxIpv6Mtu = 65535 + 40;

bool same_family(const IpAddress& a, const IpAddress& b) { return a.v6 == b.v6; }

bool covers(const Route& route, const IpAddress& address) {
  return same_family(route.destination, address) &&
         route.destination.common_bits(address) >= route.prefix_length;
}

// Which of two routes Linux asks first. IPv4 keeps the local and the main table in one tree.
bool comes_before(const Route* a, const Route* b) {
  const auto order = [](const Route* r) {
    return std::tuple(-static_cast<int64_t>(r->prefix_length), -static_cast<int64_t>(r->table),
                      -static_cast<int64_t>(r->tos), static_cast<int64_t>(r->metric));
  };
  return order(a) < order(b);
}

bool rejects(const Route& route) {
  return route.type != Route::Type::unicast && route.type != Route::Type::local &&
         route.type != Route::Type::other;
}

const NextHop* usable_hop(const Route& route, uint32_t out) {
  for (const NextHop& hop : route.next_hops) {
    if (!hop.dead && (out == 0 || hop.ifindex == out)) return &hop;
  }
  return nullptr;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(const std::string& text) {
  IpAddress address;
  if (inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1) return address;
  address.v6 = true;
  if (inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

IpAddress IpAddress::v4_at(const void* bytes) {
  IpAddress address;
  std::memcpy(address.bytes.data(), bytes, 4);
  return address;
}

IpAddress IpAddress::v6_at(const void* bytes) {
  IpAddress address;
  address.v6 = true;
  std::memcpy(address.bytes.data(), bytes, 16);
  return address;
}

uint32_t IpAddress::common_bits(const IpAddress& other) const {
  if (v6 != other.v6) return 0;
  for (uint32_t i = 0; i < bits() / 8; ++i) {
    const auto differ = static_cast<uint8_t>(bytes[i] ^ other.bytes[i]);
    if (differ != 0) return 8 * i + static_cast<uint32_t>(std::countl_zero(differ));
  }
  return bits();
}

Network Network::with_nic0() {
  Network network;
  network.interfaces.push_back({.ifindex = kLoopbackIfindex, .name = "lo", .mtu = 65536});
  network.interfaces.push_back({.ifindex = kNicIfindex, .name = "nic0"});
  return network;
}

const Interface* Network::by_index(uint32_t ifindex) const {
  const auto found = std::ranges::find(interfaces, ifindex, &Interface::ifindex);
  return found == interfaces.end() ? nullptr : &*found;
}

const Interface* Network::by_name(std::string_view name) const {
  const auto found = std::ranges::find(interfaces, name, &Interface::name);
  return found == interfaces.end() ? nullptr : &*found;
}

const Neighbour* Network::neighbour(uint32_t ifindex, const IpAddress& address) const {
  const auto found = std::ranges::find_if(neighbours, [&](const Neighbour& n) {
    return n.ifindex == ifindex && n.valid && n.address == address;
  });
  return found == neighbours.end() ? nullptr : &*found;
}

Network::Way Network::way_of(const Flow& flow) const {
  const bool v6 = flow.destination.v6;
  // IPv4's local and main tables are one.
  const auto is_first = [v6](const Route& r) {
    return r.table == RT_TABLE_LOCAL || (!v6 && r.table == RT_TABLE_MAIN);
  };
  const auto find = [&](auto in_table) -> Way {
    std::vector<const Route*> candidates;
    for (const Route& route : routes) {
      if (in_table(route) && covers(route, flow.destination) &&
          (route.tos == 0 || route.tos == flow.tos)) {
        candidates.push_back(&route);
      }
    }
    std::ranges::stable_sort(candidates, comes_before);
    for (const Route* route : candidates) {
      if (rejects(*route)) return {.route = route};
      // IPv6 only prefers the interface that it is asked for.
      const NextHop* hop = usable_hop(*route, v6 ? 0 : flow.out);
      if (hop != nullptr) return {.route = route, .hop = hop};
    }
    return {};
  };
  if (flow.table != 0) {
    const bool is_one_of_two = !v6 && (flow.table == RT_TABLE_LOCAL || flow.table == RT_TABLE_MAIN);
    const auto in_table = [&](const Route& r) {
      return is_one_of_two ? is_first(r) : r.table == flow.table;
    };
    const bool exists = flow.table == RT_TABLE_LOCAL || flow.table == RT_TABLE_MAIN ||
                        std::ranges::any_of(routes, [&](const Route& r) {
                          return r.destination.v6 == v6 && r.table == flow.table;
                        });
    if (!exists) return {.no_table = true};
    return find(in_table);
  }
  const Way first = find(is_first);
  if (v6) {
    if (first.route != nullptr) return first;
    return find([](const Route& r) { return r.table == RT_TABLE_MAIN; });
  }
  if (first.route != nullptr && !rejects(*first.route)) return first;
  const bool has_default = std::ranges::any_of(
      routes, [](const Route& r) { return !r.destination.v6 && r.table == RT_TABLE_DEFAULT; });
  if (!has_default) return first;
  return find([](const Route& r) { return r.table == RT_TABLE_DEFAULT; });
}

uint32_t Network::mtu_of(const Way& way) const {
  if (way.route->mtu_locked && way.route->mtu != 0) return way.route->mtu;
  const Interface* device = by_index(way.hop->ifindex);
  const uint32_t mtu = device != nullptr ? device->mtu : 0;
  if (!way.route->destination.v6) return std::min(mtu, kMaxIpv4Mtu);
  return std::min(std::max(mtu, kMinIpv6Mtu), kMaxIpv6Mtu);
}

std::optional<IpAddress> Network::source_of(const Way& way, const IpAddress& destination) const {
  if (way.route->source) return way.route->source;
  if (destination.v6) return select_v6(way.hop->ifindex, destination);
  std::optional<IpAddress> towards = way.hop->gateway;
  if (towards && towards->v6) towards.reset();
  return select_v4(way.hop->ifindex, towards, way.route->scope);
}

std::optional<IpAddress> Network::select_v4(uint32_t ifindex,
                                            const std::optional<IpAddress>& towards,
                                            uint8_t scope) const {
  std::optional<IpAddress> first;
  if (const Interface* device = by_index(ifindex)) {
    for (const InterfaceAddress& own : device->addresses) {
      if (own.address.v6 || own.scope > scope) continue;
      if (!towards || own.address.common_bits(*towards) >= own.prefix_length) return own.address;
      if (!first) first = own.address;
    }
  }
  if (first) return first;
  // Another interface lends its address, if that is not for its link alone.
  for (const Interface& other : interfaces) {
    for (const InterfaceAddress& own : other.addresses) {
      if (!own.address.v6 && own.scope != RT_SCOPE_LINK && own.scope <= scope) return own.address;
    }
  }
  return std::nullopt;
}

// By scope, then by the longest common prefix, of the interface's own addresses before others'.
std::optional<IpAddress> Network::select_v6(uint32_t ifindex, const IpAddress& destination) const {
  const InterfaceAddress* best = nullptr;
  std::tuple<bool, bool, uint32_t> best_rank;
  for (const Interface& device : interfaces) {
    for (const InterfaceAddress& own : device.addresses) {
      if (!own.address.v6 || own.scope == RT_SCOPE_HOST) continue;
      const bool here = device.ifindex == ifindex;
      if (!here && own.scope == RT_SCOPE_LINK) continue;
      const std::tuple rank(own.scope == RT_SCOPE_UNIVERSE, here,
                            std::min(own.address.common_bits(destination), own.prefix_length));
      if (best != nullptr && rank <= best_rank) continue;
      best = &own;
      best_rank = rank;
    }
  }
  if (best == nullptr) return std::nullopt;
  return best->address;
}

const Network& default_network() {
  static const Network kNetwork = Network::with_nic0();
  return kNetwork;
}

}  // namespace xnic::vm

// Test: tests/sim/network_test.cpp.
#include "sim/net_builder.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace xnic::sim {
namespace {

template <class T>
struct Named {
  std::string_view name;
  T value;
};

constexpr std::array kTables = {Named<uint32_t>{"default", RT_TABLE_DEFAULT},
                                Named<uint32_t>{"main", RT_TABLE_MAIN},
                                Named<uint32_t>{"local", RT_TABLE_LOCAL}};
constexpr std::array kScopes = {
    Named<uint8_t>{"global", RT_SCOPE_UNIVERSE}, Named<uint8_t>{"site", RT_SCOPE_SITE},
    Named<uint8_t>{"link", RT_SCOPE_LINK}, Named<uint8_t>{"host", RT_SCOPE_HOST},
    Named<uint8_t>{"nowhere", RT_SCOPE_NOWHERE}};
using Type = vm::Route::Type;
constexpr std::array kTypes = {Named<Type>{"unicast", Type::unicast},
                               Named<Type>{"local", Type::local},
                               Named<Type>{"broadcast", Type::other},
                               Named<Type>{"anycast", Type::other},
                               Named<Type>{"multicast", Type::other},
                               Named<Type>{"blackhole", Type::blackhole},
                               Named<Type>{"unreachable", Type::unreachable},
                               Named<Type>{"prohibit", Type::prohibit},
                               Named<Type>{"throw", Type::thrown}};

template <class T, size_t N>
bool find_name(const std::array<Named<T>, N>& rows, std::string_view text, T& value) {
  for (const Named<T>& row : rows) {
    if (row.name != text) continue;
    value = row.value;
    return true;
  }
  return false;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

void clear_host_bits(vm::IpAddress& address, uint32_t length) {
  for (uint32_t bit = length; bit < address.bits(); ++bit) {
    address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> bit % 8));
  }
}

bool same_target(const vm::Route& a, const vm::Route& b) {
  return a.destination == b.destination && a.prefix_length == b.prefix_length && a.table == b.table;
}

}  // namespace

NetBuilder::Problem NetBuilder::parse_prefix(const std::string& text, bool v6,
                                             vm::IpAddress& address, uint32_t& length) {
  if (text == "default" || text == "all") {
    address = {.v6 = v6};
    length = 0;
    return {};
  }
  const size_t slash = text.find('/');
  const auto parsed = vm::IpAddress::parse(text.substr(0, slash));
  if (!parsed) return fmt::format("'{}' is no IP address or network", text);
  address = *parsed;
  length = address.bits();
  if (slash == std::string::npos) return {};
  if (!parse_number(std::string_view(text).substr(slash + 1), length) || length > address.bits()) {
    return fmt::format("the prefix length of '{}' is no number up to {}", text, address.bits());
  }
  return {};
}

NetBuilder::Problem NetBuilder::parse_mac(const std::string& text, vm::MacAddress& mac) {
  int used = 0;
  const int found = std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0],
                                &mac[1], &mac[2], &mac[3], &mac[4], &mac[5], &used);
  if (found == 6 && static_cast<size_t>(used) == text.size()) return {};
  return fmt::format("'{}' is no Ethernet address (want 02:00:00:00:00:01)", text);
}

NetBuilder::Problem NetBuilder::parse_table(const std::string& text, uint32_t& table) {
  if (find_name(kTables, text, table) || parse_number(text, table)) return {};
  return fmt::format(
      "'{}' is no routing table (a number, or 'local', 'main' or 'default'; ip "
      "prints numbers with -N)",
      text);
}

NetBuilder::Problem NetBuilder::parse_type(const std::string& text, vm::Route::Type& type) {
  if (find_name(kTypes, text, type)) return {};
  // RTN_*, in the order of the names.
  if (size_t number = 0; parse_number(text, number) && number >= 1 && number <= kTypes.size()) {
    type = kTypes[number - 1].value;
    return {};
  }
  return fmt::format("'{}' is no type of route that xnic knows", text);
}

NetBuilder::Problem NetBuilder::parse_scope(const std::string& text, uint8_t& scope) {
  if (find_name(kScopes, text, scope) || parse_number(text, scope)) return {};
  return fmt::format("'{}' is no scope of a route", text);
}

NetBuilder::Problem NetBuilder::add(vm::Interface interface, const std::string& peer) {
  if (interface.name.empty()) return "an interface has no name";
  if (network_.by_name(interface.name) != nullptr) {
    return fmt::format("there are two interfaces called '{}'", interface.name);
  }
  if (interface.ifindex == 0) {
    // lo has 1.
    interface.ifindex = interface.name == "lo" ? vm::kLoopbackIfindex : vm::kNicIfindex;
    while (network_.by_index(interface.ifindex) != nullptr) ++interface.ifindex;
  }
  if (network_.by_index(interface.ifindex) != nullptr) {
    return fmt::format("there are two interfaces of index {}", interface.ifindex);
  }
  if (!peer.empty()) peers_[interface.name] = peer;
  network_.interfaces.push_back(std::move(interface));
  return {};
}

void NetBuilder::set_forwarding(const std::string& device, const Forwarding& forwarding) {
  Forwarding& known = forwarding_[device];
  if (forwarding.v4) known.v4 = forwarding.v4;
  if (forwarding.v6) known.v6 = forwarding.v6;
}

Result<uint32_t> NetBuilder::index_of(const std::string& device, const std::string& place) const {
  const vm::Interface* found = network_.by_name(device);
  if (found != nullptr) return found->ifindex;
  return fail(ExitCode::bad_input, "{}: there is no interface called '{}'.", place, device);
}

// What Linux adds with each address.
void NetBuilder::add_address_routes() {
  const bool has_routes = !network_.routes.empty();
  for (const vm::Interface& interface : network_.interfaces) {
    for (const vm::InterfaceAddress& own : interface.addresses) {
      const std::vector<vm::NextHop> hops = {{.ifindex = interface.ifindex}};
      vm::Route local{.type = Type::local,
                      .destination = own.address,
                      .prefix_length = own.address.bits(),
                      .table = RT_TABLE_LOCAL,
                      .scope = RT_SCOPE_HOST,
                      .next_hops = hops};
      const bool known = std::ranges::any_of(
          network_.routes, [&](const vm::Route& r) { return same_target(r, local); });
      if (!known) network_.routes.push_back(local);
      if (has_routes || own.scope == RT_SCOPE_HOST || own.prefix_length == own.address.bits()) {
        continue;
      }
      constexpr uint32_t kIpv6Metric = 256;
      vm::Route link{.destination = own.address,
                     .prefix_length = own.prefix_length,
                     .metric = own.address.v6 ? kIpv6Metric : 0,
                     .scope = RT_SCOPE_LINK,
                     .next_hops = hops};
      if (!own.address.v6) link.source = own.address;
      clear_host_bits(link.destination, link.prefix_length);
      network_.routes.push_back(std::move(link));
    }
  }
}

Result<vm::Network> NetBuilder::finish() {
  if (network_.interfaces.empty()) network_ = vm::Network::with_nic0();
  if (network_.by_index(vm::kLoopbackIfindex) == nullptr) {
    network_.interfaces.push_back({.ifindex = vm::kLoopbackIfindex, .name = "lo", .mtu = 65536});
  }
  for (vm::Interface& interface : network_.interfaces) {
    if (const auto peer = peers_.find(interface.name); peer != peers_.end()) {
      const vm::Interface* other = network_.by_name(peer->second);
      interface.peer = other != nullptr ? other->ifindex : 0;
      interface.peer_elsewhere = other == nullptr;
    }
    if (const auto own = forwarding_.find(interface.name); own != forwarding_.end()) {
      interface.forwards_v4 = own->second.v4.value_or(interface.forwards_v4);
      interface.forwards_v6 = own->second.v6.value_or(interface.forwards_v6);
    }
  }
  std::ranges::sort(network_.interfaces, {}, &vm::Interface::ifindex);
  for (NamedRoute& named : routes_) {
    for (NamedHop& hop : named.hops) {
      const auto index = index_of(hop.device, named.place);
      if (!index) return tl::unexpected(index.error());
      named.route.next_hops.push_back(
          {.ifindex = *index, .gateway = hop.gateway, .dead = hop.dead});
    }
    clear_host_bits(named.route.destination, named.route.prefix_length);
    network_.routes.push_back(std::move(named.route));
  }
  for (NamedNeighbour& named : neighbours_) {
    const auto index = index_of(named.device, named.place);
    if (!index) return tl::unexpected(index.error());
    named.neighbour.ifindex = *index;
    network_.neighbours.push_back(named.neighbour);
  }
  add_address_routes();
  return std::move(network_);
}

}  // namespace xnic::sim

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xnic::vm {

inline constexpr uint32_t kLoopbackIfindex = 1;
inline constexpr uint32_t kNicIfindex = 2;  // nic0

using MacAddress = std::array<uint8_t, 6>;

// An IPv4 or IPv6 address, or the first one of a network.
struct IpAddress {
  bool v6 = false;
  std::array<uint8_t, 16> bytes{};  // network byte order; of IPv4 the first four count

  // From its text; nothing for what is no address.
  static std::optional<IpAddress> parse(const std::string& text);
  static IpAddress v4_at(const void* bytes);
  static IpAddress v6_at(const void* bytes);

  uint32_t bits() const { return v6 ? 128 : 32; }
  // How many of the leading bits both have in common; 0 for different families.
  uint32_t common_bits(const IpAddress& other) const;
  bool operator==(const IpAddress&) const = default;
};

struct InterfaceAddress {
  IpAddress address;
  uint32_t prefix_length = 0;
  uint8_t scope = 0;  // RT_SCOPE_*
};

struct Interface {
  uint32_t ifindex = 0;
  std::string name;
  MacAddress mac{};
  uint32_t mtu = 1500;  // bytes behind the Ethernet header
  uint32_t queues = 1;
  bool up = true;
  bool forwards_v4 = false;  // net.ipv4.conf.NAME.forwarding
  bool forwards_v6 = false;
  // The other end of a veth pair in this network (0: none), or whether that is in another one.
  uint32_t peer = 0;
  bool peer_elsewhere = false;
  std::vector<InterfaceAddress> addresses{};
};

// One way out of a route.
struct NextHop {
  uint32_t ifindex = 0;
  std::optional<IpAddress> gateway{};  // may be IPv6 for an IPv4 route
  bool dead = false;
};

struct Route {
  enum class Type : uint8_t { unicast, local, other, blackhole, unreachable, prohibit, thrown };
  Type type = Type::unicast;
  IpAddress destination;
  uint32_t prefix_length = 0;
  uint32_t table = 254;  // RT_TABLE_*
  uint32_t metric = 0;
  uint8_t tos = 0;
  uint8_t scope = 0;  // RT_SCOPE_*
  std::optional<IpAddress> source{};
  uint32_t mtu = 0;  // 0: the device's
  bool mtu_locked = false;
  std::vector<NextHop> next_hops{};  // none where the type leads nowhere
};

struct Neighbour {
  uint32_t ifindex = 0;
  IpAddress address;
  MacAddress mac{};
  bool valid = true;  // its state lets Linux use the address
};

// The emulated machine's network as programs see it: a passive value. What it answers follows
// Linux's FIB with its default rules (local, main, default).
// What it leaves out: policy rules, VRFs, tunnels' headroom, path MTU exceptions, and which of
// several next hops a flow takes: always the first that works.
// Test: tests/sim/network_test.cpp, against namespaces of the real kernel.
struct Network {
  std::vector<Interface> interfaces;  // by ifindex
  std::vector<Route> routes;
  std::vector<Neighbour> neighbours;

  // lo, and nic0 with one queue, both up, without addresses.
  static Network with_nic0();

  const Interface* by_index(uint32_t ifindex) const;
  const Interface* by_name(std::string_view name) const;
  // Null for an address that nobody has, or whose neighbour does not answer.
  const Neighbour* neighbour(uint32_t ifindex, const IpAddress& address) const;

  struct Flow {
    IpAddress destination;
    uint8_t tos = 0;
    uint32_t out = 0;    // ifindex that the way out has to have; 0: any
    uint32_t table = 0;  // RT_TABLE_*; 0: by the rules
  };
  struct Way {
    const Route* route = nullptr;  // null where there is none
    const NextHop* hop = nullptr;  // of unicast routes
    bool no_table = false;         // the table asked for does not exist
  };
  Way way_of(const Flow& flow) const;

  // The largest packet that may leave on this way without being cut.
  uint32_t mtu_of(const Way& way) const;
  // The address that a packet of this machine to `destination` would come from.
  std::optional<IpAddress> source_of(const Way& way, const IpAddress& destination) const;

 private:
  std::optional<IpAddress> select_v4(uint32_t ifindex, const std::optional<IpAddress>& towards,
                                     uint8_t scope) const;
  std::optional<IpAddress> select_v6(uint32_t ifindex, const IpAddress& destination) const;
};

// Network::with_nic0(), for whoever has no other.
const Network& default_network();

}  // namespace xnic::vm

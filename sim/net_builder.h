#pragma once

#include <map>
#include <optional>
#include <string>

#include "vm/network.h"
#include "vm/result.h"

namespace xnic::sim {

// Puts a network together from entries that name interfaces before or after these are known.
// Functions give a sentence without place where an entry is wrong.
class NetBuilder {
 public:
  using Problem = std::optional<std::string>;

  // A route or next hop as files have it: the interface by name.
  struct NamedHop {
    std::string device;
    std::optional<vm::IpAddress> gateway{};
    bool dead = false;
  };
  struct NamedRoute {
    vm::Route route;
    std::vector<NamedHop> hops{};
    std::string place{};  // for errors that show only at the end
  };
  struct NamedNeighbour {
    std::string device;
    vm::Neighbour neighbour;
    std::string place{};
  };
  struct Forwarding {
    std::optional<bool> v4{};
    std::optional<bool> v6{};
  };

  // An interface without index gets the next free one. `peer` is a name, empty for none.
  Problem add(vm::Interface interface, const std::string& peer);
  void add(NamedRoute route) { routes_.push_back(std::move(route)); }
  void add(NamedNeighbour neighbour) { neighbours_.push_back(std::move(neighbour)); }
  void set_forwarding(const std::string& device, const Forwarding& forwarding);

  // The whole, with what addresses bring along.
  Result<vm::Network> finish();

  // "10.0.0.0/24", "10.0.0.1" or "default" (whose family `v6` says).
  static Problem parse_prefix(const std::string& text, bool v6, vm::IpAddress& address,
                              uint32_t& length);
  static Problem parse_mac(const std::string& text, vm::MacAddress& mac);
  // "main", "local", "default" or a number.
  static Problem parse_table(const std::string& text, uint32_t& table);
  static Problem parse_type(const std::string& text, vm::Route::Type& type);
  static Problem parse_scope(const std::string& text, uint8_t& scope);

 private:
  Result<uint32_t> index_of(const std::string& device, const std::string& place) const;
  void add_address_routes();

  vm::Network network_;
  std::map<std::string, std::string> peers_;
  std::map<std::string, Forwarding> forwarding_;
  std::vector<NamedRoute> routes_;
  std::vector<NamedNeighbour> neighbours_;
};

}  // namespace xnic::sim

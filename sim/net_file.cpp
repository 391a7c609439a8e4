// An entry of either kind of file becomes JSON with ip's keys and one reader; only interfaces have
// keys of their own in TOML.
// Test: tests/sim/network_test.cpp.
#include "sim/net_file.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "sim/json.h"
#include "sim/net_builder.h"

namespace xnic::sim {
namespace {

using Problem = NetBuilder::Problem;

std::string text_of(const Json& entry, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_number_integer() ? std::to_string(found->get<int64_t>()) : std::string();
}

uint32_t number_of(const Json& entry, const char* key, uint32_t otherwise) {
  const auto found = entry.find(key);
  return found != entry.end() && found->is_number_unsigned() ? found->get<uint32_t>() : otherwise;
}

bool has_flag(const Json& entry, std::string_view flag) {
  const auto flags = entry.find("flags");
  return flags != entry.end() && flags->is_array() &&
         std::any_of(flags->begin(), flags->end(), [&](const Json& f) { return f == flag; });
}

// As `ip -j addr` prints it.
Problem read_ip_interface(const Json& entry, NetBuilder& network) {
  vm::Interface interface {
    .ifindex = number_of(entry, "ifindex", 0), .name = text_of(entry, "ifname"),
    .mtu = number_of(entry, "mtu", 1500), .queues = number_of(entry, "num_rx_queues", 1),
    .up = has_flag(entry, "UP")
  };
  if (const std::string mac = text_of(entry, "address"); mac.size() == 17) {
    if (Problem problem = NetBuilder::parse_mac(mac, interface.mac)) return problem;
  }
  if (entry.contains("addr_info")) {
    for (const Json& own : entry["addr_info"]) {
      if (!own.contains("local") || own.contains("tentative") || own.contains("dadfailed")) {
        continue;
      }
      vm::InterfaceAddress address;
      if (Problem problem = NetBuilder::parse_prefix(text_of(own, "local"), false, address.address,
                                                     address.prefix_length)) {
        return problem;
      }
      address.prefix_length = number_of(own, "prefixlen", address.prefix_length);
      if (Problem problem = NetBuilder::parse_scope(text_of(own, "scope"), address.scope)) {
        return problem;
      }
      interface.addresses.push_back(address);
    }
  }
  // Of the other end of a pair in another namespace ip only has the number.
  std::string peer = text_of(entry, "link");
  if (entry.contains("link_netnsid")) peer = "in another namespace";
  return network.add(std::move(interface), peer);
}

// [[interface]] of a TOML file.
Problem read_own_interface(const Json& entry, NetBuilder& network) {
  vm::Interface interface {
    .ifindex = number_of(entry, "index", 0), .name = text_of(entry, "name"),
    .mtu = number_of(entry, "mtu", 1500), .queues = number_of(entry, "queues", 1),
    .up = entry.value("up", true)
  };
  interface.forwards_v4 = interface.forwards_v6 = entry.value("forwarding", false);
  if (entry.contains("mac")) {
    if (Problem problem = NetBuilder::parse_mac(text_of(entry, "mac"), interface.mac)) {
      return problem;
    }
  }
  for (const Json& text : entry.value("addresses", Json::array())) {
    vm::InterfaceAddress own;
    if (!text.is_string()) return "addresses must be texts";
    if (Problem problem = NetBuilder::parse_prefix(text.get<std::string>(), false, own.address,
                                                   own.prefix_length)) {
      return problem;
    }
    const auto& bytes = own.address.bytes;
    const bool link_local = own.address.v6 && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
    if (link_local) own.scope = RT_SCOPE_LINK;
    if (interface.name == "lo") own.scope = RT_SCOPE_HOST;
    interface.addresses.push_back(own);
  }
  return network.add(std::move(interface), text_of(entry, "peer"));
}

Problem read_hop(const Json& entry, NetBuilder::NamedHop& hop) {
  hop.device = text_of(entry, "dev");
  hop.dead = has_flag(entry, "dead");
  std::string gateway = text_of(entry, "gateway");
  if (const auto via = entry.find("via"); via != entry.end()) gateway = text_of(*via, "host");
  if (gateway.empty()) return {};
  hop.gateway = vm::IpAddress::parse(gateway);
  if (hop.gateway) return {};
  return fmt::format("'{}' is no address of a gateway", gateway);
}

Problem read_route(const Json& entry, const std::string& place, NetBuilder& network) {
  NetBuilder::NamedRoute named;
  named.place = place;
  vm::Route& route = named.route;
  // ip tells the family of a default route only by what else it prints.
  const bool v6 = entry.contains("pref") || text_of(entry, "gateway").find(':') < std::string::npos;
  Problem problem =
      NetBuilder::parse_prefix(text_of(entry, "dst"), v6, route.destination, route.prefix_length);
  if (!problem && entry.contains("type")) {
    problem = NetBuilder::parse_type(text_of(entry, "type"), route.type);
  }
  if (!problem && entry.contains("table")) {
    problem = NetBuilder::parse_table(text_of(entry, "table"), route.table);
  }
  if (!problem && entry.contains("scope")) {
    problem = NetBuilder::parse_scope(text_of(entry, "scope"), route.scope);
  }
  if (problem) return problem;
  route.metric = number_of(entry, "metric", 0);
  if (const std::string tos = text_of(entry, "tos"); !tos.empty()) {
    char* end = nullptr;
    route.tos = static_cast<uint8_t>(std::strtoul(tos.c_str(), &end, 0));
    if (*end != 0) return fmt::format("'{}' is no number of a TOS; ip prints it with -N", tos);
  }
  if (const std::string source = text_of(entry, "prefsrc"); !source.empty()) {
    route.source = vm::IpAddress::parse(source);
    if (!route.source) return fmt::format("'{}' is no source address", source);
  }
  if (const auto metrics = entry.find("metrics"); metrics != entry.end() && metrics->is_array()) {
    for (const Json& metric : *metrics) route.mtu = number_of(metric, "mtu", route.mtu);
  }
  if (const auto hops = entry.find("nexthops"); hops != entry.end()) {
    for (const Json& hop : *hops) {
      if (problem = read_hop(hop, named.hops.emplace_back()); problem) return problem;
    }
  } else if (entry.contains("dev")) {
    if (problem = read_hop(entry, named.hops.emplace_back()); problem) return problem;
  }
  const bool leads = route.type == vm::Route::Type::unicast;
  if (leads && named.hops.empty()) return "the route has no dev";
  network.add(std::move(named));
  return {};
}

Problem read_neighbour(const Json& entry, const std::string& place, NetBuilder& network) {
  NetBuilder::NamedNeighbour named;
  named.device = text_of(entry, "dev");
  named.place = place;
  const auto address = vm::IpAddress::parse(text_of(entry, "dst"));
  if (!address) return fmt::format("'{}' is no address of a neighbour", text_of(entry, "dst"));
  named.neighbour.address = *address;
  const auto states = entry.find("state");
  if (states != entry.end() && states->is_array()) {
    named.neighbour.valid = std::none_of(states->begin(), states->end(), [](const Json& state) {
      return state == "FAILED" || state == "INCOMPLETE" || state == "NONE";
    });
  }
  const std::string mac = text_of(entry, "lladdr");
  if (mac.empty() && entry.contains("state")) {
    named.neighbour.valid = false;
  } else if (Problem problem = NetBuilder::parse_mac(mac, named.neighbour.mac)) {
    return problem;
  }
  network.add(std::move(named));
  return {};
}

Problem read_netconf(const Json& entry, NetBuilder& network) {
  const bool forwards = entry.value("forwarding", false);
  NetBuilder::Forwarding forwarding;
  (text_of(entry, "family") == "inet6" ? forwarding.v6 : forwarding.v4) = forwards;
  network.set_forwarding(text_of(entry, "interface"), forwarding);
  return {};
}

// What an object is shows in its keys.
Problem read_ip_entry(const Json& entry, const std::string& place, NetBuilder& network) {
  if (!entry.is_object()) return "is no object as ip -j prints it";
  if (entry.contains("ifname")) return read_ip_interface(entry, network);
  if (entry.contains("forwarding")) return read_netconf(entry, network);
  if (entry.contains("lladdr") || entry.contains("state")) {
    return read_neighbour(entry, place, network);
  }
  if (entry.contains("dst")) return read_route(entry, place, network);
  if (entry.empty()) return {};
  return "is neither an interface, a route, a neighbour nor a netconf as ip -j prints them";
}

Result<void> read_json(const std::string& file, const std::string& text, NetBuilder& network) {
  std::istringstream in(text);
  uint32_t list = 0;
  while (in >> std::ws && in.peek() != EOF) {
    const auto start = static_cast<size_t>(in.tellg());
    const auto line_at = [&](size_t at) {
      return 1 + std::count(text.begin(),
                            text.begin() + static_cast<int64_t>(std::min(at, text.size())), '\n');
    };
    Json document;
    try {
      in >> document;
    } catch (const Json::parse_error& error) {
      return fail(ExitCode::bad_input, "{}:{}: this is no JSON as ip -j prints it.", file,
                  line_at(start + error.byte));
    }
    ++list;
    if (!document.is_array()) {
      return fail(ExitCode::bad_input, "{}:{}: ip -j prints lists, this is none.", file,
                  line_at(start));
    }
    uint32_t number = 0;
    for (const Json& entry : document) {
      const std::string place = fmt::format("{}, list {}, entry {}", file, list, ++number);
      Problem problem;
      try {
        problem = read_ip_entry(entry, place, network);
      } catch (const Json::exception&) {
        problem = "has a value of another type than ip -j prints";
      }
      if (problem) return fail(ExitCode::bad_input, "{}: {}.", place, *problem);
    }
  }
  return {};
}

// A kind of table in a TOML file: its name, the keys it may have, and its reader.
struct TomlKind {
  std::string_view name;
  std::vector<std::string_view> keys;
  Problem (*read)(const Json&, const std::string&, NetBuilder&);
};

const std::vector<TomlKind>& toml_kinds() {
  static const std::vector<TomlKind> kKinds = {
      {"interface",
       {"name", "index", "mac", "mtu", "queues", "up", "addresses", "forwarding", "peer"},
       [](const Json& entry, const std::string&, NetBuilder& network) {
         return read_own_interface(entry, network);
       }},
      {"route",
       {"dst", "dev", "gateway", "type", "table", "scope", "metric", "tos", "prefsrc", "nexthops"},
       read_route},
      {"neighbour", {"dst", "dev", "lladdr"}, read_neighbour},
  };
  return kKinds;
}

Json json_of(const toml::table& table) {
  std::ostringstream out;
  out << toml::json_formatter(table);
  return Json::parse(out.str());
}

Result<void> read_toml(const std::string& file, const std::string& text, NetBuilder& network) {
  const auto place = [&](const toml::source_region& region) {
    return fmt::format("{}:{}", file, region.begin.line);
  };
  toml::table root;
  try {
    root = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    return fail(ExitCode::bad_input, "{}: {}.", place(error.source()), error.description());
  }
  for (const auto& [key, node] : root) {
    const auto kind = std::ranges::find(toml_kinds(), key.str(), &TomlKind::name);
    const toml::array* tables = node.as_array();
    if (kind == toml_kinds().end() || tables == nullptr) {
      return fail(ExitCode::bad_input,
                  "{}: a network has [[interface]], [[route]] and [[neighbour]], no '{}'.",
                  place(key.source()), key.str());
    }
    for (const toml::node& entry : *tables) {
      const toml::table* table = entry.as_table();
      if (table == nullptr) {
        return fail(ExitCode::bad_input, "{}: write [[{}]].", place(entry.source()), key.str());
      }
      for (const auto& [inner, value] : *table) {
        if (std::ranges::find(kind->keys, inner.str()) != kind->keys.end()) continue;
        return fail(ExitCode::bad_input, "{}: [[{}]] has no key '{}'.", place(inner.source()),
                    key.str(), inner.str());
      }
      Problem problem;
      try {
        problem = kind->read(json_of(*table), place(entry.source()), network);
      } catch (const Json::exception&) {
        problem = fmt::format("a value of this [[{}]] has the wrong type", key.str());
      }
      if (problem) return fail(ExitCode::bad_input, "{}: {}.", place(entry.source()), *problem);
    }
  }
  return {};
}

}  // namespace

Result<vm::Network> read_network(const std::vector<std::string>& files) {
  NetBuilder network;
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(ExitCode::bad_input, "{}: this file cannot be read.", file);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto read =
        file.ends_with(".toml") ? read_toml(file, text, network) : read_json(file, text, network);
    if (!read) return tl::unexpected(read.error());
  }
  return network.finish();
}

}  // namespace xnic::sim

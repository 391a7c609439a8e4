// Test: tests/sim/line_command_test.cpp.
#include "sim/line_ports.h"

#include <optional>
#include <string_view>
#include <utility>

namespace xnic::sim {
namespace {

constexpr std::string_view kDpdk = "dpdk:";
constexpr std::string_view kCable = "cable:";

// "NAME" of "cable:NAME/0".
std::optional<std::string> cable_of(const std::string& name) {
  const size_t slash = name.rfind('/');
  if (!name.starts_with(kCable) || slash == std::string::npos || slash == kCable.size()) {
    return std::nullopt;
  }
  const std::string end = name.substr(slash + 1);
  if (end != "0" && end != "1") return std::nullopt;
  return name.substr(kCable.size(), slash - kCable.size());
}

}  // namespace

Result<LinePorts> LinePorts::start(const std::vector<std::string>& names,
                                   nic::DpdkOptions options) {
  for (const std::string& name : names) {
    if (name.starts_with(kDpdk) && name.size() > kDpdk.size()) {
      options.devices.push_back(name.substr(kDpdk.size()));
    } else if (!cable_of(name)) {
      return fail(
          ExitCode::usage,
          "port {}: write it as dpdk:DEVICE, with a PCI address, the name of a device, or a "
          "virtual device such as net_pcap0,rx_pcap=FILE; or as cable:NAME/0 or /1",
          name);
    }
  }
  LinePorts ports;
  auto dpdk = nic::Dpdk::start(options);
  if (!dpdk) return tl::unexpected(dpdk.error());
  ports.dpdk_ = std::move(*dpdk);
  return ports;
}

Result<nic::Port*> LinePorts::open(const std::string& name, uint32_t receive_queues) {
  if (const auto known = ports_.find(name); known != ports_.end()) return known->second.get();
  if (const auto cable = cable_of(name)) {
    auto ends = dpdk_->cable(*cable);
    if (!ends) return tl::unexpected(ends.error());
    const std::string stem = std::string(kCable) + *cable;
    ports_[stem + "/0"] = std::move(ends->first);
    ports_[stem + "/1"] = std::move(ends->second);
    return ports_[name].get();
  }
  auto port = dpdk_->open(name.substr(kDpdk.size()), receive_queues);
  if (!port) return tl::unexpected(port.error());
  return (ports_[name] = std::move(*port)).get();
}

}  // namespace xnic::sim

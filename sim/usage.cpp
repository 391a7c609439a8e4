// Test: tests/sim/system_test.cpp.
#include "sim/usage.h"

#include <fmt/format.h>

#include <algorithm>

namespace xnic::sim {
namespace {

// A part that works so much of the time has no time to spare.
constexpr double kBusy = 0.95;

double picoseconds(uint64_t nanoseconds) {
  return static_cast<double>(nanoseconds) * static_cast<double>(nic::kPicosecondsPerNanosecond);
}

double mean_packets(const nic::Resource& store, uint64_t simulated_ns) {
  return simulated_ns == 0 ? 0 : store.packet_time_ps / picoseconds(simulated_ns);
}

std::string_view kind_name(nic::Resource::Kind kind) {
  switch (kind) {
    case nic::Resource::Kind::store:
      return "store";
    case nic::Resource::Kind::pause:
      return "pause";
    default:
      return "server";
  }
}

}  // namespace

bool is_server(const nic::Resource& resource) {
  return resource.kind == nic::Resource::Kind::server ||
         resource.kind == nic::Resource::Kind::intake;
}

double utilisation(const nic::Resource& resource, uint64_t simulated_ns) {
  if (simulated_ns == 0) return 0;
  const double share = resource.kind == nic::Resource::Kind::store
                           ? mean_packets(resource, simulated_ns) /
                                 static_cast<double>(std::max<uint64_t>(resource.capacity, 1))
                           : static_cast<double>(resource.busy) / picoseconds(simulated_ns) /
                                 static_cast<double>(resource.servers);
  return std::min(share, 1.0);
}

std::string bottleneck(const RunSummary& summary) {
  const auto lost = [&](DropReason reason) { return summary.drops[static_cast<size_t>(reason)]; };
  const uint64_t no_room = lost(DropReason::rx_queue_full) + lost(DropReason::no_descriptor);
  const nic::Resource* busiest = nullptr;
  double most = 0;
  for (const nic::Resource& resource : summary.resources) {
    // What comes in too fast is no bottleneck of what is behind it.
    if (!is_server(resource)) continue;
    if (resource.kind == nic::Resource::Kind::intake && no_room != 0) continue;
    const double share = utilisation(resource, summary.simulated_ns);
    if (share <= most) continue;
    most = share;
    busiest = &resource;
  }
  if (busiest == nullptr) return "none: nothing was busy";
  const std::string evidence =
      fmt::format("{} is busy {:.1f} % of the time", busiest->name, 100 * most);
  if (no_room != 0) {
    return fmt::format("{}, and {} packets found no room in front of it{}", evidence, no_room,
                       most < kBusy ? ": they came in bursts" : "");
  }
  if (most >= kBusy) return evidence;
  return fmt::format("none; the busiest part, {}, works {:.1f} % of the time", busiest->name,
                     100 * most);
}

Json resources_to_json(const RunSummary& summary) {
  Json json = Json::array();
  for (const nic::Resource& resource : summary.resources) {
    Json row = {{"name", resource.name},
                {"kind", kind_name(resource.kind)},
                {"served", resource.served},
                {"utilisation", utilisation(resource, summary.simulated_ns)}};
    if (resource.kind == nic::Resource::Kind::store) {
      row["mean_packets"] = mean_packets(resource, summary.simulated_ns);
      row["capacity"] = resource.capacity;
    } else {
      row["busy_ps"] = resource.busy;
    }
    json.push_back(std::move(row));
  }
  return json;
}

}  // namespace xnic::sim

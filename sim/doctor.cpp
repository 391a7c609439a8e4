// What Linux says of itself in /sys and /proc (Documentation/ABI), read as text.
// Test: tests/sim/doctor_test.cpp.
#include "sim/doctor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

namespace xnic::sim {
namespace {

namespace fs = std::filesystem;
using State = Finding::State;

// The first line of a file; nothing for a file that is not there.
std::optional<std::string> line_of(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

uint64_t number_of(const fs::path& path) {
  uint64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) entries.push_back(entry.path());
  std::ranges::sort(entries);
  return entries;
}

// "0-3,5" as the kernel writes sets of CPUs.
std::set<int> cpus_in(const std::string& list) {
  std::set<int> cpus;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    const char* const end = part.data() + part.size();
    int first = 0;
    auto read = std::from_chars(part.data(), end, first);
    if (read.ec != std::errc()) continue;
    int last = first;
    if (read.ptr != end && *read.ptr == '-') std::from_chars(read.ptr + 1, end, last);
    for (int cpu = first; cpu <= last; ++cpu) cpus.insert(cpu);
  }
  return cpus;
}

struct PciNic {
  std::string address;
  std::string driver;  // empty for none
  int numa_node = -1;
};

std::vector<PciNic> nics_of(const DoctorOptions& options) {
  constexpr std::string_view kNetworkClass = "0x02";
  std::vector<PciNic> nics;
  for (const fs::path& device : entries_of(options.root / "sys/bus/pci/devices")) {
    const std::string address = device.filename().string();
    const auto named = std::ranges::any_of(
        options.devices, [&](const std::string& wanted) { return address.ends_with(wanted); });
    const auto type = line_of(device / "class");
    if (!named && (!options.devices.empty() || !type || !type->starts_with(kNetworkClass))) {
      continue;
    }
    PciNic nic{.address = address, .driver = ""};
    std::error_code none;
    if (const fs::path driver = fs::read_symlink(device / "driver", none); !none) {
      nic.driver = driver.filename().string();
    }
    if (const auto node = line_of(device / "numa_node")) nic.numa_node = std::atoi(node->c_str());
    nics.push_back(nic);
  }
  return nics;
}

Finding hugepages(const DoctorOptions& options) {
  uint64_t all = 0;
  uint64_t free = 0;
  for (const fs::path& size : entries_of(options.root / "sys/kernel/mm/hugepages")) {
    all += number_of(size / "nr_hugepages");
    free += number_of(size / "free_hugepages");
  }
  const char* const kCommand = "echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
  if (all == 0) {
    return {"hugepages", State::fail,
            "none is reserved: DPDK runs on pages of 4 KiB, slower, and without PCI devices",
            kCommand};
  }
  if (free == 0) {
    return {"hugepages", State::fail, fmt::format("all {} are in use", all),
            "end what holds them, or reserve more: " + std::string(kCommand)};
  }
  return {"hugepages", State::ok, fmt::format("{} of {} are free", free, all), ""};
}

Finding iommu(const DoctorOptions& options) {
  const size_t groups = entries_of(options.root / "sys/kernel/iommu_groups").size();
  if (groups != 0) return {"IOMMU", State::ok, fmt::format("{} groups", groups), ""};
  const fs::path unsafe = options.root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
  if (line_of(unsafe).value_or("N") == "Y") {
    return {"IOMMU", State::warn,
            "there is none, and vfio goes without: a device may write to any memory", ""};
  }
  return {"IOMMU", State::warn, "there is none: vfio-pci takes no device",
          "add intel_iommu=on or amd_iommu=on iommu=pt to the kernel's command line, or, without "
          "protection: echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"};
}

Finding vfio(const DoctorOptions& options) {
  if (fs::exists(options.root / "sys/module/vfio_pci")) {
    return {"vfio-pci", State::ok, "is loaded", ""};
  }
  return {"vfio-pci", State::warn, "the module is not loaded", "modprobe vfio-pci"};
}

// Drivers of the kernel beside which DPDK's run, on the same device.
bool is_bifurcated(const std::string& driver) {
  return driver == "mlx4_core" || driver == "mlx5_core" || driver == "mana";
}

void bindings(const DoctorOptions& options, const std::vector<PciNic>& nics,
              std::vector<Finding>& findings) {
  for (const std::string& device : options.devices) {
    if (std::ranges::none_of(nics,
                             [&](const PciNic& nic) { return nic.address.ends_with(device); })) {
      findings.push_back({"device " + device, State::fail, "is not there", "lspci -D"});
    }
  }
  if (nics.empty() && options.devices.empty()) {
    findings.push_back({"devices", State::warn,
                        "this machine has no PCI network device; virtual devices work", ""});
  }
  for (const PciNic& nic : nics) {
    const std::string subject = "device " + nic.address;
    const bool usable = nic.driver == "vfio-pci" || nic.driver == "igb_uio" ||
                        nic.driver == "uio_pci_generic" || is_bifurcated(nic.driver);
    if (usable) {
      findings.push_back({subject, State::ok, "is bound to " + nic.driver, ""});
    } else {
      findings.push_back({subject, options.devices.empty() ? State::warn : State::fail,
                          nic.driver.empty()
                              ? "has no driver"
                              : fmt::format("is the kernel's, by the driver {}", nic.driver),
                          "dpdk-devbind.py -b vfio-pci " + nic.address});
    }
    std::set<int> near;
    if (nic.numa_node >= 0) {
      near = cpus_in(line_of(options.root /
                             fmt::format("sys/devices/system/node/node{}/cpulist", nic.numa_node))
                         .value_or(""));
    }
    std::vector<int> far;
    std::ranges::copy_if(options.cpus, std::back_inserter(far),
                         [&](int cpu) { return !near.empty() && !near.contains(cpu); });
    if (!far.empty()) {
      findings.push_back(
          {subject, State::warn,
           fmt::format("is at NUMA node {}, far from CPU {}", nic.numa_node, fmt::join(far, ", ")),
           fmt::format("--lcores with CPUs of {}", fmt::join(near, ","))});
    }
  }
}

Finding isolation(const DoctorOptions& options) {
  const auto isolated =
      cpus_in(line_of(options.root / "sys/devices/system/cpu/isolated").value_or(""));
  std::vector<int> shared;
  std::ranges::copy_if(options.cpus, std::back_inserter(shared),
                       [&](int cpu) { return !isolated.contains(cpu); });
  if (shared.empty()) return {"isolcpus", State::ok, "the CPUs are left alone", ""};
  return {"isolcpus", State::warn,
          fmt::format("other work may run on CPU {}, and packets wait meanwhile",
                      fmt::join(shared, ", ")),
          fmt::format("add isolcpus={0} nohz_full={0} to the kernel's command line",
                      fmt::join(shared, ","))};
}

Finding governor(const DoctorOptions& options) {
  std::vector<int> saving;
  for (const int cpu : options.cpus) {
    const auto chosen = line_of(
        options.root / fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cpu));
    if (chosen && *chosen != "performance") saving.push_back(cpu);
  }
  if (saving.empty()) return {"governor", State::ok, "no CPU saves power", ""};
  return {"governor", State::warn,
          fmt::format("CPU {} may run slower to save power", fmt::join(saving, ", ")),
          fmt::format("cpupower -c {} frequency-set -g performance", fmt::join(saving, ","))};
}

Finding permissions(const DoctorOptions& options) {
  if (options.is_root) return {"permissions", State::ok, "root", ""};
  return {"permissions", State::fail,
          "not root: no hugepages and no PCI devices; virtual devices without a network interface "
          "work",
          "run xnic as root"};
}

}  // namespace

std::vector<Finding> examine(const DoctorOptions& options) {
  std::vector<Finding> findings = {permissions(options), hugepages(options), iommu(options),
                                   vfio(options)};
  bindings(options, nics_of(options), findings);
  findings.push_back(isolation(options));
  findings.push_back(governor(options));
  return findings;
}

}  // namespace xnic::sim

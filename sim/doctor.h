#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace xnic::sim {

// One thing that DPDK needs on a machine.
struct Finding {
  enum class State : uint8_t { ok, warn, fail };
  std::string subject;  // "hugepages"
  State state = State::ok;
  std::string words;    // a sentence
  std::string command;  // that mends it; empty where none can
};

struct DoctorOptions {
  std::filesystem::path root = "/";  // where /sys, /proc and /dev are
  bool is_root = false;              // who will run it
  std::vector<int> cpus;             // that are to run packets
  std::vector<std::string> devices;  // PCI addresses that are to be ports; empty: all NICs
};

// What of the machine suits DPDK and what does not. Changes nothing.
std::vector<Finding> examine(const DoctorOptions& options);

}  // namespace xnic::sim

#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/comparison.h"
#include "sim/kernel_side.h"
#include "vm/result.h"

// What the commands share that run programs on several kernels at once.
namespace xnic::sim {

// The packets of a capture that the tcpdump filter takes, in memory. `strict` makes a truncated
// capture an error, else it is a warning.
Result<std::vector<NumberedPacket>> read_packets(const std::string& path, const std::string& filter,
                                                 bool strict, std::vector<std::string>& warnings);

// Fills a map of ours as `request`, NAME=FILE.json, says, then those of all others with the same
// entries.
Result<void> fill_all(KernelSide& ours, std::span<KernelSide* const> others,
                      const std::string& request);

// The names of all programs of the side, or of the one that is wanted. Error (usage): there is none
// of this name.
Result<std::vector<std::string>> chosen_programs(const KernelSide& side, const std::string& object,
                                                 const std::string& wanted);

}  // namespace xnic::sim

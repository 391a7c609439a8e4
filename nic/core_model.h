#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "nic/profile.h"
#include "nic/time.h"
#include "vm/program.h"

namespace xnic::nic {

// What programs did with a packet on a core: eBPF instructions, and what they cost by
// CoreModel::costs (0 where nobody asked for it).
struct CoreWork {
  uint64_t instructions = 0;
  uint64_t cost = 0;

  bool operator==(const CoreWork&) const = default;
};

// A core that runs offloaded programs: how long it takes for them. How many cores there are, and
// what they do at a time, is the offload engine's.
class CoreModel {
 public:
  struct Time {
    Picoseconds computes = 0;  // the core does nothing else
    Picoseconds waits = 0;     // then, for memory: another thread may compute
  };

  virtual ~CoreModel() = default;
  // What each instruction of a program takes, by instruction slot, in a unit of the model's own
  // (vm::CostModel).
  virtual std::vector<uint32_t> costs(const vm::Program& program) const = 0;
  virtual Time time(const CoreWork& work) const = 0;
};

// Models by name, as offload.core of a profile has them.
inline constexpr std::array<std::string_view, 2> kCoreModels = {"ideal", "scalar"};
std::unique_ptr<const CoreModel> make_core_model(const NicProfile& profile);

}  // namespace xnic::nic

#pragma once

#include <cstdint>

#include "nic/resource.h"
#include "nic/time.h"

namespace xnic::nic {

// What the program at xdp.offload did with a packet, as the engine needs to know it.
struct Offloaded {
  enum class Way : uint8_t { host, transmit, drop };
  bool ran = false;  // a program is attached
  Way way = Way::host;
  uint64_t instructions = 0;
};

// The core in the NIC that runs offloaded programs, one packet at a time: a fixed cost a packet and
// a cost an instruction.
// It leaves out core models (cost of a block, a helper, a map access), several cores, and what a
// real card's firmware refuses to run.
// Test: tests/nic/offload_engine_test.cpp.
class OffloadEngine {
 public:
  // `fixed`: cost of a packet; `instruction`: cost of an eBPF instruction.
  OffloadEngine(Picoseconds fixed, Picoseconds instruction)
      : fixed_(fixed), instruction_(instruction) {}

  // When the engine would begin with a packet that is there at `ready`.
  Picoseconds start(Picoseconds ready) const { return ready > free_at_ ? ready : free_at_; }
  // Charges a run that began at `start`; gives its end.
  Picoseconds charge(Picoseconds start, const Offloaded& run) {
    if (!run.ran) return start;
    const Picoseconds time = fixed_ + run.instructions * instruction_;
    free_at_ = start + time;
    work_.add(time);
    return free_at_;
  }
  const Work& work() const { return work_; }

 private:
  Picoseconds fixed_;
  Picoseconds instruction_;
  Picoseconds free_at_ = 0;
  Work work_;
};

}  // namespace xnic::nic

#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "nic/core_model.h"
#include "nic/resource.h"
#include "nic/time.h"

namespace xnic::nic {

// What the programs at xdp.offload did with a packet, as the engine needs to know it.
struct Offloaded {
  enum class Way : uint8_t { host, transmit, drop };
  bool ran = false;  // a program is attached
  Way way = Way::host;
  CoreWork work = {};
};

// The cores in the NIC that run offloaded programs: each has threads, one packet in each, of which
// one computes at a time while others wait for memory. A packet goes to the thread that is free
// first.
// It leaves out what a real card's firmware refuses to run. Packets that leave out of order are in
// order again for DMA.
// Test: tests/nic/offload_engine_test.cpp.
class OffloadEngine {
 public:
  OffloadEngine(const NicProfile& profile, std::shared_ptr<const CoreModel> model)
      : model_(std::move(model)),
        keeps_order_(profile.offload_keeps_order.value != 0),
        computes_until_(profile.offload_cores.whole()) {
    for (uint32_t thread = 0; thread < profile.offload_threads.whole(); ++thread) {
      for (uint32_t core = 0; core < computes_until_.size(); ++core) threads_.push_back({0, core});
    }
  }

  // When the engine would begin with a packet that is there at `ready`.
  Picoseconds start(Picoseconds ready) const { return std::max(ready, threads_.front().free_at); }
  // Charges a run that began at `start`; gives when the packet leaves.
  Picoseconds charge(Picoseconds start, const Offloaded& run) {
    if (!run.ran) return start;
    const CoreModel::Time time = model_->time(run.work);
    if (time.computes + time.waits == 0) return leave(start);
    std::pop_heap(threads_.begin(), threads_.end(), std::greater<>());
    Thread& thread = threads_.back();
    Picoseconds& core = computes_until_[thread.core];
    core = std::max(core, start) + time.computes;
    work_.add(time.computes);
    const Picoseconds end = leave(core + time.waits);
    thread.free_at = core + time.waits;
    std::push_heap(threads_.begin(), threads_.end(), std::greater<>());
    return end;
  }
  // Of all cores together.
  const Work& work() const { return work_; }
  size_t cores() const { return computes_until_.size(); }

 private:
  struct Thread {
    Picoseconds free_at;
    uint32_t core;
    bool operator>(const Thread& other) const {
      return free_at != other.free_at ? free_at > other.free_at : core > other.core;
    }
  };

  Picoseconds leave(Picoseconds end) {
    if (!keeps_order_) return end;
    last_end_ = std::max(last_end_, end);
    return last_end_;
  }

  std::shared_ptr<const CoreModel> model_;
  bool keeps_order_;
  std::vector<Picoseconds> computes_until_;  // by core
  std::vector<Thread> threads_;              // std::push_heap order, the first to be free in front
  Picoseconds last_end_ = 0;
  Work work_;
};

}  // namespace xnic::nic

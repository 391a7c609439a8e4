#pragma once

#include <algorithm>
#include <cstdint>
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
        computes_until_(profile.offload_cores.whole()),
        last_time_(model_->time(last_work_)) {
    for (uint32_t thread = 0; thread < profile.offload_threads.whole(); ++thread) {
      for (uint32_t core = 0; core < computes_until_.size(); ++core) threads_.push_back({0, core});
    }
  }

  // When the engine would begin with a packet that is there at `ready`.
  Picoseconds start(Picoseconds ready) const { return std::max(ready, threads_.front().free_at); }
  // Charges a run that began at `start`; gives when the packet leaves.
  Picoseconds charge(Picoseconds start, const Offloaded& run) {
    if (!run.ran) return start;
    const CoreModel::Time time = time_of(run.work);
    if (time.computes + time.waits == 0) return leave(start);
    const Thread thread = threads_.front();
    Picoseconds& core = computes_until_[thread.core];
    core = std::max(core, start) + time.computes;
    work_.add(time.computes);
    replace_first({core + time.waits, thread.core});
    return leave(core + time.waits);
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

  // Most runs take what the one before took.
  const CoreModel::Time& time_of(const CoreWork& work) {
    if (work != last_work_) {
      last_work_ = work;
      last_time_ = model_->time(work);
    }
    return last_time_;
  }
  // Of the heap: the first to be free is free later.
  void replace_first(const Thread& later) {
    size_t place = 0;
    for (size_t child = 1; child < threads_.size(); child = 2 * place + 1) {
      if (child + 1 < threads_.size() && threads_[child] > threads_[child + 1]) ++child;
      if (!(later > threads_[child])) break;
      threads_[place] = threads_[child];
      place = child;
    }
    threads_[place] = later;
  }
  Picoseconds leave(Picoseconds end) {
    if (!keeps_order_) return end;
    last_end_ = std::max(last_end_, end);
    return last_end_;
  }

  std::shared_ptr<const CoreModel> model_;
  bool keeps_order_;
  std::vector<Picoseconds> computes_until_;  // by core
  std::vector<Thread> threads_;              // a heap: none is free later than its children
  Picoseconds last_end_ = 0;
  CoreWork last_work_;
  CoreModel::Time last_time_;  // that it took
  Work work_;
};

}  // namespace xnic::nic

// What timed and untimed runs share: counting, and the CPUs that programs see. Test:
// tests/sim/untimed_test.cpp, tests/sim/system_test.cpp.
#include "sim/run.h"

#include <algorithm>

namespace xnic::sim {

void Tally::add(const Outcome& outcome) {
  for (size_t i = 0; i < kEnds; ++i) sums_.copies[i] += outcome.copies[i];
  if (outcome.end == End::dropped) return add_drop(outcome.reason, outcome.end_ps);
  ++sums_.frames;
  end_ps_ = std::max(end_ps_, outcome.end_ps);
  ++(outcome.end == End::delivered ? sums_.delivered : sums_.transmitted);
  latencies_.add(outcome.end_ps - outcome.arrival_ps);
}

void Tally::add_drop(DropReason reason, uint64_t end_ps) {
  ++sums_.frames;
  end_ps_ = std::max(end_ps_, end_ps);
  ++sums_.drops[static_cast<size_t>(reason)];
}

void Tally::add(const Tally& other) {
  const RunSummary& theirs = other.sums_;
  sums_.frames += theirs.frames;
  sums_.delivered += theirs.delivered;
  sums_.transmitted += theirs.transmitted;
  for (size_t i = 0; i < kDropReasons; ++i) sums_.drops[i] += theirs.drops[i];
  for (size_t i = 0; i < kEnds; ++i) sums_.copies[i] += theirs.copies[i];
  end_ps_ = std::max(end_ps_, other.end_ps_);
  latencies_.add(other.latencies_);
}

RunSummary Tally::summary() const {
  RunSummary summary = sums_;
  summary.simulated_ns = end_ps_ / nic::kPicosecondsPerNanosecond;
  summary.latency = latencies_.summary();
  return summary;
}

Environments::Environments(const RunOptions& options) : cores(options.profile.cores.whole()) {
  // Generators of neighbouring CPUs start far apart; index 0 is the NIC's engine.
  const auto generator = [&](uint64_t index) {
    return vm::Prng(options.seed + index * 0xd1342543de82ef95ull);
  };
  const auto set_up = [&](vm::Environment& environment, uint64_t index) {
    environment.prng = generator(index);
    environment.counts_runs = options.counts_runs;
    environment.trace = options.trace;
    environment.record = options.record;
    environment.fault = options.fault;
    environment.network = options.network;
  };
  set_up(offload, 0);
  for (uint32_t cpu = 0; cpu < cores.size(); ++cpu) {
    set_up(cores[cpu], cpu + 1);
    cores[cpu].cpu = cpu;
    cores[cpu].timers = &timers;
  }
}

vm::Environment& Environments::offload_of_queue(uint32_t queue) {
  offload.cpu = of_queue(queue).cpu;
  return offload;
}

void Environments::run_timers(uint64_t now_ns) {
  for (uint64_t next = timers.next(); next <= now_ns;) {
    for (vm::Environment& core : cores) timers.run_until(next, core);
    if (timers.next() == next) return;  // of a CPU that this machine does not have
    next = timers.next();
  }
}

}  // namespace xnic::sim

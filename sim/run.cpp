// What timed and untimed runs share: counting, latencies, and the CPUs that programs see.
// Latencies are counted in buckets of a 32nd of their magnitude, so a run of any length needs the
// same memory. Test: tests/sim/untimed_test.cpp, tests/sim/system_test.cpp.
#include "sim/run.h"

#include <algorithm>
#include <bit>

namespace xnic::sim {
namespace {

constexpr int kFractionBits = 5;  // 32 buckets for each power of two

// Values below 32 have a bucket each; a later one holds the values that share its power of two and
// the five bits after the leading one.
size_t bucket_of(uint64_t value) {
  const int magnitude = std::max(static_cast<int>(std::bit_width(value)) - kFractionBits - 1, 0);
  return (static_cast<size_t>(magnitude) << kFractionBits) + (value >> magnitude);
}

uint64_t bucket_start(size_t bucket) {
  constexpr size_t kSize = 1u << kFractionBits;
  if (bucket < 2 * kSize) return bucket;
  const size_t magnitude = bucket / kSize - 1;
  return static_cast<uint64_t>(bucket % kSize + kSize) << magnitude;
}

}  // namespace

void Tally::add(const Outcome& outcome) {
  ++sums_.frames;
  for (size_t i = 0; i < kEnds; ++i) sums_.copies[i] += outcome.copies[i];
  end_ps_ = std::max(end_ps_, outcome.end_ps);
  if (outcome.end == End::dropped) {
    ++sums_.drops[static_cast<size_t>(outcome.reason)];
    return;
  }
  const bool first = sums_.delivered + sums_.transmitted == 0;
  ++(outcome.end == End::delivered ? sums_.delivered : sums_.transmitted);
  const uint64_t latency = outcome.end_ps - outcome.arrival_ps;
  auto& seen = sums_.latency;
  seen.minimum_ps = first ? latency : std::min(seen.minimum_ps, latency);
  seen.maximum_ps = std::max(seen.maximum_ps, latency);
  ++latencies_[bucket_of(latency)];
}

void Tally::add(const Tally& other) {
  const RunSummary& theirs = other.sums_;
  const bool first = sums_.delivered + sums_.transmitted == 0;
  const bool any = theirs.delivered + theirs.transmitted != 0;
  sums_.frames += theirs.frames;
  sums_.delivered += theirs.delivered;
  sums_.transmitted += theirs.transmitted;
  for (size_t i = 0; i < kDropReasons; ++i) sums_.drops[i] += theirs.drops[i];
  for (size_t i = 0; i < kEnds; ++i) sums_.copies[i] += theirs.copies[i];
  end_ps_ = std::max(end_ps_, other.end_ps_);
  for (size_t i = 0; i < kBuckets; ++i) latencies_[i] += other.latencies_[i];
  if (!any) return;
  LatencySummary& seen = sums_.latency;
  const LatencySummary& added = theirs.latency;
  seen.minimum_ps = first ? added.minimum_ps : std::min(seen.minimum_ps, added.minimum_ps);
  seen.maximum_ps = std::max(seen.maximum_ps, added.maximum_ps);
}

RunSummary Tally::summary() const {
  RunSummary summary = sums_;
  summary.simulated_ns = end_ps_ / nic::kPicosecondsPerNanosecond;
  const uint64_t count = sums_.delivered + sums_.transmitted;
  const auto percentile = [&](uint64_t hundredths) {
    uint64_t left = (count * hundredths + 99) / 100;
    for (size_t i = 0; i < latencies_.size() && left > 0; ++i) {
      if (latencies_[i] >= left) return std::max(bucket_start(i), sums_.latency.minimum_ps);
      left -= latencies_[i];
    }
    return uint64_t{0};
  };
  summary.latency.median_ps = percentile(50);
  summary.latency.p99_ps = percentile(99);
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

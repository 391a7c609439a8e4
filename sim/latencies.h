#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace xnic::sim {

// Of times in picoseconds.
struct LatencySummary {
  uint64_t count = 0;
  uint64_t sum_ps = 0;
  uint64_t minimum_ps = 0;
  uint64_t median_ps = 0;  // percentiles are at most 1/128 too small
  uint64_t p90_ps = 0;
  uint64_t p99_ps = 0;
  uint64_t p999_ps = 0;  // 99.9 %
  uint64_t maximum_ps = 0;
};

// Counts times in buckets of a 128th of their magnitude (log-linear, error below 0.8 %), so that a
// run of any length needs the same memory.
class Latencies {
 public:
  void add(uint64_t picoseconds);
  void add(const Latencies& other);
  LatencySummary summary() const;

 private:
  static constexpr size_t kBuckets = 64 * 128;

  LatencySummary seen_;  // without percentiles
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(kBuckets);
};

}  // namespace xnic::sim

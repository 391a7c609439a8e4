// Test: tests/sim/untimed_test.cpp, tests/sim/system_test.cpp.
#include "sim/latencies.h"

#include <algorithm>
#include <bit>

namespace xnic::sim {
namespace {

constexpr int kFractionBits = 7;  // 128 buckets for each power of two

// Values below 128 have a bucket each; a later one holds the values that share its power of two and
// the seven bits after the leading one.
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

void Latencies::add(uint64_t picoseconds) {
  seen_.minimum_ps = seen_.count == 0 ? picoseconds : std::min(seen_.minimum_ps, picoseconds);
  seen_.maximum_ps = std::max(seen_.maximum_ps, picoseconds);
  ++seen_.count;
  seen_.sum_ps += picoseconds;
  ++counts_[bucket_of(picoseconds)];
}

void Latencies::add(const Latencies& other) {
  const LatencySummary& theirs = other.seen_;
  if (theirs.count == 0) return;
  seen_.minimum_ps =
      seen_.count == 0 ? theirs.minimum_ps : std::min(seen_.minimum_ps, theirs.minimum_ps);
  seen_.maximum_ps = std::max(seen_.maximum_ps, theirs.maximum_ps);
  seen_.count += theirs.count;
  seen_.sum_ps += theirs.sum_ps;
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
}

LatencySummary Latencies::summary() const {
  LatencySummary summary = seen_;
  const auto percentile = [&](uint64_t thousandths) {
    uint64_t left = (seen_.count * thousandths + 999) / 1000;
    for (size_t i = 0; i < counts_.size() && left > 0; ++i) {
      if (counts_[i] >= left) return std::max(bucket_start(i), seen_.minimum_ps);
      left -= counts_[i];
    }
    return uint64_t{0};
  };
  summary.median_ps = percentile(500);
  summary.p90_ps = percentile(900);
  summary.p99_ps = percentile(990);
  summary.p999_ps = percentile(999);
  return summary;
}

}  // namespace xnic::sim

#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

#include "nic/profile.h"
#include "nic/time.h"

namespace xnic::nic {

// The root complex's IOMMU: a TLB of pages, of which the one used longest ago gives way, and a few
// page walkers. Without entries there is no IOMMU.
// It leaves out page walk caches and invalidations.
// Test: tests/nic/pcie_test.cpp.
class Iommu {
 public:
  explicit Iommu(const NicProfile& profile)
      : entries_(profile.iommu_entries.whole()),
        page_bytes_(profile.iommu_page_kib.whole() * uint64_t{1024}),
        walk_(from_nanoseconds(profile.iommu_walk_ns.value)),
        walkers_free_(profile.iommu_walkers.whole()) {}

  // When what the address of a transfer that is there at `now` stands for is known.
  Picoseconds translate(Picoseconds now, uint64_t address) {
    return entries_ == 0 ? now : look_up(now, address / page_bytes_);
  }

 private:
  Picoseconds look_up(Picoseconds now, uint64_t page);

  size_t entries_;
  uint64_t page_bytes_;
  Picoseconds walk_;
  std::vector<Picoseconds> walkers_free_;
  std::list<uint64_t> pages_;  // used last in front
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> places_;
};

}  // namespace xnic::nic

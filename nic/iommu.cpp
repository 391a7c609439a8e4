#include "nic/iommu.h"

#include <algorithm>

namespace xnic::nic {

Picoseconds Iommu::look_up(Picoseconds now, uint64_t page) {
  if (!pages_.empty() && pages_.front() == page) return now;
  if (const auto known = places_.find(page); known != places_.end()) {
    pages_.splice(pages_.begin(), pages_, known->second);
    return now;
  }
  if (pages_.size() == entries_) {
    places_.erase(pages_.back());
    pages_.pop_back();
  }
  pages_.push_front(page);
  places_[page] = pages_.begin();
  Picoseconds& walker = *std::min_element(walkers_free_.begin(), walkers_free_.end());
  walker = std::max(now, walker) + walk_;
  return walker;
}

}  // namespace xnic::nic

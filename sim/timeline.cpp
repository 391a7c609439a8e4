#include "sim/timeline.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

namespace xnic::sim {

void Timeline::begin(std::vector<Place> places) {
  places_ = std::move(places);
  lanes_.resize(places_.size());
  levels_.resize(places_.size());
  told_levels_.resize(places_.size());
  for (TimelineSink* sink : sinks_) sink->begin(places_);
}

void Timeline::ended(uint64_t packet, const std::vector<Stay>& stays, const char* label) {
  const auto add = [&](const Change& change) {
    changes_.push_back(change);
    std::push_heap(changes_.begin(), changes_.end(), std::greater<>());
  };
  size_t last = stays.size();
  for (size_t i = 0; i < stays.size(); ++i) {
    if (!places_[stays[i].place].store && stays[i].end > stays[i].begin) last = i;
  }
  for (size_t i = 0; i < stays.size(); ++i) {
    const auto& [place, begin, end] = stays[i];
    if (end <= begin) continue;
    add({begin, order_++, packet, label, place, true, i == last});
    add({end, order_++, packet, label, place, false, i == last});
  }
  under_way_[packet - first_].over = true;
  while (!under_way_.empty() && under_way_.front().over) {
    under_way_.pop_front();
    ++first_;
  }
  if (!under_way_.empty()) tell_until(under_way_.front().time);
}

void Timeline::finish() {
  tell_until(std::numeric_limits<nic::Picoseconds>::max());
  for (const uint32_t place : touched_) tell_level(place);
  touched_.clear();
}

// Only what is earlier: more may come of that time.
void Timeline::tell_until(nic::Picoseconds time) {
  while (!changes_.empty() && changes_.front().time < time) {
    const Change change = changes_.front();
    std::pop_heap(changes_.begin(), changes_.end(), std::greater<>());
    changes_.pop_back();
    if (change.time != now_) {
      for (const uint32_t place : touched_) tell_level(place);
      touched_.clear();
      now_ = change.time;
    }
    tell(change);
  }
}

void Timeline::tell(const Change& change) {
  const uint32_t place = change.place;
  levels_[place] += change.begins ? 1 : -1;
  if (std::ranges::find(touched_, place) == touched_.end()) touched_.push_back(place);
  if (places_[place].store) return;
  std::vector<uint64_t>& lanes = lanes_[place];
  auto lane = std::ranges::find(lanes, change.begins ? uint64_t{0} : change.packet);
  if (lane == lanes.end()) lane = lanes.insert(lane, 0);
  const auto number = static_cast<uint32_t>(lane - lanes.begin());
  *lane = change.begins ? change.packet : 0;
  for (TimelineSink* sink : sinks_) {
    if (change.begins) {
      sink->served(place, number, change.time, change.packet, change.label, change.last);
    } else {
      sink->idle(place, number, change.time);
    }
  }
}

void Timeline::tell_level(uint32_t place) {
  if (levels_[place] == told_levels_[place]) return;
  told_levels_[place] = levels_[place];
  for (TimelineSink* sink : sinks_) sink->level(place, now_, levels_[place]);
}

}  // namespace xnic::sim

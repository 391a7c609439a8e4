#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "nic/time.h"

namespace xnic::sim {

// A part of the model at which packets are: a server works on them (in lanes, where it has several
// at a time), a store lets them wait.
struct Place {
  std::string name;  // "cpu 0"
  bool store = false;
};

// Told of a run as it goes on, in the order of time, whichever order the model works in.
class TimelineSink {
 public:
  virtual ~TimelineSink() = default;
  virtual void begin(const std::vector<Place>& places) = 0;
  // A server's lane works on a packet from then to then. `label`, a static string, is how the
  // packet's way ended; `last` says that this was its last server.
  virtual void served(uint32_t place, uint32_t lane, nic::Picoseconds time, uint64_t packet,
                      const char* label, bool last) = 0;
  virtual void idle(uint32_t place, uint32_t lane, nic::Picoseconds time) = 0;
  // So many packets are at the place from now on: one call for each time at which that changes.
  virtual void level(uint32_t place, nic::Picoseconds time, uint32_t packets) = 0;
};

// Puts the stays of packets, which are known when their ways end, into the order of time. It holds
// what packets that are still under way may come before, so memory grows with them and not with the
// run. Test: tests/sim/trace_command_test.cpp.
class Timeline {
 public:
  struct Stay {
    uint32_t place;
    nic::Picoseconds begin;
    nic::Picoseconds end;
  };

  // The sinks must outlive the timeline.
  explicit Timeline(std::vector<TimelineSink*> sinks) : sinks_(std::move(sinks)) {}

  void begin(std::vector<Place> places);
  // Packets come in by their numbers, from 1 on without a gap; nothing of theirs is earlier.
  void came(nic::Picoseconds time) { under_way_.push_back({time, false}); }
  // Its way is over, with these stays in their order. Those of no length are not told.
  void ended(uint64_t packet, const std::vector<Stay>& stays, const char* label);
  // No more will come.
  void finish();

 private:
  // Of changes at the same time ends come first, so that a lane is free again.
  struct Change {
    nic::Picoseconds time;
    uint64_t order;
    uint64_t packet;
    const char* label;
    uint32_t place;
    bool begins;
    bool last;
    bool operator>(const Change& other) const {
      if (time != other.time) return time > other.time;
      if (begins != other.begins) return begins;
      return order > other.order;
    }
  };
  struct Packet {
    nic::Picoseconds time;
    bool over;
  };

  void tell_until(nic::Picoseconds time);
  void tell(const Change& change);
  void tell_level(uint32_t place);

  std::vector<TimelineSink*> sinks_;
  std::vector<Place> places_;
  std::vector<std::vector<uint64_t>> lanes_;  // by place: the packet in each, 0 for none
  std::vector<uint32_t> levels_;              // by place
  std::vector<uint32_t> told_levels_;
  std::vector<uint32_t> touched_;  // places whose level may have changed at now_
  nic::Picoseconds now_ = 0;
  std::deque<Packet> under_way_;
  uint64_t first_ = 1;           // number of under_way_'s first
  std::vector<Change> changes_;  // std::push_heap order, earliest in front
  uint64_t order_ = 0;
};

}  // namespace xnic::sim

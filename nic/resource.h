#pragma once

#include <cstdint>
#include <string>

#include "nic/time.h"

namespace xnic::nic {

// What a part of the model did in a run: above all a server, which works on one thing at a time, or
// a store, in which packets wait.
struct Resource {
  enum class Kind : uint8_t {
    intake,  // a server at which packets come in
    server,
    store,
    pause,  // a wire that pause frames stop: how many said so, and for how long it stood still
  };

  std::string name;  // "cpu 0"
  Kind kind = Kind::server;
  uint64_t served = 0;        // frames, transfers, polls; packets that a store held
  Picoseconds busy = 0;       // how long it worked; of a store nothing
  double packet_time_ps = 0;  // of a store: how long packets stayed, added up
  uint64_t capacity = 0;      // of a store, packets
  uint64_t servers = 1;       // of a server: how many of its kind share the work
};

// How long a server worked, and on how much.
struct Work {
  uint64_t served = 0;
  Picoseconds busy = 0;

  void add(Picoseconds time) {
    ++served;
    busy += time;
  }
};

}  // namespace xnic::nic

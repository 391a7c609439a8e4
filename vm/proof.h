#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

namespace xnic::vm {

class Map;

// What following the values of a program took.
struct VerifierStatistics {
  uint64_t instructions = 0;  // looked at, each as often as a path came along
  uint32_t states = 0;        // checkpoints made
  uint32_t peak_states = 0;   // at one time
  uint32_t most_states_of_an_instruction = 0;
  std::chrono::nanoseconds time{};
};

// What the verifier found out about a program that engines may use. Empty of a program whose
// values it did not follow.
struct Proof {
  // A helper call, over all paths that reach it.
  struct Call {
    const Map* map = nullptr;   // the map that it is called on, null if that is not always one
    bool key_is_known = false;  // a lookup in an array, always with the same constant key
    uint64_t key = 0;
  };

  std::vector<uint8_t> reached;    // by instruction slot: whether any path comes there
  std::map<uint32_t, Call> calls;  // by instruction

  bool reaches(uint32_t index) const { return reached.empty() || reached[index] != 0; }
};

}  // namespace xnic::vm

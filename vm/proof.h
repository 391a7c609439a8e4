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

  // A function, over all paths through it.
  struct Function {
    uint32_t stack_bytes = 0;      // that it uses, from r10 down
    bool reads_unwritten = false;  // whether anyone may read some of these before they are written
  };

  std::vector<uint8_t> reached;        // by instruction slot: whether any path comes there
  std::vector<uint8_t> meets_context;  // by instruction slot: whether it accesses the context
  std::map<uint32_t, Call> calls;      // by instruction
  std::vector<Function> functions;     // by subprogram

  bool reaches(uint32_t index) const { return reached.empty() || reached[index] != 0; }
};

}  // namespace xnic::vm

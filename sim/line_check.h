#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sim/interface_hooks.h"
#include "sim/run.h"

namespace xnic::sim {

// Holds the frames that came back from a line against what the untimed replay of the frames that
// were sent makes of them. Frames are told apart by their bytes alone: whatever order they come in.
class LineCheck {
 public:
  // Frames are sent into the interface `in` of a machine with these hooks, and come back from
  // `out`. Hooks must outlive it, and be of programs and maps that nothing else uses.
  LineCheck(InterfaceHooks hooks, const RunOptions& options, uint32_t in, uint32_t out);
  ~LineCheck();

  void came(std::span<const uint8_t> frame) { frames_[{frame.begin(), frame.end()}] += 1; }
  // After all have come: one that was sent, in the order of sending.
  void sent(std::span<const uint8_t> frame);

  struct Answer {
    uint64_t predicted = 0;
    uint64_t missing = 0;               // predicted, and did not come
    uint64_t unexpected = 0;            // came, and was not predicted
    std::vector<std::string> examples;  // a sentence each, with the frame's bytes; a few
  };
  Answer answer() const;

 private:
  struct Machine;

  std::unique_ptr<Machine> machine_;
  uint32_t in_;
  uint32_t out_;
  uint64_t predicted_ = 0;
  std::map<std::vector<uint8_t>, int64_t> frames_;  // came more often than predicted
};

}  // namespace xnic::sim

#pragma once

#include <map>
#include <tl/expected.hpp>
#include <vector>

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// The checkpoints: states at prune points from which paths were or are followed. They end paths
// that can bring nothing new, and find loops that do not end.
class Explored {
 public:
  explicit Explored(Environment& env) : env_(env), heads_(env.code.size()) {}

  enum class Answer : uint8_t { go_on, seen };
  // At a prune point. Makes a checkpoint of the present state where it seems worth it.
  tl::expected<Answer, Refusal> visit();
  // The path with this state has ended.
  void end_path(State& state);

  void count_instruction() { ++instructions_; }
  void count_jump() { ++jumps_; }
  uint64_t instructions() const { return instructions_; }
  uint32_t states() const { return total_; }
  uint32_t peak() const { return peak_; }
  uint32_t most_of_an_instruction() const { return most_of_an_instruction_; }

  // The checkpoint of the turn before this one of a loop through the instruction, where there is a
  // checkpoint at each turn; null in the first.
  static State* turn_before(const State& now, uint32_t index) {
    // The parent is the checkpoint of this very turn.
    return now.parent == nullptr ? nullptr : last_at(now.parent->parent, now, index);
  }
  // The last checkpoint of this path at the instruction, in the same calls; null if none.
  static State* last_at(State* from, const State& like, uint32_t index);

 private:
  // One stay in a loop of the control flow, by the calls that led to it.
  struct Stay {
    State* entry = nullptr;
    std::vector<std::pair<State*, StatePointer>> turns;  // like which, ends as which
  };
  using StayKey = std::vector<uint32_t>;

  bool key_of(const State& state, StayKey& key) const;
  bool has_open_turns(const State& state);
  void enter_loop(State& state);
  void leave_loop(State& state);
  void clean(State& state);
  void release(State& state);
  bool may_loop(const State& old) const;
  tl::expected<bool, Refusal> ends_at(State& old, bool& is_turn, bool& add);
  std::vector<State*>& kept_with(const State& state);
  State& keep();

  Environment& env_;
  std::vector<std::vector<State*>> heads_;  // see kept_with(), the newest last
  std::vector<StatePointer> owned_;
  std::map<StayKey, Stay> stays_;
  uint64_t instructions_ = 0;
  uint64_t jumps_ = 0;
  uint64_t instructions_before_ = 0;
  uint64_t jumps_before_ = 0;
  uint32_t total_ = 0;
  uint32_t peak_ = 0;
  uint32_t most_of_an_instruction_ = 0;
};

}  // namespace xnic::vm::verifier

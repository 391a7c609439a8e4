#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "vm/isa.h"
#include "vm/verifier/state.h"

namespace xnic::vm::verifier {

// Where on a path things came to be that a refusal at its end is about. Fed with the state before
// each instruction of the path, in order.
class Origins {
 public:
  explicit Origins(std::span<const bpf_insn> code) : code_(code) {}

  void see(const State& now, uint32_t index);

  // The comparison that proved the most bytes behind a packet pointer of this type and id.
  std::optional<uint32_t> proof(Type type, uint32_t id) const;
  // What gave a pointer of this id that may be NULL.
  std::optional<uint32_t> maker(uint32_t id) const;
  // The call that made the packet pointer in this register of the innermost frame void.
  std::optional<uint32_t> voider(uint32_t number) const;
  // The call that left nothing in this register of the innermost frame.
  std::optional<uint32_t> loser(uint32_t number) const;
  // Where the lock that is held was taken.
  std::optional<uint32_t> locker() const { return locked_at_; }
  // The state before the last instruction that was seen; null before the first.
  const State* last() const { return seen_ ? &before_ : nullptr; }

 private:
  struct Proven {
    int32_t extent = 0;
    uint32_t at = 0;
  };
  using Slot = std::pair<uint32_t, uint32_t>;  // frame, slot

  void note_proofs(State& now, uint32_t at);
  void note_call(const State& now, uint32_t at);
  void note_write(const State& now, const bpf_insn& insn);

  std::span<const bpf_insn> code_;
  bool seen_ = false;
  State before_;
  uint32_t index_ = 0;
  std::map<std::pair<Type, uint32_t>, Proven> proofs_;
  std::map<uint32_t, uint32_t> makers_;
  std::map<uint32_t, uint32_t> voided_;  // by register of the innermost frame
  std::map<Slot, uint32_t> voided_slots_;
  std::map<uint32_t, uint32_t> lost_;  // by register
  std::optional<uint32_t> locked_at_;
};

}  // namespace xnic::vm::verifier

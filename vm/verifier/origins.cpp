// Keeps one state and compares it with the next. Left out: what is voided in a function's caller.
// Test: tests/sim/verify_words_test.cpp.
#include "vm/verifier/origins.h"

#include <algorithm>

namespace xnic::vm::verifier {
namespace {

std::optional<uint32_t> found(const std::map<uint32_t, uint32_t>& map, uint32_t key) {
  const auto at = map.find(key);
  return at == map.end() ? std::nullopt : std::optional(at->second);
}

bool was_voided(const Register& before, const Register& now) {
  return before.is_packet_or_end() && now.is_scalar();
}

}  // namespace

void Origins::see(const State& now, uint32_t index) {
  State next = now;
  if (seen_) {
    const bpf_insn& insn = code_[index_];
    const Kind kind = opcode(insn).kind;
    if (next.frames.size() != before_.frames.size()) {
      voided_.clear();
      lost_.clear();
    } else if (kind == Kind::call || kind == Kind::load_packet) {
      note_call(next, index_);
    } else {
      note_write(next, insn);
    }
    if (kind == Kind::jump_if) note_proofs(next, index_);
    const Register& result = next[kind == Kind::call ? 0 : insn.dst_reg];
    const bool makes = kind == Kind::call || kind == Kind::load;
    if (makes && result.maybe_null && result.id != 0) makers_.emplace(result.id, index_);
    if (before_.lock_id == 0 && next.lock_id != 0) locked_at_ = index_;
  }
  before_ = std::move(next);
  index_ = index;
  seen_ = true;
}

void Origins::note_proofs(State& now, uint32_t at) {
  now.for_each([&](const Register& r) {
    if (!r.is_packet() || r.extent <= 0) return;
    Proven& proven = proofs_[{r.type, r.id}];
    if (r.extent > proven.extent) proven = {r.extent, at};
  });
}

void Origins::note_call(const State& now, uint32_t at) {
  for (uint32_t i = 0; i <= 5; ++i) {
    voided_.erase(i);
    if (now.frame()[i].type == Type::uninitialised) lost_[i] = at;
  }
  for (uint32_t i = 6; i < kRegisters; ++i) {
    if (was_voided(before_.frame()[i], now.frame()[i])) voided_[i] = at;
  }
  for (uint32_t f = 0; f < now.frames.size(); ++f) {
    const auto& old_stack = before_.frames[f].stack;
    const auto& stack = now.frames[f].stack;
    for (uint32_t slot = 0; slot < std::min(stack.size(), old_stack.size()); ++slot) {
      if (was_voided(old_stack[slot].value, stack[slot].value)) voided_slots_[{f, slot}] = at;
    }
  }
}

// A register that is written holds something else from now on, or what another one held.
void Origins::note_write(const State& now, const bpf_insn& insn) {
  const Opcode& op = opcode(insn);
  const uint32_t target = insn.dst_reg;
  std::optional<uint32_t> voided;
  switch (op.kind) {
    case Kind::alu:
      if (op.operation != BPF_MOV) {
        voided = found(voided_, target);
      } else if (op.source_register) {
        voided = found(voided_, insn.src_reg);
      }
      break;
    case Kind::load:
      if (insn.src_reg == kFramePointer && insn.off < 0) {
        const auto slot = (static_cast<uint32_t>(-insn.off) - 1) / kSlotBytes;
        const auto at = voided_slots_.find({now.depth(), slot});
        if (at != voided_slots_.end()) voided = at->second;
      }
      break;
    case Kind::store:
      if (insn.dst_reg == kFramePointer && insn.off < 0) {
        voided_slots_.erase({now.depth(), (static_cast<uint32_t>(-insn.off) - 1) / kSlotBytes});
      }
      return;
    case Kind::negate:
    case Kind::byte_swap:
    case Kind::load_signed:
    case Kind::load_immediate:
      break;
    default:
      return;
  }
  lost_.erase(target);
  voided_.erase(target);
  if (voided) voided_[target] = *voided;
}

std::optional<uint32_t> Origins::proof(Type type, uint32_t id) const {
  const auto at = proofs_.find({type, id});
  return at == proofs_.end() ? std::nullopt : std::optional(at->second.at);
}

std::optional<uint32_t> Origins::maker(uint32_t id) const { return found(makers_, id); }
std::optional<uint32_t> Origins::voider(uint32_t number) const { return found(voided_, number); }
std::optional<uint32_t> Origins::loser(uint32_t number) const { return found(lost_, number); }

}  // namespace xnic::vm::verifier

#include "vm/verifier/precision.h"

#include <array>
#include <bit>

namespace xnic::vm::verifier {
namespace {

constexpr uint32_t kArguments = 0x3e;  // r1 to r5
constexpr uint32_t bit(uint32_t number) { return 1u << number; }
constexpr uint64_t slot_bit(uint32_t slot) { return uint64_t{1} << slot; }

// Registers and slots, frame by frame, whose values are asked for.
struct Wanted {
  struct OfFrame {
    uint32_t registers = 0;
    uint64_t slots = 0;
  };
  std::array<OfFrame, kMaxCallFrames> frames{};
  uint32_t depth = 0;

  OfFrame& here() { return frames[depth]; }
  bool has(uint32_t number) const { return (frames[depth].registers & bit(number)) != 0; }
  void add(uint32_t number) { frames[depth].registers |= bit(number); }
  void drop(uint32_t number) { frames[depth].registers &= ~bit(number); }
  bool is_empty() const {
    for (uint32_t i = 0; i <= depth; ++i) {
      if (frames[i].registers != 0 || frames[i].slots != 0) return false;
    }
    return true;
  }
  bool has(const LinkedRegister& r) const {
    return r.frame <= depth && (r.is_slot ? (frames[r.frame].slots & slot_bit(r.number)) != 0
                                          : (frames[r.frame].registers & bit(r.number)) != 0);
  }
  void add(const LinkedRegister& r) {
    if (r.is_slot) {
      frames[r.frame].slots |= slot_bit(r.number);
    } else {
      frames[r.frame].registers |= bit(r.number);
    }
  }
};

enum class Trace : uint8_t { on, lost };

// Undoes one instruction: what was asked for after it becomes what is asked for before it.
class Backtrack {
 public:
  Backtrack(const Environment& env, Wanted& wanted) : env_(env), wanted_(wanted) {}

  // `next` is the instruction that followed on the path.
  Trace undo(uint32_t index, uint32_t next, const Step* step) {
    add_linked(step);
    const Trace trace = undo_effect(index, next, step);
    add_linked(step);
    return trace;
  }

 private:
  // Numbers that were narrowed together are asked for together.
  void add_linked(const Step* step) {
    if (step == nullptr || step->linked.empty()) return;
    bool some = false;
    for (const LinkedRegister& r : step->linked) some = some || wanted_.has(r);
    if (!some) return;
    for (const LinkedRegister& r : step->linked) {
      if (r.frame <= wanted_.depth) wanted_.add(r);
    }
  }

  Trace undo_effect(uint32_t index, uint32_t next, const Step* step) {
    const bpf_insn& insn = env_.code[index];
    const Opcode& op = opcode(insn);
    const uint32_t target = insn.dst_reg;
    const uint32_t source = insn.src_reg;
    switch (op.kind) {
      case Kind::alu:
        if (!wanted_.has(target)) return Trace::on;
        if (op.operation == BPF_MOV) wanted_.drop(target);
        if (op.source_register && source != kFramePointer) wanted_.add(source);
        return Trace::on;
      case Kind::load:
      case Kind::load_signed:
        undo_load(target, step);
        return Trace::on;
      case Kind::store:
      case Kind::store_immediate:
        return undo_store(insn, op.kind == Kind::store, step);
      case Kind::atomic:
        if (insn.imm == kLoadAcquire) {
          undo_load(target, step);
          return Trace::on;
        }
        if (insn.imm == kStoreRelease) return undo_store(insn, true, step);
        if ((insn.imm & kAtomicFetch) != 0) {
          undo_load(insn.imm == kAtomicCompareExchange ? 0 : source, step);
          return Trace::on;
        }
        return undo_store(insn, true, step);
      case Kind::load_immediate:
        wanted_.drop(target);
        return Trace::on;
      case Kind::load_packet:
        if (wanted_.has(0)) wanted_.drop(0);
        // It ended its function.
        if (next != index + 1) return enter(false);
        return Trace::on;
      case Kind::jump_if:
        if (!op.source_register || (!wanted_.has(target) && !wanted_.has(source))) {
          return Trace::on;
        }
        if (step == nullptr || !step->right_is_stack) wanted_.add(source);
        if (step == nullptr || !step->left_is_stack) wanted_.add(target);
        return Trace::on;
      case Kind::call:
        return undo_call(insn, index, next);
      case Kind::exit: {
        const bool returns_value = next > 0 && calls_subprogram(env_.code[next - 1]);
        return enter(returns_value);
      }
      default:
        return Trace::on;
    }
  }

  void undo_load(uint32_t target, const Step* step) {
    if (!wanted_.has(target)) return;
    wanted_.drop(target);
    if (step != nullptr && step->slot >= 0 && step->frame <= wanted_.depth) {
      wanted_.frames[step->frame].slots |= slot_bit(static_cast<uint32_t>(step->slot));
    }
  }

  Trace undo_store(const bpf_insn& insn, bool from_register, const Step* step) {
    if (wanted_.has(insn.dst_reg)) return Trace::lost;
    if (step == nullptr || step->slot < 0 || step->frame > wanted_.depth) return Trace::on;
    uint64_t& slots = wanted_.frames[step->frame].slots;
    const uint64_t slot = slot_bit(static_cast<uint32_t>(step->slot));
    if ((slots & slot) == 0) return Trace::on;
    slots &= ~slot;
    if (from_register) wanted_.add(insn.src_reg);
    return Trace::on;
  }

  // Back into the function that ended here.
  Trace enter(bool wants_result) {
    const bool wanted = wants_result && wanted_.has(0);
    wanted_.drop(0);
    if (wanted_.depth + 1 >= kMaxCallFrames) return Trace::lost;
    ++wanted_.depth;
    wanted_.here() = {};
    if (wanted) wanted_.add(0);
    return Trace::on;
  }

  // Back out of a function to the one that called it.
  Trace leave(bool hands_arguments) {
    if (wanted_.depth == 0) return Trace::lost;
    Wanted::OfFrame inner = wanted_.here();
    wanted_.here() = {};
    --wanted_.depth;
    if (hands_arguments) wanted_.here().registers |= inner.registers & kArguments;
    // Other registers of a function are its own, and its stack is empty when it begins.
    return (inner.registers & ~kArguments) != 0 || inner.slots != 0 ? Trace::lost : Trace::on;
  }

  Trace undo_call(const bpf_insn& insn, uint32_t index, uint32_t next) {
    if (calls_subprogram(insn)) {
      const auto target = static_cast<uint32_t>(int64_t{index} + 1 + insn.imm);
      if (!env_.flow.functions[env_.flow.function_of(target)].is_global) return leave(true);
      wanted_.drop(0);
      return Trace::on;
    }
    if (env_.flow.places[index].calls_back && next != index + 1) return leave(false);
    // The program that it led to ended the function.
    if (insn.src_reg == 0 && insn.imm == BPF_FUNC_tail_call && next != index + 1) {
      return enter(false);
    }
    wanted_.drop(0);
    return (wanted_.here().registers & kArguments) != 0 ? Trace::lost : Trace::on;
  }

  const Environment& env_;
  Wanted& wanted_;
};

// Marks what is wanted in a checkpoint. What is precise already has been traced from there.
bool mark_in(State& state, Wanted& wanted) {
  bool marked = false;
  for (uint32_t f = 0; f <= wanted.depth && f < state.frames.size(); ++f) {
    Wanted::OfFrame& of_frame = wanted.frames[f];
    Frame& frame = state.frames[f];
    const auto mark = [&](Register& r) {
      if (!r.is_scalar() || r.precise) return false;
      r.precise = true;
      marked = true;
      return true;
    };
    for (uint32_t i = 0; i < kRegisters; ++i) {
      if ((of_frame.registers & bit(i)) != 0 && !mark(frame[i])) of_frame.registers &= ~bit(i);
    }
    for (uint64_t slots = of_frame.slots; slots != 0; slots &= slots - 1) {
      const auto slot = static_cast<uint32_t>(std::countr_zero(slots));
      const bool goes_on = slot < frame.stack.size() && frame.stack[slot].has_scalar() &&
                           mark(frame.stack[slot].value);
      if (!goes_on) of_frame.slots &= ~slot_bit(slot);
    }
  }
  return marked;
}

// From the instruction `last` of the state's path back to where nothing is wanted any more. The
// first instruction is left out: its values are wanted as they are before it.
bool trace_back(Environment& env, State& from, uint32_t last, Wanted wanted) {
  if (wanted.is_empty()) return false;
  Backtrack backtrack(env, wanted);
  State* state = &from;
  uint32_t first = state->first_index;
  uint32_t next = UINT32_MAX;
  bool skip = true;
  bool marked = false;
  while (true) {
    size_t steps = state->steps.size();
    for (uint32_t at = last;;) {
      const Step* step =
          steps > 0 && state->steps[steps - 1].index == at ? &state->steps[steps - 1] : nullptr;
      if (!skip && backtrack.undo(at, next, step) == Trace::lost) {
        mark_everything_precise(from);
        return true;
      }
      skip = false;
      if (wanted.is_empty()) return marked;
      next = at;
      if (at == first && (steps == 0 || (steps == 1 && state->steps[0].index == at))) break;
      if (step != nullptr) {
        at = step->previous;
        --steps;
      } else if (at > 0) {
        --at;
      } else {
        mark_everything_precise(from);
        return true;
      }
    }
    next = first;
    state = state->parent;
    if (state == nullptr) return marked;
    marked = mark_in(*state, wanted) || marked;
    // What is wanted at the entry of a function that is analysed by itself is its arguments.
    if (wanted.is_empty() || state->at_entry) return marked;
    last = state->last_index;
    first = state->first_index;
  }
}

}  // namespace

void mark_everything_precise(State& state) {
  for (State* before = state.parent; before != nullptr; before = before->parent) {
    before->for_each([](Register& r) {
      if (r.is_scalar()) r.precise = true;
    });
  }
}

void mark_precise(Environment& env, uint32_t number) {
  if (!env.reg(number).is_scalar()) return;
  Wanted wanted;
  wanted.depth = env.now->depth();
  wanted.add(number);
  trace_back(env, *env.now, env.index, wanted);
}

void mark_slot_precise(Environment& env, uint32_t frame, uint32_t slot) {
  Wanted wanted;
  wanted.depth = env.now->depth();
  wanted.frames[frame].slots = slot_bit(slot);
  trace_back(env, *env.now, env.index, wanted);
}

bool hand_on_precision(Environment& env, const State& old, State& like_old) {
  Wanted wanted;
  wanted.depth = old.depth();
  for (uint32_t f = 0; f <= old.depth(); ++f) {
    const Frame& frame = old.frames[f];
    for (uint32_t i = 0; i < kFramePointer; ++i) {
      if (frame[i].is_scalar() && frame[i].precise) wanted.frames[f].registers |= bit(i);
    }
    for (uint32_t slot = 0; slot < frame.stack.size(); ++slot) {
      if (frame.stack[slot].has_scalar() && frame.stack[slot].value.precise) {
        wanted.frames[f].slots |= slot_bit(slot);
      }
    }
  }
  return trace_back(env, like_old, like_old.index, wanted);
}

}  // namespace xnic::vm::verifier

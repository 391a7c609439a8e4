// Left out: iterators other than that over numbers, which fits in one slot.
// Test: tests/vm/verifier/iterators_test.cpp, against Linux.
#include "vm/verifier/iterators.h"

#include <cerrno>

#include "vm/verifier/effects.h"
#include "vm/verifier/explored.h"
#include "vm/verifier/pruning.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {
namespace {

StackSlot& slot_of(State& state, const IteratorUse& use) {
  return state.frames[use.frame].stack[use.slot];
}

// The slot of its frame that a stack pointer points to; none where that is not known.
std::optional<IteratorUse> place_of(const Register& r) {
  if (r.type != Type::stack || !r.number.is_constant()) return {};
  const int64_t offset = r.offset + static_cast<int64_t>(r.number.bits.value);
  if (offset >= 0 || offset < -static_cast<int64_t>(kFrameBytes) || offset % kSlotBytes != 0) {
    return {};
  }
  IteratorUse use;
  use.frame = r.frame;
  use.slot = static_cast<uint32_t>(-offset) / kSlotBytes - 1;
  return use;
}

// The other way to go on: there was a next value.
void push_turn(Environment& env, const IteratorUse& use) {
  const State* before = Explored::turn_before(*env.now, env.index);
  State& other = env.branch(env.index + 1, env.index);
  ++slot_of(other, use).turns;
  if (before != nullptr) widen(*before, other);
  Register& value = other[0];
  value.maybe_null = false;
  value.id = 0;
}

}  // namespace

Verdict require_iterator(Environment& env, uint32_t number, const Helper& row, IteratorUse& use) {
  const Register& r = env.reg(number);
  if (r.type != Type::stack) {
    return refuse(EINVAL, "arg#{} expected pointer to an iterator on stack", number - 1);
  }
  const auto place = place_of(r);
  if (!place) {
    return refuse(EINVAL, "iterator has to be at a constant, aligned offset of the stack (R{})",
                  number);
  }
  use = *place;
  Frame& frame = env.now->frames[use.frame];
  const bool begins = row.arguments[number - 1] == Argument::new_iterator;
  if (begins) {
    if (Verdict v = require_access(env, number, 0, kSlotBytes, Direction::write)) return v;
    use.kind = IteratorUse::Kind::begin;
    const bool taken = use.slot < frame.stack.size() && frame.stack[use.slot].is_iterator();
    if (taken) {
      return refuse(EINVAL, "expected uninitialized iter_num as arg #{}", number - 1);
    }
    return require_plain_stack(env, number, 0, kSlotBytes);
  }
  use.kind = row.returns == Returns::none ? IteratorUse::Kind::end : IteratorUse::Kind::next;
  if (use.slot >= frame.stack.size() || !frame.stack[use.slot].is_iterator()) {
    return refuse(EINVAL, "expected an initialized iter_num as arg #{}", number - 1);
  }
  env.liveness.note_read(*env.now, use.frame, use.slot, use.slot);
  return {};
}

void apply_iterator(Environment& env, const IteratorUse& use) {
  State& now = *env.now;
  switch (use.kind) {
    case IteratorUse::Kind::begin: {
      Frame& frame = now.frames[use.frame];
      StackSlot& slot = frame.stack[use.slot];
      slot = {};
      slot.bytes.fill(Byte::iterator);
      slot.value.reference = env.new_id();
      now.references.push_back(
          {slot.value.reference, env.index, now.frame().in_callback ? now.depth() : 0});
      env.liveness.note_write(use.frame, use.slot);
      env.liveness.commit(now);
      return;
    }
    case IteratorUse::Kind::next:
      if (!slot_of(now, use).drained) push_turn(env, use);
      slot_of(now, use).drained = true;
      now[0] = Register::constant(0);
      return;
    case IteratorUse::Kind::end:
      release(now, slot_of(now, use).value.reference);
      slot_of(now, use) = {};
      env.liveness.note_write(use.frame, use.slot);
      env.liveness.commit(now);
      return;
  }
}

bool has_active_iterator(const State& now) {
  const auto place = place_of(now.frame()[1]);
  if (!place) return false;
  const Frame& frame = now.frames[place->frame];
  return place->slot < frame.stack.size() && frame.stack[place->slot].is_iterator() &&
         !frame.stack[place->slot].drained;
}

bool has_moved_iterator(const State& old, const State& now) {
  for (size_t f = 0; f < std::min(old.frames.size(), now.frames.size()); ++f) {
    const auto& before = old.frames[f].stack;
    const auto& after = now.frames[f].stack;
    for (size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
      if (!before[i].is_iterator() || !after[i].is_iterator() || after[i].drained) continue;
      if (before[i].turns != after[i].turns) return true;
    }
  }
  return false;
}

}  // namespace xnic::vm::verifier

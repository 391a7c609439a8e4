#include "vm/verifier/branches.h"

#include <algorithm>
#include <cerrno>

#include "vm/verifier/arithmetic.h"
#include "vm/verifier/condition.h"
#include "vm/verifier/local_objects.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint64_t kMaxPacketOffset = 0xffff;

// The outcome of comparing a packet pointer with the end, where an earlier comparison tells it.
std::optional<bool> packet_outcome(const Register& left, const Register& right, uint8_t operation) {
  const bool swapped = left.type == Type::packet_end;
  const Register& packet = swapped ? right : left;
  if ((swapped ? left : right).type != Type::packet_end) return {};
  if (swapped) operation = exchanged(operation);
  if (packet.extent >= 0) return {};
  const bool beyond = packet.extent == kBeyondEnd;
  switch (operation) {
    case BPF_JLE:
    case BPF_JGT:
      if (beyond) return operation == BPF_JGT;
      return {};
    case BPF_JLT:
    case BPF_JGE:
      return operation == BPF_JGE;
    default:
      return {};
  }
}

std::optional<bool> decide(const Register& left, const Register& right, const Opcode& op) {
  if (left.is_packet_or_end() && right.is_packet_or_end() && op.width == 8) {
    return packet_outcome(left, right, op.operation);
  }
  if (!left.is_pointer() && !right.is_pointer()) {
    return outcome(op.operation, op.width, left.number, right.number);
  }
  if (op.width == 4) return {};
  const bool right_is_zero = right.is_null();
  const Register& pointer = right_is_zero ? left : right;
  if ((!right_is_zero && !left.is_null()) || !pointer.is_surely_not_null()) return {};
  if (op.operation == BPF_JEQ) return false;
  if (op.operation == BPF_JNE) return true;
  return {};
}

// Everything that an id links, of registers those that are still read. As in Linux, what both sides
// of a comparison link takes two places, and what finds none loses its link.
void collect_linked(Environment& env, uint32_t id, LinkedRegisters& linked) {
  State& state = *env.now;
  const auto add = [&](Register& r, uint32_t frame, bool is_slot, uint32_t number) {
    if (!r.is_scalar() || r.id != id) return;
    if (linked.full()) {
      r.forget_links();
      return;
    }
    linked.push_back({static_cast<uint8_t>(frame), is_slot, static_cast<uint8_t>(number)});
  };
  for (uint32_t f = state.depth() + 1; f-- > 0;) {
    Frame& frame = state.frames[f];
    const uint32_t at = f == state.depth() ? env.index : state.index_in(f);
    const uint32_t live = env.flow.places[at].live;
    for (uint32_t i = 0; i < kFramePointer; ++i) {
      if ((live >> i & 1) != 0) add(frame[i], f, false, i);
    }
    for (uint32_t i = 0; i < frame.stack.size(); ++i) {
      if (frame.stack[i].has_register()) add(frame.stack[i].value, f, true, i);
    }
  }
}

// What `known` has learnt holds of all numbers that are linked to it.
void spread(State& state, const Register& known, const LinkedRegisters& linked) {
  const Register source = known;
  for (const LinkedRegister& l : linked) {
    Frame& frame = state.frames[l.frame];
    Register& r = l.is_slot ? frame.stack[l.number].value : frame[l.number];
    if (&r == &known || !r.is_scalar() || r.id != source.id) continue;
    // What holds in 32 bits says nothing of what holds in 64.
    if (r.by_delta && source.by_delta && r.by_narrow_delta != source.by_narrow_delta) continue;
    const int32_t delta = r.by_delta ? r.offset : 0;
    const int32_t source_delta = source.by_delta ? source.offset : 0;
    if (delta == source_delta) {
      r = source;
      continue;
    }
    const auto distance = static_cast<uint64_t>(int64_t{delta} - source_delta);
    r.number = apply(BPF_ADD, 8, source.number, Bounds::constant(distance));
    if (r.by_narrow_delta || source.by_narrow_delta) r.number.zero_extend();
    r.number.sync();
  }
}

// Bytes from the packet pointer's origin on are there: a comparison with the end told so. One more
// if the pointer is known to lie before the end.
void learn_packet(State& state, const Register& pointer, bool one_more) {
  if (pointer.offset < 0 || (pointer.offset == 0 && one_more)) return;
  const auto offset = static_cast<uint64_t>(pointer.offset);
  const uint64_t most = pointer.number.full.umax;
  if (most > kMaxPacketOffset || most + offset > kMaxPacketOffset) return;
  const int32_t extent = pointer.offset + (one_more ? 1 : 0);
  const Type type = pointer.type;
  const uint32_t id = pointer.id;
  state.for_each([&](Register& r) {
    if (r.type == type && r.id == id) r.extent = std::max(r.extent, extent);
  });
}

void mark_at_end(State& state, uint32_t number, bool beyond) {
  Register& r = state[number];
  if (r.type == Type::packet) r.extent = beyond ? kBeyondEnd : kAtEnd;
}

// Comparisons of a packet pointer with the end of what it points into. `taken`, `not_taken`: the
// states behind. False if this is no such comparison.
bool learn_from_packet_comparison(const bpf_insn& insn, const Opcode& op, const Register& left,
                                  const Register& right, State& taken, State& not_taken) {
  if (!op.source_register || op.width == 4) return false;
  const auto is_pair = [](const Register& pointer, const Register& end) {
    return (pointer.type == Type::packet && end.type == Type::packet_end) ||
           (pointer.type == Type::packet_meta && end.is_packet_start());
  };
  const bool straight = is_pair(left, right);
  if (!straight && !is_pair(right, left)) return false;
  const uint32_t number = straight ? insn.dst_reg : insn.src_reg;
  const Register pointer = straight ? left : right;
  switch (straight ? op.operation : exchanged(op.operation)) {
    case BPF_JGT:  // pointer > end
      learn_packet(not_taken, pointer, false);
      mark_at_end(taken, number, true);
      return true;
    case BPF_JLT:
      learn_packet(taken, pointer, true);
      mark_at_end(not_taken, number, false);
      return true;
    case BPF_JGE:
      learn_packet(not_taken, pointer, true);
      mark_at_end(taken, number, false);
      return true;
    case BPF_JLE:
      learn_packet(taken, pointer, false);
      mark_at_end(not_taken, number, true);
      return true;
    default:
      return false;
  }
}

void mark_not_null(Environment& env, Register& r) {
  r.maybe_null = false;
  if (r.type == Type::map_value && r.map != nullptr) {
    const Map* map = env.map_of(r.map);
    if (map != nullptr && map->inner_spec() != nullptr) {
      r.type = Type::map;
      r.map = map->inner_spec();
      r.map_id = r.map->fields.has_timer() ? r.id : 0;
    }
  }
  if (!fields_of(env, r).has_spin_lock()) r.id = 0;
}

// All copies of a pointer that has been compared with NULL.
void learn_null(Environment& env, State& state, uint32_t number, bool is_null) {
  const uint32_t id = state[number].id;
  const uint32_t reference = state[number].reference;
  if (is_null && reference != 0 && reference == id) {
    // What could not be acquired need not be released.
    std::erase_if(state.references, [&](const Reference& r) { return r.id == id; });
  }
  state.for_each([&](Register& r) {
    if (!r.maybe_null || r.id != id) return;
    if (is_null) {
      r = Register::constant(0);
    } else {
      mark_not_null(env, r);
    }
  });
}

// An unknown pointer that equals a known one is not NULL either. Pointers to objects are left out,
// as in Linux: whoever gives one may vouch for it and yet give NULL.
void learn_equal_pointers(Environment& env, const bpf_insn& insn, State& equal) {
  Register& left = equal[insn.dst_reg];
  Register& right = equal[insn.src_reg];
  const auto is_object = [](const Register& r) {
    return r.type == Type::kernel_object || r.type == Type::local_object;
  };
  if (is_object(left) || is_object(right)) return;
  const bool left_known = left.is_surely_not_null();
  const bool right_known = right.is_surely_not_null();
  if (left_known && right.maybe_null) mark_not_null(env, right);
  if (right_known && left.maybe_null) mark_not_null(env, left);
}

// A branch that no number can take; Linux goes on with unlimited ranges.
void repair(Register& r) {
  if (r.is_scalar() && !r.number.is_consistent()) {
    r.number.full = {};
    r.number.low = {};
  }
}

}  // namespace

Verdict apply_jump_if(Environment& env, const bpf_insn& insn, uint32_t& next) {
  const Opcode& op = opcode(insn);
  const auto target = static_cast<uint32_t>(int64_t{env.index} + 1 + insn.off);
  Register& left = env.reg(insn.dst_reg);
  Register constant = Register::constant(static_cast<uint64_t>(int64_t{insn.imm}));
  Register& right = op.source_register ? env.reg(insn.src_reg) : constant;
  if (left.type == Type::stack || right.type == Type::stack) {
    Step& step = env.step();
    step.left_is_stack = left.type == Type::stack;
    step.right_is_stack = right.type == Type::stack;
  }
  if (const std::optional<bool> known = decide(left, right, op)) {
    if (!left.is_pointer()) mark_precise(env, insn.dst_reg);
    if (op.source_register && !right.is_pointer()) mark_precise(env, insn.src_reg);
    next = *known ? target : env.index + 1;
    return {};
  }

  LinkedRegisters linked;
  if (op.source_register && right.is_scalar() && right.id != 0) {
    collect_linked(env, right.id, linked);
  }
  if (left.is_scalar() && left.id != 0) collect_linked(env, left.id, linked);
  if (linked.size() > 1) env.step().linked = linked;

  State& taken = env.branch(target, env.index);
  State& not_taken = *env.now;
  Register taken_constant = constant;
  Register& taken_left = taken[insn.dst_reg];
  Register& taken_right = op.source_register ? taken[insn.src_reg] : taken_constant;
  // A register against itself, too: it narrows a branch that is never taken, as in Linux.
  if (left.is_scalar() && right.is_scalar()) {
    assume(op.operation, op.width, true, taken_left.number, taken_right.number);
    assume(op.operation, op.width, false, left.number, right.number);
    for (Register* r : {&left, &right, &taken_left, &taken_right}) repair(*r);
    if (op.source_register && right.id != 0) {
      spread(not_taken, right, linked);
      spread(taken, taken_right, linked);
    }
    if (left.id != 0) {
      spread(not_taken, left, linked);
      spread(taken, taken_left, linked);
    }
  }
  const bool equality = op.operation == BPF_JEQ || op.operation == BPF_JNE;
  if (op.width == 8 && op.source_register && equality && left.is_pointer() && right.is_pointer()) {
    learn_equal_pointers(env, insn, op.operation == BPF_JEQ ? taken : not_taken);
  }
  if (op.width == 8 && !op.source_register && insn.imm == 0 && equality && left.maybe_null) {
    learn_null(env, not_taken, insn.dst_reg, op.operation == BPF_JNE);
    learn_null(env, taken, insn.dst_reg, op.operation == BPF_JEQ);
  } else {
    const Register old_left = left;
    const Register old_right = right;
    learn_from_packet_comparison(insn, op, old_left, old_right, taken, not_taken);
  }
  next = env.index + 1;
  return {};
}

}  // namespace xnic::vm::verifier

// Left out: bpf_user_ringbuf_drain, whose callback is given one.
// Test: tests/vm/verifier/dynptrs_test.cpp, against Linux.
#include "vm/verifier/dynptrs.h"

#include <algorithm>
#include <cerrno>

#include "vm/verifier/effects.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {
namespace {

DynptrKind begun_kind(Argument argument) {
  switch (argument) {
    case Argument::new_local_dynptr:
      return DynptrKind::local;
    case Argument::new_ringbuf_dynptr:
      return DynptrKind::ringbuf;
    case Argument::new_skb_dynptr:
      return DynptrKind::skb;
    case Argument::new_xdp_dynptr:
      return DynptrKind::xdp;
    default:
      return DynptrKind::none;
  }
}

// The slot of the lower half.
Verdict require_place(const Register& r, DynptrUse& use) {
  if (!r.number.is_constant()) return refuse(EINVAL, "dynptr has to be at a constant offset");
  const auto place = stack_place_of(r);
  if (!place || place->slot == 0) {
    return refuse(EINVAL, "cannot pass in dynptr at an offset={}",
                  r.offset + static_cast<int64_t>(r.number.bits.value));
  }
  use.frame = place->frame;
  use.slot = place->slot;
  return {};
}

Verdict require_room(Environment& env, uint32_t number, DynptrUse& use) {
  const Register& r = env.reg(number);
  if (r.type == Type::dynptr) return refuse(EINVAL, "Dynptr has to be an uninitialized dynptr");
  if (Verdict v = require_place(r, use)) return v;
  for (const int32_t half : {0, static_cast<int32_t>(kSlotBytes)}) {
    if (Verdict v = require_access(env, number, half, kSlotBytes, Direction::write)) return v;
  }
  return {};
}

Verdict require_begun(Environment& env, uint32_t number, DynptrUse& use) {
  const Register& r = env.reg(number);
  if (r.type == Type::dynptr) {
    if (Verdict v = require_unmodified(r, number)) return v;
    use.kind = r.dynptr_kind;
    use.id = r.dynptr;
    return {};
  }
  if (Verdict v = require_place(r, use)) return v;
  const Frame& frame = env.now->frames[use.frame];
  const bool is_there = use.slot < frame.stack.size() && frame.stack[use.slot].is_dynptr() &&
                        frame.stack[use.slot].value.offset == 0;
  if (!is_there) {
    return refuse(EINVAL, "Expected an initialized dynptr as arg #{}", number - 1);
  }
  const Register& value = frame.stack[use.slot].value;
  use.kind = value.dynptr_kind;
  use.id = value.dynptr;
  use.reference = value.reference;
  env.liveness.note_read(*env.now, use.frame, use.slot - 1, use.slot);
  return {};
}

}  // namespace

Verdict require_dynptr(Environment& env, uint32_t number, Argument kind, const Helper& row,
                       DynptrUse& use) {
  const Register& r = env.reg(number);
  const bool is_kfunc = row.id == 0;
  if (r.type != Type::stack && r.type != Type::dynptr) {
    if (is_kfunc) {
      return refuse(EINVAL, "arg#{} expected pointer to stack or const struct bpf_dynptr",
                    number - 1);
    }
    return refuse(EACCES, "R{} type={} expected=fp, dynptr_ptr", number, type_name(r));
  }
  if (kind != Argument::dynptr && kind != Argument::ended_ringbuf_dynptr) {
    use.kind = begun_kind(kind);
    return require_room(env, number, use);
  }
  if (kind == Argument::dynptr) return require_begun(env, number, use);
  if (r.type == Type::dynptr) return refuse(EINVAL, "cannot release unowned const bpf_dynptr");
  if (Verdict v = require_begun(env, number, use)) return v;
  if (use.reference == 0) return refuse(EINVAL, "arg {} is an unacquired reference", number);
  if (use.kind == DynptrKind::ringbuf) return {};
  return refuse(EINVAL, "Expected a dynptr of type ringbuf as arg #{}", number - 1);
}

Verdict require_no_dynptr(Environment& env, uint32_t number, uint32_t size) {
  const Register& r = env.reg(number);
  const Frame& frame = env.now->frames[r.frame];
  const int64_t first = r.offset + static_cast<int64_t>(r.number.bits.value);
  for (int64_t at = first; at < first + size && at < 0; ++at) {
    const auto slot = static_cast<size_t>(-at - 1) / kSlotBytes;
    if (slot < frame.stack.size() && frame.stack[slot].is_dynptr()) {
      return refuse(EACCES, "potential write to dynptr at off={} disallowed", at);
    }
  }
  return {};
}

void begin_dynptr(Environment& env, const DynptrUse& use) {
  State& now = *env.now;
  for (const uint32_t slot : {use.slot, use.slot - 1}) destroy_dynptr(env, use.frame, slot);
  Frame& frame = now.frames[use.frame];
  frame.grow((use.slot + 1) * kSlotBytes);
  Register value = Register::pointer(Type::dynptr);
  value.dynptr_kind = use.kind;
  value.dynptr = env.new_id();
  value.reference = use.reference;
  if (use.kind == DynptrKind::ringbuf && value.reference == 0) {
    value.reference = env.new_id();
    now.references.push_back(
        {value.reference, env.index, now.frame().in_callback ? now.depth() : 0});
  }
  for (const uint32_t slot : {use.slot, use.slot - 1}) {
    frame.stack[slot] = {};
    frame.stack[slot].bytes.fill(Byte::dynptr);
    frame.stack[slot].value = value;
    value.offset = kSlotBytes;
    env.liveness.note_write(use.frame, slot);
  }
  env.liveness.commit(now);
}

void note_end(Environment& env, const DynptrUse& use) {
  for (const uint32_t slot : {use.slot, use.slot - 1}) env.liveness.note_write(use.frame, slot);
  env.liveness.commit(*env.now);
}

void destroy_dynptr(Environment& env, uint32_t frame_number, uint32_t slot) {
  State& now = *env.now;
  Frame& frame = now.frames[frame_number];
  if (slot >= frame.stack.size() || !frame.stack[slot].is_dynptr()) return;
  const uint32_t lower = frame.stack[slot].value.offset == 0 ? slot : slot + 1;
  const uint32_t id = frame.stack[lower].value.dynptr;
  for (const uint32_t half : {lower, lower - 1}) {
    frame.stack[half] = {};
    env.liveness.note_write(frame_number, half);
  }
  now.for_each([id](Register& r) {
    if (r.type == Type::memory && r.dynptr == id) r = Register::unknown();
  });
}

}  // namespace xnic::vm::verifier

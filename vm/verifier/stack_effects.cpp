// Loads and stores of the stack, which keeps registers that are spilled to it. In step with
// check_stack_read and check_stack_write of kernel/bpf/verifier.c, for a program that may leak
// pointers and read bytes that nobody wrote.
#include <algorithm>
#include <cerrno>

#include "vm/verifier/dynptrs.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/precision.h"

namespace xnic::vm::verifier {
namespace {

// Where in its frame an access lies, by bytes before r10.
struct Span {
  Frame& frame;
  uint32_t frame_number;
  bool fixed;
  int32_t first;   // offset from r10 of the first byte that may be accessed
  int32_t behind;  // of the first that may not be any more

  static uint32_t slot_of(int32_t offset) {
    return (static_cast<uint32_t>(-offset) - 1) / kSlotBytes;
  }
  static uint32_t byte_of(int32_t offset) { return static_cast<uint32_t>(offset) % kSlotBytes; }
  uint32_t slot() const { return slot_of(first); }
  uint32_t byte() const { return byte_of(first); }
};

Span span_of(Environment& env, uint32_t base, int32_t offset, uint32_t size) {
  const Register& r = env.reg(base);
  Frame& frame = env.now->frames[r.frame];
  const int64_t fixed = int64_t{r.offset} + offset;
  const auto first = static_cast<int32_t>(r.number.full.smin + fixed);
  const auto behind = static_cast<int32_t>(r.number.full.smax + fixed + size);
  const auto depth = static_cast<uint32_t>(-first);
  frame.grow(depth);
  uint32_t& most = env.stack[frame.subprogram].stack_bytes;
  most = std::max(most, depth);
  return {frame, r.frame, r.number.is_constant(), first, behind};
}

// Something is left in bytes of the span that nobody wrote, if there are any.
void note_unwritten(Environment& env, const Span& span) {
  for (int32_t at = span.first; at < span.behind; ++at) {
    if (span.frame.stack[Span::slot_of(at)].bytes[Span::byte_of(at)] == Byte::unwritten) {
      env.stack[span.frame.subprogram].reads_unwritten = true;
      return;
    }
  }
}

void note_read(Environment& env, const Span& span) {
  if (span.first >= span.behind) return;
  note_unwritten(env, span);
  env.liveness.note_read(*env.now, span.frame_number, Span::slot_of(span.behind - 1),
                         Span::slot_of(span.first));
}

void note_access(Environment& env, const Span& span) {
  Step& step = env.step();
  step.slot = static_cast<int16_t>(span.slot());
  step.frame = static_cast<uint8_t>(span.frame_number);
}

bool all_bytes_are(const Span& span, Byte kind) {
  for (int32_t at = span.first; at < span.behind; ++at) {
    if (span.frame.stack[Span::slot_of(at)].bytes[Span::byte_of(at)] != kind) return false;
  }
  return true;
}

void spill(StackSlot& slot, const Register& value, uint32_t size) {
  slot.value = value;
  for (uint32_t i = 0; i < kSlotBytes; ++i) {
    Byte& byte = slot.bytes[i];
    if (i < size) {
      byte = Byte::spill;
    } else if (byte != Byte::zero && byte != Byte::unwritten) {
      byte = Byte::misc;
    }
  }
}

void write_fixed(Environment& env, const Span& span, uint32_t size, Stored stored) {
  destroy_dynptr(env, span.frame_number, span.slot());
  StackSlot& slot = span.frame.stack[span.slot()];
  const bool from_register = stored.number < kRegisters;
  const bool at_start = span.byte() == 0;
  if (from_register && at_start && env.reg(stored.number).is_scalar()) {
    Register& source = env.reg(stored.number);
    const bool fits = size == kSlotBytes || source.number.full.umax >> (8 * size) == 0;
    if (fits) link(env, source);
    spill(slot, source, size);
    if (!fits) slot.value.forget_links();
    note_access(env, span);
  } else if (!from_register && stored.value != nullptr && at_start) {
    spill(slot, *stored.value, size);
    note_access(env, span);
  } else if (from_register && env.reg(stored.number).is_pointer()) {
    spill(slot, env.reg(stored.number), size);
    note_access(env, span);
  } else {
    const Register* value = from_register ? &env.reg(stored.number) : stored.value;
    const bool zero = value != nullptr && value->is_null();
    if (zero && from_register) mark_precise(env, stored.number);
    slot.forget_register();
    for (uint32_t i = 0; i < size; ++i) {
      slot.bytes[span.byte() + i] = zero ? Byte::zero : Byte::misc;
    }
  }
}

// Any of the bytes may be written, or not.
void write_variable(Environment& env, const Span& span, Stored stored) {
  const bool from_register = stored.number < kRegisters;
  const Register* value = from_register ? &env.reg(stored.number) : stored.value;
  const bool writes_zero = value != nullptr && value->is_null();
  bool relies_on_zero = false;
  note_unwritten(env, span);
  for (int32_t at = span.first; at < span.behind; ++at) {
    destroy_dynptr(env, span.frame_number, Span::slot_of(at));
    StackSlot& slot = span.frame.stack[Span::slot_of(at)];
    Byte& byte = slot.bytes[Span::byte_of(at)];
    if (writes_zero && byte == Byte::spill && slot.has_scalar() && slot.value.is_null()) {
      relies_on_zero = true;
      continue;
    }
    const bool stays_zero = writes_zero && byte == Byte::zero;
    relies_on_zero = relies_on_zero || stays_zero;
    slot.forget_register();
    byte = stays_zero ? Byte::zero : Byte::misc;
  }
  if (relies_on_zero && from_register) mark_precise(env, stored.number);
}

Register read_fixed(Environment& env, const Span& span, uint32_t size) {
  const StackSlot& slot = span.frame.stack[span.slot()];
  if (slot.has_register()) {
    const uint32_t spilled = slot.spilled_bytes();
    if (size == kSlotBytes && spilled == kSlotBytes) {
      note_access(env, span);
      return slot.value;
    }
    if (span.byte() == 0 && size <= spilled) {
      note_access(env, span);
      Register filled = slot.value;
      if (size < kSlotBytes && filled.number.full.umax >> (8 * size) != 0) filled.forget_links();
      return filled;
    }
    if (all_bytes_are(span, Byte::spill) && slot.value.is_null()) {
      note_access(env, span);
      return Register::constant(0);
    }
  }
  return all_bytes_are(span, Byte::zero) ? Register::constant(0) : Register::unknown();
}

}  // namespace

Verdict require_fill(Environment& env, uint32_t base, int32_t offset, uint32_t size) {
  if (Verdict v = require_plain_stack(env, base, offset, size)) return v;
  const Span span = span_of(env, base, offset, size);
  if (!span.fixed) return {};
  const StackSlot& slot = span.frame.stack[span.slot()];
  if (slot.has_register() && slot.value.is_pointer() && size != kSlotBytes) {
    return refuse(EACCES, "invalid size of register fill");
  }
  return {};
}

Verdict require_plain_stack(Environment& env, uint32_t base, int32_t offset, uint32_t size) {
  const Span span = span_of(env, base, offset, size);
  for (int32_t at = span.first; at < span.behind; ++at) {
    const Byte byte = span.frame.stack[Span::slot_of(at)].bytes[Span::byte_of(at)];
    if (byte == Byte::iterator || byte == Byte::dynptr) {
      return refuse(EACCES, "invalid read from stack R{} off {}+{} size {}", base, span.first,
                    at - span.first, size);
    }
  }
  return {};
}

Verdict require_overwritable(Environment& env, uint32_t base, int32_t offset, uint32_t size) {
  const Span span = span_of(env, base, offset, size);
  for (int32_t at = span.first; at < span.behind; ++at) {
    const StackSlot& slot = span.frame.stack[Span::slot_of(at)];
    if (slot.is_dynptr() && slot.value.reference != 0) {
      return refuse(EINVAL, "cannot overwrite referenced dynptr");
    }
  }
  return {};
}

std::optional<StackPlace> stack_place_of(const Register& r) {
  if (r.type != Type::stack || !r.number.is_constant()) return {};
  const int64_t offset = r.offset + static_cast<int64_t>(r.number.bits.value);
  if (offset >= 0 || offset < -static_cast<int64_t>(kFrameBytes) || offset % kSlotBytes != 0) {
    return {};
  }
  return StackPlace{r.frame, static_cast<uint32_t>(-offset) / kSlotBytes - 1};
}

Verdict require_spill(Environment& env, uint32_t base, uint32_t size, uint32_t stored) {
  const Register& value = env.reg(stored);
  if (!value.is_pointer() || !env.reg(base).number.is_constant()) return {};
  if (size != kSlotBytes) return refuse(EACCES, "invalid size of register spill");
  if (value.type == Type::stack && env.reg(base).frame != env.now->depth()) {
    return refuse(EINVAL, "cannot spill pointers to stack into stack frame of the caller");
  }
  return {};
}

Register read_stack(Environment& env, uint32_t base, int32_t offset, uint32_t size) {
  const Span span = span_of(env, base, offset, size);
  note_read(env, span);
  if (span.fixed) return read_fixed(env, span, size);
  return all_bytes_are(span, Byte::zero) ? Register::constant(0) : Register::unknown();
}

void write_stack(Environment& env, uint32_t base, int32_t offset, uint32_t size, Stored stored) {
  const Span span = span_of(env, base, offset, size);
  if (span.fixed) {
    if (size == kSlotBytes) env.liveness.note_write(span.frame_number, span.slot());
    write_fixed(env, span, size, stored);
  } else {
    write_variable(env, span, stored);
  }
}

void note_unwritten(Environment& env, uint32_t base, uint32_t size) {
  note_unwritten(env, span_of(env, base, 0, size));
}

void lend_stack(Environment& env, uint32_t base, uint32_t size, bool writable) {
  const Span span = span_of(env, base, 0, size);
  note_read(env, span);
  if (!writable) return;
  for (int32_t at = span.first; at < span.behind; ++at) {
    StackSlot& slot = span.frame.stack[Span::slot_of(at)];
    slot.forget_register();
    slot.bytes[Span::byte_of(at)] = Byte::misc;
  }
}

}  // namespace xnic::vm::verifier

#include "vm/verifier/pruning.h"

#include <algorithm>

namespace xnic::vm::verifier {
namespace {

// Which id of one state plays the part of which of the other. Each stands for exactly one.
class Ids {
 public:
  explicit Ids(uint32_t last_id) : fresh_(last_id) {}

  bool match(uint32_t old, uint32_t now) {
    if ((old == 0) != (now == 0)) return false;
    if (old == 0) return true;
    for (const auto& [a, b] : pairs_) {
      if (a == old) return b == now;
      if (b == now) return false;
    }
    pairs_.emplace_back(old, now);
    return true;
  }

  // Numbers of the old state that were equal must be so; others need not differ.
  bool match_links(uint32_t old, uint32_t now) {
    if (old == 0) return true;
    return match(old, now != 0 ? now : ++fresh_);
  }

 private:
  std::vector<std::pair<uint32_t, uint32_t>> pairs_;
  uint32_t fresh_;
};

bool is_same_pointer(const Register& old, const Register& now) {
  return old.type == now.type && old.maybe_null == now.maybe_null &&
         old.read_only == now.read_only && old.offset == now.offset && old.extent == now.extent &&
         old.map == now.map && old.map_id == now.map_id && old.target == now.target &&
         old.non_owning == now.non_owning && old.trust == now.trust && old.dynptr == now.dynptr &&
         old.dynptr_kind == now.dynptr_kind;
}

bool is_exact(const Register& old, const Register& now, Ids& ids) {
  return is_same_pointer(old, now) && old.by_delta == now.by_delta && old.frame == now.frame &&
         old.number == now.number && ids.match(old.id, now.id) &&
         ids.match(old.reference, now.reference);
}

bool is_number_like(const Register& old, const Register& now, Ids& ids, Likeness likeness) {
  if (!old.precise && likeness == Likeness::enough) return true;
  if (old.by_delta &&
      (!now.by_delta || old.offset != now.offset || old.by_narrow_delta != now.by_narrow_delta)) {
    return false;
  }
  if (old.id != 0 && !old.by_delta && now.by_delta) return false;
  return ids.match_links(old.id, now.id) && old.number.covers(now.number);
}

bool is_register_like(const Register& old, const Register& now, Ids& ids, Likeness likeness) {
  if (likeness == Likeness::exact) return is_exact(old, now, ids);
  if (old.type == Type::uninitialised) {
    return likeness == Likeness::enough || now.type == Type::uninitialised;
  }
  if (old.type != now.type || old.maybe_null != now.maybe_null) return false;
  switch (old.type) {
    case Type::scalar:
      return is_number_like(old, now, ids, likeness);
    case Type::map_key:
    case Type::map_value:
    case Type::memory:
    case Type::record:
      return is_same_pointer(old, now) && old.number.covers(now.number) &&
             ids.match(old.id, now.id) && ids.match(old.reference, now.reference);
    case Type::packet:
    case Type::packet_meta:
      if (old.extent < 0 || now.extent < 0 ? old.extent != now.extent : old.extent > now.extent) {
        return false;
      }
      return old.offset == now.offset && ids.match(old.id, now.id) && old.number.covers(now.number);
    default:
      return is_exact(old, now, ids);
  }
}

// Of a slot that may be taken for a number: its register, or one that may be anything.
const Register* number_in(const StackSlot& slot) {
  static const Register kAnything = Register::unknown();
  if (slot.has_whole_scalar()) return &slot.value;
  const bool anything = std::ranges::all_of(
      slot.bytes, [](Byte byte) { return byte == Byte::misc || byte == Byte::unwritten; });
  return anything ? &kAnything : nullptr;
}

bool is_slot_like(const StackSlot& old, const StackSlot& now, Ids& ids, Likeness likeness) {
  if (likeness != Likeness::enough && old.bytes != now.bytes) return false;
  const auto asks_nothing = [](Byte byte) { return byte == Byte::unwritten || byte == Byte::misc; };
  if (std::ranges::all_of(old.bytes, asks_nothing)) return true;
  if (old.is_iterator() && now.is_iterator()) {
    return old.drained == now.drained && ids.match(old.value.reference, now.value.reference);
  }
  if (old.is_dynptr() && now.is_dynptr()) {
    return old.value.dynptr_kind == now.value.dynptr_kind && old.value.offset == now.value.offset &&
           ids.match(old.value.reference, now.value.reference);
  }
  const Register* old_number = number_in(old);
  const Register* now_number = number_in(now);
  if (old_number != nullptr && now_number != nullptr) {
    return is_register_like(*old_number, *now_number, ids, likeness);
  }
  for (uint32_t i = 0; i < kSlotBytes; ++i) {
    if (!asks_nothing(old.bytes[i]) && old.bytes[i] != now.bytes[i]) return false;
  }
  return !old.has_register() || is_register_like(old.value, now.value, ids, likeness);
}

bool is_stack_like(const Frame& old, const Frame& now, Ids& ids, Likeness likeness) {
  static const StackSlot kUnwritten;
  if (likeness != Likeness::enough && old.stack.size() > now.stack.size()) return false;
  for (size_t i = 0; i < old.stack.size(); ++i) {
    const StackSlot& slot = i < now.stack.size() ? now.stack[i] : kUnwritten;
    if (!is_slot_like(old.stack[i], slot, ids, likeness)) return false;
  }
  return true;
}

// Whether the old path may read bytes that it had written and that nobody wrote on the new one.
bool leaves_unwritten(const Frame& old, const Frame& now) {
  static const StackSlot kUnwritten;
  for (size_t i = 0; i < old.stack.size(); ++i) {
    const StackSlot& slot = i < now.stack.size() ? now.stack[i] : kUnwritten;
    for (uint32_t byte = 0; byte < kSlotBytes; ++byte) {
      const bool asks = old.stack[i].bytes[byte] != Byte::unwritten;
      if (asks && slot.bytes[byte] == Byte::unwritten) return true;
    }
  }
  return false;
}

}  // namespace

bool is_like(Environment& env, const State& old, const State& now, Likeness likeness) {
  if (old.frames.size() != now.frames.size() || !same_call_sites(old, now)) return false;
  if (old.references.size() != now.references.size()) return false;
  if ((old.lock_id != 0) != (now.lock_id != 0) || old.lock_map != now.lock_map) return false;
  if (old.in_rcu != now.in_rcu || old.no_preemption != now.no_preemption) return false;
  Ids ids(env.last_id);
  if (!ids.match(old.lock_id, now.lock_id)) return false;
  for (size_t i = 0; i < old.references.size(); ++i) {
    if (!ids.match(old.references[i].id, now.references[i].id)) return false;
  }
  for (uint32_t f = 0; f < old.frames.size(); ++f) {
    const Frame& a = old.frames[f];
    const Frame& b = now.frames[f];
    if (a.in_callback != b.in_callback || a.in_async_callback != b.in_async_callback) return false;
    if (a.callback_depth > b.callback_depth) return false;
    const uint32_t live = env.flow.places[now.index_in(f)].live;
    for (uint32_t i = 0; i < kRegisters; ++i) {
      if ((live >> i & 1) != 0 && !is_register_like(a[i], b[i], ids, likeness)) return false;
    }
    if (!is_stack_like(a, b, ids, likeness)) return false;
    if (leaves_unwritten(a, b)) env.stack[b.subprogram].reads_unwritten = true;
  }
  return true;
}

void widen(const State& before, State& now) {
  const auto widen_one = [](const Register& old, Register& r) {
    if (!old.is_scalar() || !r.is_scalar() || old.precise || r.precise) return;
    const bool same =
        old.number == r.number && old.by_delta == r.by_delta && old.offset == r.offset;
    if (same) return;
    r = Register::unknown();
  };
  for (size_t f = 0; f < now.frames.size(); ++f) {
    const Frame& old = before.frames[f];
    Frame& frame = now.frames[f];
    for (uint32_t i = 0; i < kFramePointer; ++i) widen_one(old[i], frame[i]);
    for (size_t s = 0; s < std::min(old.stack.size(), frame.stack.size()); ++s) {
      if (old.stack[s].has_register() && frame.stack[s].has_register()) {
        widen_one(old.stack[s].value, frame.stack[s].value);
      }
    }
  }
}

}  // namespace xnic::vm::verifier

#include "vm/verifier/state.h"

#include <fmt/format.h>

#include <algorithm>

namespace xnic::vm::verifier {

uint32_t StackSlot::spilled_bytes() const {
  uint32_t count = 0;
  while (count < kSlotBytes && bytes[count] == Byte::spill) ++count;
  return count;
}

void StackSlot::forget_register() {
  if (!has_register() && bytes[0] != Byte::iterator && !is_dynptr()) return;
  value = {};
  for (Byte& byte : bytes) {
    if (byte != Byte::unwritten) byte = Byte::misc;
  }
}

void Frame::grow(uint32_t bytes) {
  const uint32_t slots = (bytes + kSlotBytes - 1) / kSlotBytes;
  if (stack.size() < slots) stack.resize(slots);
}

bool State::has_reference(uint32_t id) const {
  return std::ranges::find(references, id, &Reference::id) != references.end();
}

bool same_call_sites(const State& a, const State& b) {
  return std::ranges::equal(a.frames, b.frames, {}, &Frame::call_site, &Frame::call_site);
}

std::string describe(const State& state) {
  std::vector<std::string> words;
  if (state.depth() != 0) words.push_back(fmt::format("frame{}:", state.depth()));
  const Frame& frame = state.frame();
  for (uint32_t i = 0; i < kRegisters; ++i) {
    if (frame[i].type == Type::uninitialised) continue;
    words.push_back(fmt::format("R{}={}", i, describe(frame[i])));
  }
  for (size_t i = 0; i < frame.stack.size(); ++i) {
    const StackSlot& slot = frame.stack[i];
    const auto at = -static_cast<int>((i + 1) * kSlotBytes);
    std::string bytes;
    // The byte of the highest address first, as Linux does.
    for (size_t b = kSlotBytes; b-- > 0;) bytes += "?rm0id"[static_cast<size_t>(slot.bytes[b])];
    if (bytes == "????????") continue;
    words.push_back(fmt::format(
        "fp{}={}", at,
        slot.has_register() && slot.spilled_bytes() == 8 ? describe(slot.value) : bytes));
  }
  if (!state.references.empty()) {
    std::vector<uint32_t> ids;
    for (const Reference& r : state.references) ids.push_back(r.id);
    words.push_back(fmt::format("refs={}", fmt::join(ids, ",")));
  }
  return fmt::format("{}", fmt::join(words, " "));
}

}  // namespace xnic::vm::verifier

#include "vm/verifier/stack_liveness.h"

#include <utility>

namespace xnic::vm::verifier {
namespace {

// Instructions that the data flow analyses may look at, some seconds of them: a large program that
// reads more of the stack on each of its paths starts it over for each.
constexpr uint64_t kMostVisits = 1'000'000'000;

constexpr uint64_t slot_bit(uint32_t slot) { return uint64_t{1} << slot; }

}  // namespace

bool StackLiveness::is_last(const State& state, uint32_t depth, uint32_t start) const {
  if (last_ == nullptr || last_chain_.size() != depth + 1 || last_chain_[depth] != start) {
    return false;
  }
  for (uint32_t i = 1; i <= depth; ++i) {
    if (last_chain_[i - 1] != state.frames[i].call_site) return false;
  }
  return true;
}

StackLiveness::Instance& StackLiveness::instance_of(const State& state, uint32_t depth) {
  const uint32_t function = state.frames[depth].subprogram;
  const uint32_t start = flow_.functions[function].start;
  if (is_last(state, depth, start)) return *last_;
  last_chain_.clear();
  for (uint32_t i = 1; i <= depth; ++i) last_chain_.push_back(state.frames[i].call_site);
  last_chain_.push_back(start);
  Instance& instance = instances_[last_chain_];
  if (instance.frames.empty()) {
    instance.function = function;
    instance.frames.resize(depth + 1);
  }
  last_ = &instance;
  return instance;
}

std::vector<StackLiveness::Masks>& StackLiveness::masks_of(Instance& instance, uint32_t frame) {
  const Function& function = flow_.functions[instance.function];
  std::vector<Masks>& masks = instance.frames[frame];
  if (masks.empty()) {
    masks.resize(function.end - function.start);
    bytes_ += masks.size() * sizeof(Masks);
  }
  return masks;
}

void StackLiveness::note_read(const State& state, uint32_t frame, uint32_t first, uint32_t last) {
  uint64_t slots = 0;
  for (uint32_t slot = first; slot <= last; ++slot) slots |= slot_bit(slot);
  Instance& instance = instance_of(state, state.depth());
  const uint32_t place = state.index - flow_.functions[instance.function].start;
  uint64_t& reads = masks_of(instance, frame)[place].reads;
  if ((reads | slots) == reads) return;
  reads |= slots;
  instance.changed = changed_ = true;
}

void StackLiveness::commit(const State& state) {
  Instance& instance = instance_of(state, state.depth());
  const Function& function = flow_.functions[instance.function];
  if (instance.stored.empty()) instance.stored.resize(function.end - function.start);
  const uint32_t place = state.index - function.start;
  const bool again = instance.stored[place];
  instance.stored[place] = true;
  for (uint32_t frame = 0; frame <= state.depth(); ++frame) {
    const uint64_t slots = std::exchange(written_[frame], 0);
    if (instance.frames[frame].empty() && slots == 0) continue;
    uint64_t& writes = masks_of(instance, frame)[place].writes;
    const uint64_t always = again ? writes & slots : slots;
    if (always == writes) continue;
    writes = always;
    instance.changed = changed_ = true;
  }
}

// Backwards to a fixed point, from nothing: what had been found may not hold any more.
void StackLiveness::flow_back(Instance& instance) {
  const Function& function = flow_.functions[instance.function];
  for (std::vector<Masks>& masks : instance.frames) {
    for (Masks& m : masks) m.alive = m.written_from = 0;
    bool again = !masks.empty();
    while (again) {
      again = false;
      visits_ += function.post_order.size();
      for (const uint32_t index : function.post_order) {
        Masks& here = masks[index - function.start];
        const Successors next = successors(code_, index);
        uint64_t after = 0;
        uint64_t written = next.count == 0 ? 0 : UINT64_MAX;
        for (uint32_t n = 0; n < next.count; ++n) {
          const Masks& m = masks[next.at[n] - function.start];
          after |= m.alive;
          written &= m.written_from;
        }
        written |= here.writes;
        const uint64_t alive = (after & ~here.writes) | here.reads;
        const bool changed = alive != here.alive || written != here.written_from;
        again = again || (changed && function.jumps_back);
        here.alive = alive;
        here.written_from = written;
      }
    }
  }
}

// What a function reads and overwrites of its callers' frames happens at the place where it is
// called. A callback may not be called at all: it overwrites nothing for sure.
void StackLiveness::tell_caller(const Instance& instance, const Chain& chain) {
  const auto depth = static_cast<uint32_t>(chain.size() - 1);
  Chain outer_chain(chain.begin(), chain.end() - 2);
  const uint32_t call_site = chain[depth - 1];
  const uint32_t function = flow_.function_of(call_site);
  const uint32_t start = flow_.functions[function].start;
  outer_chain.push_back(start);
  Instance& outer = instances_[outer_chain];
  if (outer.frames.empty()) {
    outer.function = function;
    outer.frames.resize(depth);
  }
  const bool calls_for_sure = !flow_.places[call_site].calls_back;
  for (uint32_t frame = 0; frame < depth; ++frame) {
    if (instance.frames[frame].empty()) continue;
    const Masks& entry = instance.frames[frame].front();
    const uint64_t written = calls_for_sure ? entry.written_from : 0;
    Masks& call = masks_of(outer, frame)[call_site - start];
    if ((call.reads | entry.alive) == call.reads && call.writes == written) continue;
    call.reads |= entry.alive;
    call.writes = written;
    outer.changed = changed_ = true;
  }
}

void StackLiveness::update() {
  while (changed_) {
    changed_ = false;
    for (auto& [chain, instance] : instances_) {
      if (!instance.changed) continue;
      instance.changed = false;
      flow_back(instance);
      if (chain.size() > 1) tell_caller(instance, chain);
    }
  }
}

bool StackLiveness::alive_at(Instance& instance, uint32_t index, uint32_t frame, uint32_t slot) {
  const std::vector<Masks>& masks = instance.frames[frame];
  const uint32_t at = index - flow_.functions[instance.function].start;
  return at < masks.size() && (masks[at].alive & slot_bit(slot)) != 0;
}

bool StackLiveness::is_alive(const State& state, uint32_t frame, uint32_t slot) {
  if (visits_ > kMostVisits) return true;
  update();
  if (alive_at(instance_of(state, state.depth()), state.index, frame, slot)) return true;
  for (uint32_t depth = frame; depth < state.depth(); ++depth) {
    const uint32_t call_site = state.frames[depth + 1].call_site;
    // A callback returns to its call, which may call it again.
    const uint32_t next = flow_.places[call_site].calls_back ? call_site : call_site + 1;
    if (alive_at(instance_of(state, depth), next, frame, slot)) return true;
  }
  return false;
}

}  // namespace xnic::vm::verifier

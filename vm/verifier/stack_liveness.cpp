#include "vm/verifier/stack_liveness.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint64_t slot_bit(uint32_t slot) { return uint64_t{1} << slot; }

// The slot of its own frame that an instruction overwrites whenever it runs.
uint64_t overwritten(const bpf_insn& insn) {
  const Opcode& op = opcode(insn);
  const bool stores = op.kind == Kind::store || op.kind == Kind::store_immediate;
  if (!stores || op.width != kSlotBytes || insn.dst_reg != kFramePointer) return 0;
  const int32_t bytes = -insn.off;
  if (bytes <= 0 || bytes > static_cast<int32_t>(kFrameBytes) || bytes % 8 != 0) return 0;
  return slot_bit(static_cast<uint32_t>(bytes) / kSlotBytes - 1);
}

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

StackLiveness::Masks& StackLiveness::masks_at(const State& state, uint32_t frame) {
  Instance& instance = instance_of(state, state.depth());
  const Function& function = flow_.functions[instance.function];
  std::vector<Masks>& masks = instance.frames[frame];
  if (masks.empty()) masks.resize(function.end - function.start);
  return masks[state.index - function.start];
}

void StackLiveness::note_read(const State& state, uint32_t frame, uint32_t first, uint32_t last) {
  uint64_t slots = 0;
  for (uint32_t slot = first; slot <= last; ++slot) slots |= slot_bit(slot);
  Masks& masks = masks_at(state, frame);
  if ((masks.reads | slots) == masks.reads) return;
  masks.reads |= slots;
  instance_of(state, state.depth()).changed = changed_ = true;
}

// Backwards to a fixed point; then what the function reads of its callers' frames is read at the
// place where it is called.
void StackLiveness::flow_back(Instance& instance, uint32_t depth) {
  if (orders_.empty()) orders_.resize(flow_.functions.size());
  std::vector<uint32_t>& order = orders_[instance.function];
  if (order.empty()) order = flow_.post_order(code_, instance.function);
  const Function& function = flow_.functions[instance.function];
  for (uint32_t frame = 0; frame <= depth; ++frame) {
    std::vector<Masks>& masks = instance.frames[frame];
    if (masks.empty()) continue;
    bool changed = true;
    while (changed) {
      changed = false;
      for (const uint32_t index : order) {
        Masks& here = masks[index - function.start];
        uint64_t after = 0;
        const Successors next = successors(code_, index);
        for (uint32_t n = 0; n < next.count; ++n) {
          if (next.at[n] < function.end) after |= masks[next.at[n] - function.start].alive;
        }
        const uint64_t writes = frame == depth ? overwritten(code_[index]) : 0;
        const uint64_t alive = (after & ~writes) | here.reads;
        changed = changed || alive != here.alive;
        here.alive = alive;
      }
    }
  }
}

void StackLiveness::update() {
  while (changed_) {
    changed_ = false;
    for (auto& [chain, instance] : instances_) {
      if (!instance.changed) continue;
      instance.changed = false;
      const auto depth = static_cast<uint32_t>(chain.size() - 1);
      flow_back(instance, depth);
      if (depth == 0) continue;
      Chain outer_chain(chain.begin(), chain.end() - 2);
      const uint32_t call_site = chain[chain.size() - 2];
      const uint32_t outer_function = flow_.function_of(call_site);
      const uint32_t start = flow_.functions[outer_function].start;
      outer_chain.push_back(start);
      Instance& outer = instances_[outer_chain];
      if (outer.frames.empty()) {
        outer.function = outer_function;
        outer.frames.resize(depth);
      }
      for (uint32_t frame = 0; frame < depth; ++frame) {
        if (instance.frames[frame].empty()) continue;
        const uint64_t alive = instance.frames[frame].front().alive;
        std::vector<Masks>& masks = outer.frames[frame];
        if (masks.empty()) masks.resize(flow_.functions[outer_function].end - start);
        uint64_t& reads = masks[call_site - start].reads;
        if ((reads | alive) == reads) continue;
        reads |= alive;
        outer.changed = changed_ = true;
      }
    }
  }
}

bool StackLiveness::alive_at(Instance& instance, uint32_t index, uint32_t frame, uint32_t slot) {
  const std::vector<Masks>& masks = instance.frames[frame];
  const uint32_t at = index - flow_.functions[instance.function].start;
  return at < masks.size() && (masks[at].alive & slot_bit(slot)) != 0;
}

bool StackLiveness::is_alive(const State& state, uint32_t frame, uint32_t slot) {
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

#include "vm/verifier/control_flow.h"

#include <algorithm>

#include "vm/btf.h"
#include "vm/helper.h"
#include "vm/kfunc.h"
#include "vm/program_type.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint16_t bit(uint32_t number) { return static_cast<uint16_t>(1u << number); }
constexpr uint16_t kCallerSaved = 0x3f;  // r0 to r5
constexpr uint16_t kArguments = 0x3e;    // r1 to r5

class Analyser {
 public:
  Analyser(const ProgramSpec& spec, std::span<const Subprogram> subprograms)
      : spec_(spec), code_(spec.instructions) {
    const ProgramType* type = find_program_type(spec.type);
    helper_set_ = type == nullptr ? kAnyType : type->helper_set;
    flow_.places.resize(code_.size());
    for (const Subprogram& s : subprograms) {
      Function f;
      f.start = s.start;
      f.end = s.end;
      f.is_global = s.start != 0 && is_global(s.start);
      flow_.functions.push_back(f);
    }
  }

  ControlFlow run() {
    for (Function& f : flow_.functions) {
      for (uint32_t i = f.start; i < f.end; i += slots(code_[i])) mark(f, i);
    }
    spread_packet_changes();
    for (Function& f : flow_.functions) {
      f.post_order = f.jumps_back ? post_order(f) : backwards(f);
      find_live_registers(f);
    }
    find_loops();
    return std::move(flow_);
  }

 private:
  bool is_global(uint32_t start) const {
    if (spec_.btf == nullptr) return false;
    const auto info = std::ranges::find(spec_.functions, start, &bpf_func_info::insn_off);
    return info != spec_.functions.end() && spec_.btf->is_global_function(info->type_id);
  }

  // The row of a helper or kernel function that is called.
  const Helper* helper_of(const bpf_insn& insn) const {
    if (opcode(insn).kind != Kind::call) return nullptr;
    if (insn.src_reg == kPseudoKfuncCall) {
      const Kfunc* kfunc = find_kfunc(insn.imm);
      return kfunc == nullptr ? nullptr : &kfunc->row;
    }
    if (insn.src_reg != 0) return nullptr;
    return find_helper(static_cast<uint32_t>(insn.imm), helper_set_);
  }

  void mark(Function& function, uint32_t index) {
    const bpf_insn& insn = code_[index];
    Place& here = flow_.places[index];
    const auto place = [&](uint32_t at) -> Place& {
      return flow_.places[std::min<size_t>(at, flow_.places.size() - 1)];
    };
    switch (opcode(insn).kind) {
      case Kind::jump: {
        const uint32_t to = successors(code_, index).at[0];
        function.jumps_back = function.jumps_back || to <= index;
        Place& target = place(to);
        target.prune_point = target.jump_target = true;
        break;
      }
      case Kind::may_goto:
        here.checkpoint = true;
        [[fallthrough]];
      case Kind::jump_if: {
        here.prune_point = true;
        const uint32_t to = successors(code_, index).at[1];
        function.jumps_back = function.jumps_back || to <= index;
        Place& target = place(to);
        target.prune_point = target.jump_target = true;
        break;
      }
      case Kind::load_immediate:
        if (names_function(insn)) {
          here.prune_point = true;
          const auto target = static_cast<uint32_t>(insn.imm);
          place(target).prune_point = place(target).jump_target = true;
          mentions_.push_back({index, target});
          place(index + 2).prune_point = place(index + 2).jump_target = true;
        }
        break;
      case Kind::call: {
        place(index + 1).prune_point = place(index + 1).jump_target = true;
        if (calls_subprogram(insn)) {
          here.prune_point = true;
          const auto target = static_cast<uint32_t>(int64_t{index} + 1 + insn.imm);
          place(target).prune_point = place(target).jump_target = true;
          mentions_.push_back({index, target});
        }
        const Helper* helper = helper_of(insn);
        if (helper == nullptr) break;
        if (helper->returns == Returns::iterated_int_or_null) {
          here.prune_point = here.checkpoint = here.iterates = true;
        }
        if (std::ranges::find(helper->arguments, Argument::function) != helper->arguments.end()) {
          here.prune_point = true;
          if (helper->id != BPF_FUNC_timer_set_callback) {
            here.calls_back = here.checkpoint = here.jump_target = true;
            callback_calls_.push_back(index);
          }
        }
        if (helper->id == BPF_FUNC_tail_call) function.has_tail_call = true;
        // A tail call, too: what it leads to may do so.
        if (helper->changes_packet || helper->id == BPF_FUNC_tail_call) {
          function.changes_packet = true;
        }
        break;
      }
      case Kind::load_packet:
        function.has_packet_load = true;
        break;
      default:
        break;
    }
  }

  // An instruction that calls or names a function, and that function's start.
  struct Mention {
    uint32_t at;
    uint32_t target;
  };

  void spread_packet_changes() {
    bool changed = true;
    while (changed) {
      changed = false;
      for (const Mention& mention : mentions_) {
        Function& caller = flow_.functions[flow_.function_of(mention.at)];
        const Function& named = flow_.functions[flow_.function_of(mention.target)];
        if (!caller.changes_packet && named.changes_packet) {
          caller.changes_packet = changed = true;
        }
      }
    }
  }

  struct Use {
    uint16_t reads = 0;
    uint16_t writes = 0;
  };

  Use use_of(const bpf_insn& insn) const {
    const Opcode& op = opcode(insn);
    const uint16_t source = bit(insn.src_reg);
    const uint16_t target = bit(insn.dst_reg);
    switch (op.kind) {
      case Kind::alu:
        if (op.operation == BPF_MOV) {
          return {op.source_register ? source : uint16_t{0}, target};
        }
        return {static_cast<uint16_t>(target | (op.source_register ? source : 0)), target};
      case Kind::negate:
      case Kind::byte_swap:
        return {target, target};
      case Kind::load_immediate:
        return {0, target};
      case Kind::load_packet:
        return {static_cast<uint16_t>(bit(6) | (op.source_register ? source : 0)), kCallerSaved};
      case Kind::load:
      case Kind::load_signed:
        return {source, target};
      case Kind::store:
        return {static_cast<uint16_t>(source | target), 0};
      case Kind::store_immediate:
        return {target, 0};
      case Kind::atomic: {
        if (insn.imm == kLoadAcquire) return {source, target};
        const auto both = static_cast<uint16_t>(source | target);
        if (insn.imm == kAtomicCompareExchange) return {static_cast<uint16_t>(both | 1), bit(0)};
        return {both,
                insn.imm != kStoreRelease && (insn.imm & kAtomicFetch) != 0 ? source : uint16_t{0}};
      }
      case Kind::jump_if:
        return {static_cast<uint16_t>(target | (op.source_register ? source : 0)), 0};
      case Kind::call: {
        const Helper* helper = helper_of(insn);
        if (helper == nullptr) return {kArguments, kCallerSaved};
        uint16_t reads = 0;
        for (uint32_t i = 0; i < helper->arguments.size(); ++i) {
          if (helper->arguments[i] != Argument::none) reads |= bit(i + 1);
        }
        return {reads, kCallerSaved};
      }
      case Kind::exit:
        return {bit(0), 0};
      default:
        return {};
    }
  }

  // Where all jumps lead on, a successor has a higher index.
  std::vector<uint32_t> backwards(const Function& f) const {
    std::vector<uint32_t> order;
    order.reserve(f.end - f.start);
    for (uint32_t i = f.start; i < f.end; i += slots(code_[i])) order.push_back(i);
    std::ranges::reverse(order);
    return order;
  }

  std::vector<uint32_t> post_order(const Function& f) const {
    std::vector<uint32_t> order;
    std::vector<bool> seen(f.end - f.start);
    struct Visit {
      uint32_t index;
      uint32_t next;
    };
    std::vector<Visit> path = {{f.start, 0}};
    seen[0] = true;
    while (!path.empty()) {
      auto& [at, next] = path.back();
      const Successors after = successors(code_, at);
      if (next < after.count) {
        const uint32_t to = after.at[next++];
        if (to >= f.end || to < f.start || seen[to - f.start]) continue;
        seen[to - f.start] = true;
        path.push_back({to, 0});
        continue;
      }
      order.push_back(at);
      path.pop_back();
    }
    return order;
  }

  // To a fixed point, which without jumps back is there after one pass.
  void find_live_registers(const Function& function) {
    bool again = true;
    while (again) {
      again = false;
      for (const uint32_t i : function.post_order) {
        uint16_t after = 0;
        const Successors next = successors(code_, i);
        for (uint32_t n = 0; n < next.count; ++n) after |= flow_.places[next.at[n]].live;
        const Use use = use_of(code_[i]);
        const auto before = static_cast<uint16_t>((after & ~use.writes) | use.reads);
        if (flow_.places[i].live == before) continue;
        flow_.places[i].live = before;
        again = function.jumps_back;
      }
    }
  }

  // A callback is called in a loop: its call counts as one that leads back to itself.
  void find_loops() {
    uint32_t loops = 0;
    for (const Function& f : flow_.functions) {
      if (f.jumps_back) find_loops(f, loops);
    }
    for (const uint32_t call : callback_calls_) {
      if (flow_.places[call].loop == 0) flow_.places[call].loop = ++loops;
    }
  }

  // Tarjan's algorithm, without recursion.
  void find_loops(const Function& function, uint32_t& loops) {
    const auto size = static_cast<uint32_t>(code_.size());
    std::vector<uint32_t> number(size, 0);
    std::vector<uint32_t> least(size, 0);
    std::vector<bool> open(size, false);
    std::vector<uint32_t> members;
    struct Visit {
      uint32_t index;
      uint32_t next;
    };
    std::vector<Visit> path;
    uint32_t numbers = 0;
    for (uint32_t root = function.start; root < function.end; root += slots(code_[root])) {
      if (number[root] != 0) continue;
      path.push_back({root, 0});
      while (!path.empty()) {
        auto& [at, next] = path.back();
        if (next == 0) {
          number[at] = least[at] = ++numbers;
          open[at] = true;
          members.push_back(at);
        }
        const Successors after = successors(code_, at);
        bool deeper = false;
        while (next < after.count) {
          const uint32_t to = after.at[next++];
          if (number[to] == 0) {
            path.push_back({to, 0});
            deeper = true;
            break;
          }
          if (open[to]) least[at] = std::min(least[at], number[to]);
        }
        if (deeper) continue;
        const uint32_t done = at;
        if (least[done] == number[done]) close(done, members, open, loops);
        path.pop_back();
        if (!path.empty()) {
          uint32_t& outer = least[path.back().index];
          outer = std::min(outer, least[done]);
        }
      }
    }
  }

  void close(uint32_t first, std::vector<uint32_t>& members, std::vector<bool>& open,
             uint32_t& loops) {
    const Successors after = successors(code_, first);
    const bool itself =
        std::find(after.at, after.at + after.count, first) != after.at + after.count;
    const bool is_loop = members.back() != first || itself;
    if (is_loop) ++loops;
    uint32_t member = 0;
    do {
      member = members.back();
      members.pop_back();
      open[member] = false;
      if (is_loop) flow_.places[member].loop = loops;
    } while (member != first);
  }

  const ProgramSpec& spec_;
  std::span<const bpf_insn> code_;
  uint32_t helper_set_;
  std::vector<uint32_t> callback_calls_;
  std::vector<Mention> mentions_;
  ControlFlow flow_;
};

}  // namespace

uint32_t ControlFlow::function_of(uint32_t index) const {
  const auto after = std::ranges::upper_bound(functions, index, {}, &Function::start);
  return static_cast<uint32_t>(after - functions.begin()) - 1;
}

ControlFlow analyse_control_flow(const ProgramSpec& spec, std::span<const Subprogram> subprograms) {
  return Analyser(spec, subprograms).run();
}

}  // namespace xnic::vm::verifier

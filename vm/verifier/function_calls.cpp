#include "vm/verifier/function_calls.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "vm/exceptions.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/explored.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/local_objects.h"
#include "vm/verifier/precision.h"
#include "vm/verifier/pruning.h"
#include "vm/verifier/requirements.h"
#include "vm/verifier/signature.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint32_t kTailCallLimit = 256;  // bytes of stack of the callers

Frame new_frame(uint32_t subprogram, uint32_t call_site, uint32_t depth) {
  Frame frame;
  frame.subprogram = subprogram;
  frame.call_site = call_site;
  frame[kFramePointer] = Register::pointer(Type::stack);
  frame[kFramePointer].frame = static_cast<uint8_t>(depth);
  return frame;
}

Verdict require_callback_result(Environment& env) {
  const Register& result = env.reg(0);
  if (!result.is_scalar()) return refuse(EACCES, "R0 not a scalar value");
  mark_precise(env, 0);
  if (result.number.full.smin >= 0 && result.number.full.smax <= 1) return {};
  return refuse(EINVAL, "At callback return the register R0 has {} should have been in [0, 1]",
                describe(result));
}

// What the program returns, in register `number`.
Verdict require_result(Environment& env, uint32_t number, ResultRange allowed) {
  const Register& result = env.reg(number);
  if (!result.is_scalar()) {
    return refuse(EINVAL, "At program exit the register R{} is not a known value ({})", number,
                  type_name(result));
  }
  mark_precise(env, number);
  if (result.number.full.smin >= allowed.least && result.number.full.smax <= allowed.most) {
    return {};
  }
  return refuse(EINVAL, "At program exit the register R{} has {} should have been in [{}, {}]",
                number, describe(result), allowed.least, allowed.most);
}

Verdict require_program_result(Environment& env, uint32_t number) {
  if (env.type.results == nullptr) return {};
  const ResultRange allowed = env.type.results(env.spec.expected_attach_type);
  if (allowed.least == kAnyResult.least && allowed.most == kAnyResult.most) return {};
  return require_result(env, number, allowed);
}

Verdict leave_function(Environment& env, uint32_t& next) {
  State& now = *env.now;
  const Frame& callee = now.frame();
  const Register result = callee[0];
  if (result.type == Type::stack) {
    return refuse(EINVAL, "cannot return stack pointer to the caller");
  }
  const bool in_callback = callee.in_callback;
  const uint32_t call_site = callee.call_site;
  if (in_callback) {
    if (Verdict v = require_callback_result(env)) return v;
  }
  now.frames.pop_back();
  if (!in_callback) {
    now[0] = result;
    next = call_site + 1;
    return {};
  }
  // Back to the call, which may call again or be done.
  next = call_site;
  now.index = next;
  if (const State* before = Explored::last_at(now.parent, now, next)) widen(*before, now);
  return {};
}

Verdict enter_callback(Environment& env, const bpf_insn& insn, const Frame& caller, Frame& callee) {
  const auto in_map = [&](Type type, const Register& like) {
    Register r = Register::pointer(type);
    r.map = like.map;
    r.map_id = like.map_id;
    return r;
  };
  if (insn.src_reg == kPseudoKfuncCall) {
    enter_tree_callback(env, caller, callee);
    return {};
  }
  switch (insn.imm) {
    case BPF_FUNC_loop:
      callee[1] = Register::unknown();
      callee[2] = caller[3];
      break;
    case BPF_FUNC_for_each_map_elem: {
      const bpf_map_type type = caller[1].map->type;
      static constexpr bpf_map_type kTypes[] = {BPF_MAP_TYPE_HASH,     BPF_MAP_TYPE_PERCPU_HASH,
                                                BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
                                                BPF_MAP_TYPE_ARRAY,    BPF_MAP_TYPE_PERCPU_ARRAY};
      if (std::ranges::find(kTypes, type) == std::end(kTypes)) {
        return refuse(kErrorNotSupported, "callback function not allowed for map");
      }
      callee[1] = caller[1];
      callee[2] = in_map(Type::map_key, caller[1]);
      callee[3] = in_map(Type::map_value, caller[1]);
      if (caller[1].map->fields.has_spin_lock()) callee[3].id = env.new_id();
      callee[4] = caller[3];
      break;
    }
    case BPF_FUNC_timer_set_callback:
      callee[1] = in_map(Type::map, caller[1]);
      callee[2] = in_map(Type::map_key, caller[1]);
      callee[3] = in_map(Type::map_value, caller[1]);
      if (caller[1].map->fields.has_spin_lock()) callee[3].id = env.new_id();
      break;
    default:
      return refuse(EINVAL, "helper {} calls no function", insn.imm);
  }
  return {};
}

// The call graph from one function on, each chain of calls with the stack that it takes.
class StackWalk {
 public:
  explicit StackWalk(const Environment& env)
      : env_(env), most_(2 * env.flow.functions.size(), {0, 0}) {}

  // `in_callback`: one of the callers, or the function itself, is called by a helper.
  Verdict walk(uint32_t function, uint32_t frames, uint32_t bytes, bool in_callback) {
    const Function& f = env_.flow.functions[function];
    in_callback = in_callback || env_.is_callback[function] != 0;
    if (frames > kMaxCallFrames) {
      return refuse(E2BIG, "the call stack of {} frames is too deep !", frames - 1);
    }
    if (function != 0 && f.has_tail_call && bytes >= kTailCallLimit) {
      return refuse(EACCES,
                    "tail_calls are not allowed when call stack of previous frames is {} bytes. "
                    "Too large",
                    bytes);
    }
    bytes += (std::max(env_.stack[function].stack_bytes, 1u) + 15) / 16 * 16;
    if (bytes > kFrameBytes) {
      return refuse(EACCES, "combined stack size of {} calls is {}. Too large", frames, bytes);
    }
    auto& [most_frames, most_bytes] = most_[2 * function + (in_callback ? 1 : 0)];
    if (frames <= most_frames && bytes <= most_bytes) return {};
    most_frames = std::max(most_frames, frames);
    most_bytes = std::max(most_bytes, bytes);
    for (uint32_t i = f.start; i < f.end; i += slots(env_.code[i])) {
      const bpf_insn& insn = env_.code[i];
      if (in_callback && is_throw(insn)) {
        return refuse(EINVAL, "bpf_throw kfunc (insn {}) cannot be called from callback subprog {}",
                      i, function);
      }
      uint32_t target = 0;
      if (calls_subprogram(insn)) {
        target = static_cast<uint32_t>(int64_t{i} + 1 + insn.imm);
      } else if (names_function(insn)) {
        target = static_cast<uint32_t>(insn.imm);
      } else {
        continue;
      }
      const uint32_t callee = env_.flow.function_of(target);
      // Runs later, on a stack of its own.
      if (env_.is_async_callback[callee] != 0 && names_function(insn)) continue;
      if (Verdict v = walk(callee, frames + 1, bytes, in_callback)) return v;
    }
    return {};
  }

 private:
  const Environment& env_;
  std::vector<std::pair<uint32_t, uint32_t>> most_;  // of each function, and within callbacks
};

}  // namespace

Verdict apply_function_call(Environment& env, const bpf_insn& insn, uint32_t& next) {
  State& now = *env.now;
  const auto target = static_cast<uint32_t>(int64_t{env.index} + 1 + insn.imm);
  const uint32_t subprogram = env.flow.function_of(target);
  const Function& function = env.flow.functions[subprogram];
  if (subprogram != 0 && subprogram == env.exception_callback) {
    return refuse(EINVAL, "insn {} cannot call exception cb directly", env.index);
  }
  if (function.is_global) {
    if (now.lock_id != 0) {
      return refuse(EINVAL,
                    "global function calls are not allowed while holding a lock,\nuse static "
                    "function instead");
    }
    if (Verdict v = require_signature(env, subprogram)) {
      v->words += fmt::format("\nCaller passes invalid args into func#{} ('{}')", subprogram,
                              env.subprograms[subprogram].name);
      return v;
    }
    if (function.changes_packet) void_packet_pointers(now);
    env.called[subprogram] = 1;
    for (uint32_t i = 0; i <= 5; ++i) now[i] = {};
    now[0] = Register::unknown();
    next = env.index + 1;
    return {};
  }
  if (now.frames.size() >= kMaxCallFrames) {
    return refuse(E2BIG, "the call stack of {} frames is too deep", now.frames.size());
  }
  Frame callee = new_frame(subprogram, env.index, now.depth() + 1);
  for (uint32_t i = 1; i <= 5; ++i) callee[i] = now[i];
  for (uint32_t i = 0; i <= 5; ++i) now[i] = {};
  now.frames.push_back(std::move(callee));
  next = target;
  return {};
}

Verdict push_callback(Environment& env, const bpf_insn& insn, uint32_t subprogram) {
  env.is_callback[subprogram] = 1;
  const uint32_t start = env.flow.functions[subprogram].start;
  if (insn.src_reg == 0 && insn.imm == BPF_FUNC_timer_set_callback) {
    // Runs by itself, at some time.
    env.is_async_callback[subprogram] = 1;
    StatePointer later = env.states.make();
    later->frames.push_back(new_frame(subprogram, kNoCallSite, 0));
    later->frames.back().in_async_callback = true;
    later->index = later->first_index = start;
    later->at_entry = true;
    if (Verdict v = enter_callback(env, insn, env.now->frame(), later->frames.back())) return v;
    env.pending.push_back(std::move(later));
    return {};
  }
  if (env.now->frames.size() >= kMaxCallFrames) {
    return refuse(E2BIG, "the call stack of {} frames is too deep", env.now->frames.size());
  }
  State& inner = env.branch(start, env.index);
  Frame callee = new_frame(subprogram, env.index, inner.depth() + 1);
  callee.in_callback = true;
  if (Verdict v = enter_callback(env, insn, inner.frame(), callee)) return v;
  ++inner.frame().callback_depth;
  inner.frames.push_back(std::move(callee));
  ++inner.callback_depth;
  env.now->frame().callback_depth = 0;
  return {};
}

Verdict apply_exit(Environment& env, uint32_t& next, bool& done) {
  State& now = *env.now;
  done = false;
  if (now.lock_id != 0 && now.depth() == 0) {
    return refuse(EINVAL,
                  "BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed "
                  "region");
  }
  constexpr std::string_view kExit = "BPF_EXIT instruction in main prog";
  if (Verdict v = now.lock_id == 0 ? require_nothing_held(env, kExit)
                                   : require_nothing_acquired(env, kExit)) {
    return v;
  }
  if (now.depth() != 0) return leave_function(env, next);
  done = true;
  if (now.frame().subprogram == 0 && stands_for_void(env)) return {};
  if (Verdict v = require_initialised(env, 0)) return v;
  const Function& function = env.flow.functions[now.frame().subprogram];
  if (now.frame().in_async_callback) {
    if (!now[0].is_scalar()) {
      return refuse(EINVAL, "At async callback return the register R0 is not a known value ({})",
                    type_name(now[0]));
    }
    mark_precise(env, 0);
    if (now[0].is_null()) return {};
    return refuse(EINVAL,
                  "At async callback return the register R0 has {} should have been in "
                  "[0, 0]",
                  describe(now[0]));
  }
  const bool ends_program =
      now.frame().subprogram == 0 || now.frame().subprogram == env.exception_callback;
  if (ends_program) return require_program_result(env, 0);
  if (function.is_global && !now[0].is_scalar()) {
    return refuse(EINVAL, "At subprogram exit the register R0 is not a scalar value ({})",
                  type_name(now[0]));
  }
  return {};
}

Verdict apply_throw(Environment& env) {
  const State& now = *env.now;
  if (Verdict v = require_initialised(env, 1)) return v;
  if (!env.reg(1).is_scalar()) return refuse(EINVAL, "R1 is not a scalar");
  if (now.lock_id != 0) {
    return refuse(EINVAL, "function calls are not allowed while holding a lock");
  }
  if (env.exception_callback == 0) {
    if (now.frames.front().in_async_callback) {
      if (Verdict v = require_result(env, 1, {0, 0})) return v;
    } else if (Verdict v = require_program_result(env, 1)) {
      return v;
    }
  }
  if (!now.references.empty()) {
    const Reference& r = now.references.front();
    return refuse(
        EINVAL, "Unreleased reference id={} alloc_insn={}\nbpf_throw would lead to reference leak",
        r.id, r.acquired_at);
  }
  if (now.in_rcu) {
    return refuse(EINVAL, "bpf_throw cannot be used inside bpf_rcu_read_lock-ed region");
  }
  if (now.no_preemption != 0) {
    return refuse(EINVAL, "bpf_throw cannot be used inside bpf_preempt_disable-ed region");
  }
  return {};
}

Verdict apply_early_exit(Environment& env) {
  if (env.now->depth() == 0) return {};
  env.branch(env.index + 1, env.index);
  StatePointer goes_on = std::move(env.pending.back());
  // The present path is the one that returns; it is followed later.
  State& returns = *env.now;
  returns[0] = Register::constant(0);
  Verdict v = leave_function(env, returns.index);
  returns.last_index = env.index;
  env.pending.back() = std::exchange(env.now, std::move(goes_on));
  return v;
}

Verdict apply_tail_call_return(Environment& env, uint32_t& next) {
  if (env.now->depth() == 0) return {};
  env.branch(env.index + 1, env.index);
  void_packet_pointers(*env.now);
  env.reg(0) = Register::unknown();
  return leave_function(env, next);
}

Verdict enter_outermost(Environment& env, uint32_t subprogram, State& state) {
  state.frames.clear();
  state.frames.push_back(new_frame(subprogram, kNoCallSite, 0));
  state.index = state.first_index = env.flow.functions[subprogram].start;
  state.at_entry = true;
  if (subprogram == 0) {
    state[1] = Register::pointer(Type::context);
    return {};
  }
  if (Verdict v = enter_global(env, subprogram, state.frame())) return v;
  if (subprogram != env.exception_callback) return {};
  const bool takes_one_number = state[1].is_scalar() && state[2].type == Type::uninitialised;
  if (takes_one_number) return {};
  return refuse(EINVAL, "exception cb only supports single integer argument");
}

Verdict require_stack_depths(const Environment& env) {
  StackWalk walk(env);
  if (Verdict v = walk.walk(0, 1, 0, false)) return v;
  for (uint32_t f = 1; f < env.flow.functions.size(); ++f) {
    if (env.is_async_callback[f] == 0 && f != env.exception_callback) continue;
    if (Verdict v = walk.walk(f, 1, 0, true)) return v;
  }
  return {};
}

}  // namespace xnic::vm::verifier

#include "vm/verifier/analysis.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "vm/disassembler.h"
#include "vm/kernel_face.h"
#include "vm/maps/unfilled.h"
#include "vm/verifier/branches.h"
#include "vm/verifier/effects.h"
#include "vm/verifier/environment.h"
#include "vm/verifier/explored.h"
#include "vm/verifier/followed_path.h"
#include "vm/verifier/function_calls.h"
#include "vm/verifier/helper_calls.h"
#include "vm/verifier/kernel_objects.h"
#include "vm/verifier/kfunc_calls.h"
#include "vm/verifier/pruning.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint64_t kMostInstructions = 1'000'000;  // BPF_COMPLEXITY_LIMIT_INSNS
// Paths that wait at a time. Linux has 8,192.
constexpr size_t kMostPending = 1u << 17;

// Map types whose elements stay while a program sleeps.
constexpr std::array kMapsOfSleepers = {
    BPF_MAP_TYPE_HASH,          BPF_MAP_TYPE_LRU_HASH,
    BPF_MAP_TYPE_ARRAY,         BPF_MAP_TYPE_PERCPU_HASH,
    BPF_MAP_TYPE_PERCPU_ARRAY,  BPF_MAP_TYPE_LRU_PERCPU_HASH,
    BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS,
    BPF_MAP_TYPE_RINGBUF,       BPF_MAP_TYPE_USER_RINGBUF,
    BPF_MAP_TYPE_INODE_STORAGE, BPF_MAP_TYPE_SK_STORAGE,
    BPF_MAP_TYPE_TASK_STORAGE,  kCgrpStorage,
    BPF_MAP_TYPE_QUEUE,         BPF_MAP_TYPE_STACK,
};

class Analysis {
 public:
  Analysis(const ProgramSpec& spec, std::span<const Subprogram> subprograms,
           std::span<const std::shared_ptr<Map>> maps, bool gpl_compatible, Options options)
      : env_(spec, options.kernel_types == nullptr ? kernel_types() : *options.kernel_types,
             subprograms, maps, gpl_compatible, options.log_level, options.possible_cpus),
        options_(std::move(options)) {}

  Finding run() {
    Finding finding;
    finding.refusal = run_functions();
    statistics_.time = std::chrono::steady_clock::now() - start_;
    finding.index = finding.refusal && in_path_ ? env_.index : UINT32_MAX;
    finding.statistics = statistics_;
    finding.proof = std::move(env_.proof);
    finding.proof.functions = env_.stack;
    for (const Type type : env_.base_types) {
      finding.proof.meets_context.push_back(type == Type::context ? 1 : 0);
    }
    if (finding.refusal && in_path_ && env_.now != nullptr && !env_.now->frames.empty()) {
      env_.log.line("{}: {}", env_.index, disassemble(env_.code, env_.index));
      env_.log.line("; {}", describe(*env_.now));
      finding.path = std::move(path_);
      finding.state = std::make_unique<State>(*env_.now);
    }
    if (env_.log.tells_anything()) tell_statistics();
    finding.log = env_.log.take();
    return finding;
  }

 private:
  void tell_statistics() {
    if (env_.log.tells_statistics()) {
      env_.log.line(
          "verification time {} usec",
          std::chrono::duration_cast<std::chrono::microseconds>(statistics_.time).count());
      std::vector<uint32_t> depths;
      for (const Proof::Function& function : env_.stack) depths.push_back(function.stack_bytes);
      env_.log.line("stack depth {}", fmt::join(depths, "+"));
    }
    env_.log.line(
        "processed {} insns (limit {}) max_states_per_insn {} total_states {} peak_states {}",
        statistics_.instructions, kMostInstructions, statistics_.most_states_of_an_instruction,
        statistics_.states, statistics_.peak_states);
  }

  // The main program, then each global function that anything calls.
  Verdict run_functions() {
    if (Verdict v = require_maps()) return v;
    if (env_.type.has_typed_arguments) {
      auto arguments = typed_arguments(env_);
      if (!arguments) return arguments.error();
      env_.arguments = std::move(*arguments);
    }
    if (is_guided()) return follow(env_.flow.function_of(options_.along.front()));
    if (env_.exception_callback != 0) env_.called[env_.exception_callback] = 1;
    if (Verdict v = follow(0)) return v;
    std::vector<bool> done(env_.flow.functions.size());
    bool again = true;
    while (again) {
      again = false;
      for (uint32_t f = 1; f < env_.flow.functions.size(); ++f) {
        if (env_.called[f] == 0 || done[f]) continue;
        done[f] = again = true;
        if (Verdict v = follow(f)) return v;
      }
    }
    return require_stack_depths(env_);
  }

  // Maps that a program of this type must not use.
  Verdict require_maps() const {
    for (const std::shared_ptr<Map>& map : env_.maps) {
      const ValueFields& fields = map->spec().fields;
      const bool has_root =
          fields.has(SpecialField::Kind::list_head) || fields.has(SpecialField::Kind::rb_root);
      if (has_root && env_.type.helper_set == kTracing) {
        return refuse(EINVAL, "tracing progs cannot use bpf_{{list_head,rb_root}} yet");
      }
      if (map->spec().fields.has_spin_lock() && env_.spec.type == BPF_PROG_TYPE_SOCKET_FILTER) {
        return refuse(EINVAL, "socket filter progs cannot use bpf_spin_lock yet");
      }
      const bool sleeps = (env_.spec.flags & BPF_F_SLEEPABLE) != 0;
      if (sleeps && std::ranges::find(kMapsOfSleepers, map->spec().type) == kMapsOfSleepers.end()) {
        return refuse(
            EINVAL, "Sleepable programs can only use array, hash, ringbuf and local storage maps");
      }
      if ((env_.type.helper_set & kTracing) == 0) continue;
      if (map->spec().fields.has_spin_lock()) {
        return refuse(EINVAL, "tracing progs cannot use bpf_spin_lock yet");
      }
      if (map->spec().fields.has_timer()) {
        return refuse(EINVAL, "tracing progs cannot use bpf_timer yet");
      }
    }
    return {};
  }

  // All paths from a function's start.
  Verdict follow(uint32_t function) {
    env_.now = env_.states.make();
    env_.index = env_.flow.functions[function].start;
    if (Verdict v = enter_outermost(env_, function, *env_.now)) return v;
    env_.previous = 0;
    Explored explored(env_);
    in_path_ = true;
    Verdict verdict;
    while (!verdict) {
      bool ended = false;
      verdict = go_on(explored, ended);
      if (is_guided()) {
        if (verdict || !choose_way()) break;
        continue;
      }
      if (!ended || verdict) continue;
      explored.end_path(*env_.now);
      if (env_.pending.empty()) break;
      env_.now = std::move(env_.pending.back());
      env_.pending.pop_back();
      env_.index = env_.now->index;
      env_.previous = env_.now->last_index;
    }
    in_path_ = verdict.has_value();
    // The checkpoints that lead there end with this function.
    if (in_path_) {
      path_ = followed_path(env_);
      env_.now->parent = nullptr;
    }
    statistics_.states += explored.states();
    statistics_.peak_states = std::max(statistics_.peak_states, explored.peak());
    statistics_.most_states_of_an_instruction =
        std::max(statistics_.most_states_of_an_instruction, explored.most_of_an_instruction());
    return verdict;
  }

  bool is_guided() const { return !options_.along.empty(); }

  // Of the ways behind the instruction, the one that the given path took; false at its end, or
  // where it cannot be followed.
  bool choose_way() {
    if (++position_ >= options_.along.size()) return false;
    const uint32_t wanted = options_.along[position_];
    if (env_.index != wanted) {
      const auto other =
          std::ranges::find(env_.pending, wanted, [](const auto& state) { return state->index; });
      if (other == env_.pending.end()) return false;
      env_.now = std::move(*other);
      env_.index = wanted;
      env_.previous = env_.now->last_index;
    }
    env_.pending.clear();
    // Precision is of no use to a single path.
    env_.now->steps.clear();
    env_.now->first_index = env_.index;
    return true;
  }

  // One instruction of the present path.
  Verdict go_on(Explored& explored, bool& ended) {
    State& now = *env_.now;
    if (++statistics_.instructions > kMostInstructions) {
      return refuse(E2BIG, "BPF program is too large. Processed {} insn", statistics_.instructions);
    }
    if (env_.pending.size() > kMostPending) {
      return refuse(E2BIG, "The sequence of {} jumps is too complex.", env_.pending.size());
    }
    if (env_.states.bytes() + env_.liveness.bytes() > options_.most_bytes) {
      return refuse(ENOMEM, "The paths are too complex: their states take more than {} MB.",
                    options_.most_bytes >> 20);
    }
    explored.count_instruction();
    now.index = env_.index;
    now.last_index = env_.previous;
    env_.has_step = false;
    const Place& place = env_.flow.places[env_.index];
    if (options_.observe) options_.observe(now, env_.index);
    if (place.prune_point && !is_guided()) {
      const auto answer = explored.visit();
      if (!answer) return answer.error();
      if (*answer == Explored::Answer::seen) {
        ended = true;
        return {};
      }
    }
    if (place.jump_target) env_.step();
    env_.proof.reached[env_.index] = 1;
    if (env_.log.tells_states()) {
      env_.log.line("{}: {} ; {}", env_.index, disassemble(env_.code, env_.index), describe(now));
    }
    const bpf_insn& insn = env_.insn();
    const Kind kind = opcode(insn).kind;
    if (jumps(kind) || kind == Kind::call || kind == Kind::exit) explored.count_jump();
    uint32_t next = env_.index + slots(insn);
    const uint32_t index = env_.index;
    if (Verdict v = perform(insn, kind, next, ended)) return v;
    const bool stores =
        kind == Kind::store || kind == Kind::store_immediate || kind == Kind::atomic;
    if (stores) env_.liveness.commit(now);
    env_.previous = index;
    env_.index = next;
    return {};
  }

  Verdict perform(const bpf_insn& insn, Kind kind, uint32_t& next, bool& ended) {
    if (Verdict v = require_operands(env_, insn)) return v;
    switch (kind) {
      case Kind::alu:
      case Kind::negate:
      case Kind::byte_swap:
        return apply_alu(env_, insn);
      case Kind::load_immediate:
        return apply_load_immediate(env_, insn);
      case Kind::load:
      case Kind::load_signed:
        if (Verdict v = require_same_pointer(insn.src_reg)) return v;
        if (env_.reg(insn.src_reg).type == Type::stack) {
          if (Verdict v = require_fill(env_, insn.src_reg, insn.off, opcode(insn).width)) return v;
        }
        apply_load(env_, insn, kind == Kind::load_signed);
        return {};
      case Kind::store:
        if (env_.reg(insn.dst_reg).type == Type::stack) {
          if (Verdict v = require_spill(env_, insn.dst_reg, opcode(insn).width, insn.src_reg)) {
            return v;
          }
        }
        [[fallthrough]];
      case Kind::store_immediate:
        if (Verdict v = require_same_pointer(insn.dst_reg)) return v;
        apply_store(env_, insn);
        return {};
      case Kind::atomic:
        if (Verdict v =
                require_same_pointer(insn.imm == kLoadAcquire ? insn.src_reg : insn.dst_reg)) {
          return v;
        }
        return perform_atomic(insn);
      case Kind::jump:
        next = successors(env_.code, env_.index).at[0];
        return {};
      case Kind::jump_if:
        return apply_jump_if(env_, insn, next);
      case Kind::may_goto:
        perform_may_goto(insn, next);
        return {};
      case Kind::call:
        if (is_throw(insn)) {
          ended = true;
          return apply_throw(env_);
        }
        return perform_call(insn, next);
      case Kind::load_packet:
        return perform_packet_load();
      case Kind::exit:
        return apply_exit(env_, next, ended);
      case Kind::unknown:
        return refuse(EINVAL, "unknown opcode {:02x}", uint32_t{insn.code});
    }
    return {};
  }

  Verdict perform_atomic(const bpf_insn& insn) {
    const uint32_t size = opcode(insn).width;
    const bool loads = insn.imm == kLoadAcquire;
    const uint32_t base = loads ? insn.src_reg : insn.dst_reg;
    if (env_.reg(base).type == Type::stack) {
      if (insn.imm != kStoreRelease) {
        if (Verdict v = require_fill(env_, base, insn.off, size)) return v;
      } else if (Verdict v = require_spill(env_, base, size, insn.src_reg)) {
        return v;
      }
    }
    apply_atomic(env_, insn);
    return {};
  }

  // Kinds of pointers whose accesses Linux rewrites: an instruction may meet only one of them.
  Verdict require_same_pointer(uint32_t base) {
    const Type type = env_.reg(base).type;
    Type& before = env_.base_types[env_.index];
    const auto is_rewritten = [](Type t) {
      return t == Type::context || t == Type::kernel_object || t == Type::local_object ||
             t >= Type::socket_common;
    };
    if (before == Type::uninitialised) before = type;
    if (before == type || (!is_rewritten(type) && !is_rewritten(before))) return {};
    return refuse(EINVAL, "same insn cannot be used with different pointers");
  }

  // The path that counts the loop down goes on later; this one leaves it.
  void perform_may_goto(const bpf_insn& insn, uint32_t& next) {
    const State* before = Explored::turn_before(*env_.now, env_.index);
    State& counted = env_.branch(env_.index + 1, env_.index);
    ++counted.may_goto_depth;
    if (before != nullptr) widen(*before, counted);
    next = static_cast<uint32_t>(int64_t{env_.index} + 1 + insn.off);
  }

  Verdict perform_call(const bpf_insn& insn, uint32_t& next) {
    if (is_poisoned_call(insn)) {
      return refuse(EINVAL,
                    "a CO-RE relocation that the kernel's types do not answer, or a kernel "
                    "function that does not exist, is reached");
    }
    if (insn.src_reg == kPseudoKfuncCall) return apply_kfunc_call(env_, insn);
    if (insn.off != 0 || insn.dst_reg != 0 || insn.src_reg > BPF_PSEUDO_CALL) {
      return refuse(EINVAL, "BPF_CALL uses reserved fields");
    }
    if (insn.src_reg == BPF_PSEUDO_CALL) return apply_function_call(env_, insn, next);
    if (Verdict v = apply_helper_call(env_, insn)) return v;
    return insn.imm == BPF_FUNC_tail_call ? apply_tail_call_return(env_, next) : Verdict{};
  }

  Verdict perform_packet_load() {
    for (uint32_t i = 0; i <= 5; ++i) env_.reg(i) = {};
    if (Verdict v = apply_early_exit(env_)) return v;
    env_.reg(0) = Register::unknown();
    return {};
  }

  // Before all else, so that it counts what follows from the instructions alone, too.
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  Environment env_;
  Options options_;
  size_t position_ = 0;  // on the given path
  VerifierStatistics statistics_;
  std::vector<uint32_t> path_;  // to the refusal
  bool in_path_ = false;        // following one: a refusal is of its instruction
};

}  // namespace

Finding analyse(const ProgramSpec& spec, std::span<const Subprogram> subprograms,
                std::span<const std::shared_ptr<Map>> maps, bool gpl_compatible, Options options) {
  return Analysis(spec, subprograms, maps, gpl_compatible, std::move(options)).run();
}

}  // namespace xnic::vm::verifier

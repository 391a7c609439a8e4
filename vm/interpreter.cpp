// The interpreter: a switch over the 8-byte instructions as they are, with registers in an array.
// Pointers are host addresses; every access is checked (vm/interpreter_memory.h), and one that
// falls into the context is answered by the program type's table of fields. Calls of helpers are
// in vm/interpreter_calls.cpp.
// Test: tests/vm/interpreter_test.cpp, which also asks the kernel; it is the gold standard for
// tests/jit/jit_test.cpp.
#include "vm/interpreter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "vm/exceptions.h"
#include "vm/interpreter_alu.h"
#include "vm/interpreter_atomics.h"
#include "vm/interpreter_calls.h"
#include "vm/interpreter_memory.h"
#include "vm/interpreter_packet.h"
#include "vm/invocation.h"
#include "vm/isa.h"
#include "vm/program_type.h"

namespace xnic::vm {
namespace {

// A subprogram's caller, as it goes on after the call.
struct Caller {
  const Program* program;
  uint32_t next;
  std::array<uint64_t, 5> saved;  // r6 to r10
  uint32_t loops;                 // what is left to its may_goto
};

class Run : public Callbacks {
 public:
  Run(const Program& program, Invocation& invocation)
      : program_(&program),
        type_(*find_program_type(program.type())),
        invocation_(invocation),
        memory_(invocation.packet),
        calls_(type_, invocation, memory_, *this) {}

  uint64_t execute();
  void execute_callback(uint64_t function, Map& map, std::span<const uint8_t> key, uint8_t* value);

 private:
  // Where a tail call leads: to another program, or on to the next instruction.
  enum class TailCall { taken, not_taken, fault };

  bool in_context(uint64_t address) const {
    return address - reinterpret_cast<uintptr_t>(&invocation_.packet) < type_.context_size;
  }
  uint32_t context_offset(uint64_t address) const {
    return static_cast<uint32_t>(address - reinterpret_cast<uintptr_t>(&invocation_.packet));
  }

  template <class T>
  bool load(uint64_t address, uint64_t& value) {
    if (memory_.may_read(*program_, address, sizeof(T))) {
      T bytes;
      std::memcpy(&bytes, reinterpret_cast<const void*>(address), sizeof(T));
      value = bytes;
      return true;
    }
    return in_context(address) &&
           type_.load(invocation_.packet, context_offset(address), sizeof(T), value);
  }

  template <class T>
  bool load_signed(uint64_t address, uint64_t& value) {
    if (!load<T>(address, value)) return false;
    value = static_cast<uint64_t>(static_cast<int64_t>(static_cast<std::make_signed_t<T>>(value)));
    return true;
  }

  template <class T>
  bool store(uint64_t address, uint64_t value) {
    if (memory_.may_write(*program_, address, sizeof(T))) {
      const T bytes = static_cast<T>(value);
      std::memcpy(reinterpret_cast<void*>(address), &bytes, sizeof(T));
      return true;
    }
    return in_context(address) && type_.store(invocation_.packet, context_offset(address),
                                              sizeof(T), static_cast<T>(value));
  }

  // Runs from `start` until the function there returns, on a fresh frame; leaves r0 in r[0].
  uint32_t run_function(uint32_t start, uint64_t* r);
  uint64_t catch_exception();
  uint64_t call(uint64_t function, const std::array<uint64_t, 5>& arguments) override;
  void grant_value(const Map& map, const uint8_t* value) override {
    memory_.grant(reinterpret_cast<uintptr_t>(value), map);
  }
  const Program& program() const override { return *program_; }
  void lend(const uint8_t* start, uint64_t size) override {
    memory_.lend(reinterpret_cast<uintptr_t>(start), size);
  }
  void take_back() override { memory_.take_back(); }
  TailCall tail_call(uint32_t index, uint64_t* r);
  void fault(uint32_t index, std::string_view what) {
    invocation_.fault = fault_at(*program_, index, what);
  }
  void access_fault(uint32_t index, const uint64_t* r);

  const Program* program_;
  const ProgramType& type_;
  Invocation& invocation_;
  RunMemory memory_;
  RunCalls calls_;
  std::vector<Caller> callers_;
  uint32_t tail_calls_ = 0;
  std::optional<uint64_t> thrown_{};  // while functions end because of it
  uint64_t count_ = 0;                // instructions so far, kept here while a helper runs
  uint64_t cost_ = 0;                 // and what they took
  std::vector<std::shared_ptr<const Program>> tail_called_;  // kept alive until the run ends
};

// The fault of a load, store or atomic that was refused.
void Run::access_fault(uint32_t index, const uint64_t* r) {
  const bpf_insn& insn = program_->instructions()[index];
  const Opcode& op = opcode(insn);
  const bool acquires = op.kind == Kind::atomic && insn.imm == kLoadAcquire;
  const bool reads = op.kind == Kind::load || op.kind == Kind::load_signed || acquires;
  const uint64_t address = r[reads ? insn.src_reg : insn.dst_reg] + static_cast<uint64_t>(insn.off);
  const bool updates = op.kind == Kind::atomic && !is_ordered_access(insn);
  const std::string_view verb = updates ? "updates" : reads ? "reads" : "writes";
  const uint32_t width = op.width;
  if (in_context(address)) {
    fault(index, fmt::format("{} {} bytes at offset {} of the context, which {} programs may not",
                             verb, width, context_offset(address), type_.name));
  } else if (op.kind == Kind::atomic && address % width != 0) {
    fault(index,
          fmt::format("{} {} bytes at an address that is no multiple of {}", verb, width, width));
  } else {
    fault(index, fmt::format("{} {} bytes at {}", verb, width, memory_.describe(address)));
  }
}

Run::TailCall Run::tail_call(uint32_t index, uint64_t* r) {
  const Map* map = calls_.find_map(*program_, r[2]);
  if (map == nullptr || map->spec().type != BPF_MAP_TYPE_PROG_ARRAY) {
    fault(index, "gives bpf_tail_call no prog_array of the program in r2");
    return TailCall::fault;
  }
  if (r[1] != reinterpret_cast<uintptr_t>(&invocation_.packet)) {
    fault(index, "gives bpf_tail_call no context in r1");
    return TailCall::fault;
  }
  if (memory_.records().any_open() != 0) {
    fault(index, "would leave a ring buffer record neither submitted nor discarded");
    return TailCall::fault;
  }
  if (invocation_.held_lock != 0) {
    fault(index, "would leave with a bpf_spin_lock held");
    return TailCall::fault;
  }
  if (tail_calls_ >= kMaxTailCalls) return TailCall::not_taken;
  std::shared_ptr<const Program> target = map->program_at(static_cast<uint32_t>(r[3]));
  if (target == nullptr) return TailCall::not_taken;
  ++tail_calls_;
  program_ = target.get();
  tail_called_.push_back(std::move(target));
  return TailCall::taken;
}

// One operation at both widths, with a register or an immediate as second operand.
#define XNIC_ALU(OPERATION, FUNCTION)                                                            \
  case BPF_ALU64 | OPERATION | BPF_X:                                                            \
    r[insn.dst_reg] = alu::FUNCTION<uint64_t>(r[insn.dst_reg], r[insn.src_reg], insn.off);       \
    break;                                                                                       \
  case BPF_ALU64 | OPERATION | BPF_K:                                                            \
    r[insn.dst_reg] =                                                                            \
        alu::FUNCTION<uint64_t>(r[insn.dst_reg], static_cast<uint64_t>(insn.imm), insn.off);     \
    break;                                                                                       \
  case BPF_ALU | OPERATION | BPF_X:                                                              \
    r[insn.dst_reg] = alu::FUNCTION<uint32_t>(static_cast<uint32_t>(r[insn.dst_reg]),            \
                                              static_cast<uint32_t>(r[insn.src_reg]), insn.off); \
    break;                                                                                       \
  case BPF_ALU | OPERATION | BPF_K:                                                              \
    r[insn.dst_reg] = alu::FUNCTION<uint32_t>(static_cast<uint32_t>(r[insn.dst_reg]),            \
                                              static_cast<uint32_t>(insn.imm), insn.off);        \
    break;

// A comparison at both widths, of 64-bit operands as type A and of 32-bit ones as type B.
#define XNIC_JUMP(OPERATION, COMPARE, A, B)                                            \
  case BPF_JMP | OPERATION | BPF_X:                                                    \
    taken = static_cast<A>(r[insn.dst_reg]) COMPARE static_cast<A>(r[insn.src_reg]);   \
    goto jump;                                                                         \
  case BPF_JMP | OPERATION | BPF_K:                                                    \
    taken = static_cast<A>(r[insn.dst_reg]) COMPARE static_cast<A>(int64_t{insn.imm}); \
    goto jump;                                                                         \
  case BPF_JMP32 | OPERATION | BPF_X:                                                  \
    taken = static_cast<B>(r[insn.dst_reg]) COMPARE static_cast<B>(r[insn.src_reg]);   \
    goto jump;                                                                         \
  case BPF_JMP32 | OPERATION | BPF_K:                                                  \
    taken = static_cast<B>(r[insn.dst_reg]) COMPARE static_cast<B>(insn.imm);          \
    goto jump;

#define XNIC_MEMORY(SIZE, T)                                                             \
  case BPF_LDX | BPF_MEM | SIZE:                                                         \
    if (!load<T>(r[insn.src_reg] + static_cast<uint64_t>(insn.off), r[insn.dst_reg])) {  \
      goto bad_access;                                                                   \
    }                                                                                    \
    break;                                                                               \
  case BPF_STX | BPF_MEM | SIZE:                                                         \
    if (!store<T>(r[insn.dst_reg] + static_cast<uint64_t>(insn.off), r[insn.src_reg])) { \
      goto bad_access;                                                                   \
    }                                                                                    \
    break;                                                                               \
  case BPF_ST | BPF_MEM | SIZE:                                                          \
    if (!store<T>(r[insn.dst_reg] + static_cast<uint64_t>(insn.off),                     \
                  static_cast<uint64_t>(insn.imm))) {                                    \
      goto bad_access;                                                                   \
    }                                                                                    \
    break;

#define XNIC_LOAD_SIGNED(SIZE, T)                                                              \
  case BPF_LDX | kModeSigned | SIZE:                                                           \
    if (!load_signed<T>(r[insn.src_reg] + static_cast<uint64_t>(insn.off), r[insn.dst_reg])) { \
      goto bad_access;                                                                         \
    }                                                                                          \
    break;

uint64_t Run::execute() {
  // The fields of an instruction can name 16 registers; the verifier lets 11 through.
  uint64_t r[16] = {};
  r[1] = reinterpret_cast<uintptr_t>(&invocation_.packet);
  const uint32_t last = run_function(0, r);
  calls_.clean_up(*program_, last);
  invocation_.instructions += count_;
  invocation_.cost += cost_;
  return r[0];
}

void Run::execute_callback(uint64_t function, Map& map, std::span<const uint8_t> key,
                           uint8_t* value) {
  uint64_t r[16] = {};
  r[1] = reinterpret_cast<uintptr_t>(&map);
  r[2] = reinterpret_cast<uintptr_t>(key.data());
  r[3] = reinterpret_cast<uintptr_t>(value);
  grant_value(map, value);
  lend(key.data(), key.size());
  const uint32_t last = run_function(static_cast<uint32_t>(function), r);
  calls_.clean_up(*program_, last);
  invocation_.instructions += count_;
  invocation_.cost += cost_;
}

// What the program returns after bpf_throw.
uint64_t Run::catch_exception() {
  const uint64_t cookie = *std::exchange(thrown_, std::nullopt);
  invocation_.fault.reset();
  const uint32_t callback = exception_callback(program_->spec()).value_or(0);
  if (callback == 0) return cookie;
  uint64_t r[16] = {};
  r[1] = cookie;
  run_function(callback, r);
  if (!thrown_) return r[0];
  invocation_.fault.reset();
  return *std::exchange(thrown_, std::nullopt);
}

uint64_t Run::call(uint64_t function, const std::array<uint64_t, 5>& arguments) {
  uint64_t r[16] = {};
  std::copy(arguments.begin(), arguments.end(), &r[1]);
  // A function may leave through a tail call, which ends with the function, too.
  const Program* const program = program_;
  if (memory_.frames() == RunMemory::kFrames) {
    fault(static_cast<uint32_t>(function),
          fmt::format("is called deeper than {} frames", RunMemory::kFrames));
    return 0;
  }
  run_function(static_cast<uint32_t>(function), r);
  program_ = program;
  return r[0];
}

uint32_t Run::run_function(uint32_t start, uint64_t* r) {
  const size_t outermost = callers_.size();
  const Program* const program = program_;
  r[10] = memory_.push_frame();
  const bpf_insn* code = program_->instructions().data();
  const uint32_t* costs = program_->costs().data();
  uint64_t count = count_;
  uint32_t loops = kMaxLoops;
  uint32_t at = start;
  uint32_t next = start;

  for (;;) {
    at = next;
    const bpf_insn insn = code[at];
    ++next;
    ++count;
    if (costs != nullptr) cost_ += costs[at];
    bool taken = false;
    switch (insn.code) {
      XNIC_ALU(BPF_ADD, add)
      XNIC_ALU(BPF_SUB, subtract)
      XNIC_ALU(BPF_MUL, multiply)
      XNIC_ALU(BPF_DIV, divide)
      XNIC_ALU(BPF_MOD, modulo)
      XNIC_ALU(BPF_OR, bit_or)
      XNIC_ALU(BPF_AND, bit_and)
      XNIC_ALU(BPF_XOR, bit_xor)
      XNIC_ALU(BPF_LSH, shift_left)
      XNIC_ALU(BPF_RSH, shift_right)
      XNIC_ALU(BPF_ARSH, shift_right_signed)
      XNIC_ALU(BPF_MOV, move)
      case BPF_ALU64 | BPF_NEG:
        r[insn.dst_reg] = -r[insn.dst_reg];
        break;
      case BPF_ALU | BPF_NEG:
        r[insn.dst_reg] = -static_cast<uint32_t>(r[insn.dst_reg]);
        break;
      case BPF_ALU | BPF_END | BPF_TO_LE:
        r[insn.dst_reg] = alu::to_little_endian(r[insn.dst_reg], insn.imm);
        break;
      case BPF_ALU | BPF_END | BPF_TO_BE:
        r[insn.dst_reg] = alu::to_big_endian(r[insn.dst_reg], insn.imm);
        break;
      case BPF_ALU64 | BPF_END | BPF_TO_LE:
        r[insn.dst_reg] = alu::swap_bytes(r[insn.dst_reg], insn.imm);
        break;
      case BPF_LD | BPF_IMM | BPF_DW:
        r[insn.dst_reg] = immediate64(insn, code[next]);
        ++next;
        break;
        XNIC_MEMORY(BPF_B, uint8_t)
        XNIC_MEMORY(BPF_H, uint16_t)
        XNIC_MEMORY(BPF_W, uint32_t)
        XNIC_MEMORY(BPF_DW, uint64_t)
        XNIC_LOAD_SIGNED(BPF_B, uint8_t)
        XNIC_LOAD_SIGNED(BPF_H, uint16_t)
        XNIC_LOAD_SIGNED(BPF_W, uint32_t)
      case BPF_LD | BPF_ABS | BPF_B:
      case BPF_LD | BPF_ABS | BPF_H:
      case BPF_LD | BPF_ABS | BPF_W:
      case BPF_LD | BPF_IND | BPF_B:
      case BPF_LD | BPF_IND | BPF_H:
      case BPF_LD | BPF_IND | BPF_W:
        if (r[6] != reinterpret_cast<uintptr_t>(&invocation_.packet)) {
          fault(at, "finds no context in r6");
          goto end;
        }
        if (load_packet(invocation_.packet, insn, r)) break;
        r[0] = 0;
        goto leave;
      case BPF_STX | BPF_ATOMIC | BPF_W:
        if (!atomic<uint32_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
      case BPF_STX | BPF_ATOMIC | BPF_B:
        if (!ordered_access<uint8_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
      case BPF_STX | BPF_ATOMIC | BPF_H:
        if (!ordered_access<uint16_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
      case BPF_STX | BPF_ATOMIC | BPF_DW:
        if (!atomic<uint64_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
        XNIC_JUMP(BPF_JEQ, ==, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JNE, !=, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JGT, >, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JGE, >=, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JLT, <, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JLE, <=, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JSGT, >, int64_t, int32_t)
        XNIC_JUMP(BPF_JSGE, >=, int64_t, int32_t)
        XNIC_JUMP(BPF_JSLT, <, int64_t, int32_t)
        XNIC_JUMP(BPF_JSLE, <=, int64_t, int32_t)
        XNIC_JUMP(BPF_JSET, &, uint64_t, uint32_t)
      case BPF_JMP | BPF_JA:
        next = at + 1 + static_cast<uint32_t>(insn.off);
        if (insn.off < 0 && count > kRunLimit) goto past_limit;
        break;
      case BPF_JMP32 | BPF_JA:
        next = at + 1 + static_cast<uint32_t>(insn.imm);
        if (insn.imm < 0 && count > kRunLimit) goto past_limit;
        break;
      case BPF_JMP | kJumpCounted:
        taken = loops == 0;
        loops -= taken ? 0 : 1;
        goto jump;
      jump:
        if (!taken) break;
        next = at + 1 + static_cast<uint32_t>(insn.off);
        if (insn.off < 0 && count > kRunLimit) goto past_limit;
        break;
      case BPF_JMP | BPF_CALL:
        if (count > kRunLimit) goto past_limit;
        if (insn.src_reg == BPF_PSEUDO_CALL) {
          if (memory_.frames() == RunMemory::kFrames) {
            fault(at, fmt::format("calls deeper than {} frames", RunMemory::kFrames));
            goto end;
          }
          callers_.push_back({program_, next, {r[6], r[7], r[8], r[9], r[10]}, loops});
          loops = kMaxLoops;
          next = at + 1 + static_cast<uint32_t>(insn.imm);
          r[10] = memory_.push_frame();
          break;
        }
        if (is_poisoned_call(insn)) {
          fault(at, "needs a type, field or function that this kernel does not have");
          goto end;
        }
        if (is_throw(insn)) {
          thrown_ = r[1];
          goto throws;
        }
        if (insn.imm != BPF_FUNC_tail_call || insn.src_reg == kPseudoKfuncCall) {
          count_ = count;
          taken = calls_.call(*program_, at, r);
          count = count_;
          if (thrown_) goto throws;
          if (!taken) goto end;
          break;
        }
        switch (tail_call(at, r)) {
          case TailCall::taken:
            code = program_->instructions().data();
            costs = program_->costs().data();
            next = 0;
            loops = kMaxLoops;
            memory_.clear_frame();
            break;
          case TailCall::not_taken:
            break;
          case TailCall::fault:
            goto end;
        }
        break;
      // All functions of the program end. Of a function that a helper called, the helper ends
      // first: a fault has it return at once.
      throws:
        while (callers_.size() > outermost && callers_.back().program == program_) {
          callers_.pop_back();
          memory_.pop_frame();
        }
        if (callers_.size() == outermost && start != 0 && program_ == program) {
          fault(at, "throws");
          goto end;
        }
        count_ = count;
        r[0] = catch_exception();
        count = count_;
        if (invocation_.fault) goto end;
        goto leave;
      leave:
      case BPF_JMP | BPF_EXIT: {
        if (callers_.size() == outermost) goto end;
        const Caller& caller = callers_.back();
        program_ = caller.program;
        code = program_->instructions().data();
        costs = program_->costs().data();
        next = caller.next;
        loops = caller.loops;
        std::copy(caller.saved.begin(), caller.saved.end(), &r[6]);
        callers_.pop_back();
        memory_.pop_frame();
        break;
      }
      default:
        fault(at, "is not an instruction that the interpreter knows");
        goto end;
    }
    continue;
  bad_access:
    access_fault(at, r);
    break;
  past_limit:
    invocation_.fault = run_limit_fault(*program_, at);
    break;
  }
end:
  count_ = count;
  memory_.pop_frame();
  return at;
}

#undef XNIC_ALU
#undef XNIC_JUMP
#undef XNIC_MEMORY
#undef XNIC_LOAD_SIGNED

class InterpreterCode : public Code {
 public:
  explicit InterpreterCode(const Program& program) : program_(program) {}
  uint64_t run(Invocation& invocation) const override {
    return Run(program_, invocation).execute();
  }

 private:
  const Program& program_;
};

}  // namespace

void run_callback(const Program& program, Invocation& invocation, uint64_t function, Map& map,
                  std::span<const uint8_t> key, uint8_t* value) {
  Run(program, invocation).execute_callback(function, map, key, value);
}

Fault fault_at(const Program& program, uint32_t instruction, std::string_view what) {
  return Fault{program.id, instruction,
               fmt::format("program {}, {}: {}", program.name(),
                           describe_instruction(program, instruction), what)};
}

Fault run_limit_fault(const Program& program, uint32_t instruction) {
  return fault_at(program, instruction,
                  fmt::format("has run more than {} instructions, which looks like a loop that "
                              "does not end",
                              kRunLimit));
}

std::unique_ptr<Code> Interpreter::compile(const Program& program) {
  return std::make_unique<InterpreterCode>(program);
}

}  // namespace xnic::vm

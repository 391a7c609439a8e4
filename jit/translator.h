#pragma once

#include <array>
#include <bit>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <asmjit/x86.h>

#include "jit/compiler.h"
#include "jit/encoder.h"
#include "jit/host_registers.h"
#include "jit/layout.h"
#include "vm/helper.h"
#include "vm/isa.h"
#include "vm/program_type.h"
#include "vm/verifier/control_flow.h"

namespace xnic::jit {

class Refusals : public asmjit::ErrorHandler {
 public:
  void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
    if (first.empty()) first = message;
  }
  std::string first;
};

inline bool is_alu(const bpf_insn& insn, uint8_t operation, bool from_register) {
  const vm::Opcode& op = vm::opcode(insn);
  return op.kind == vm::Kind::alu && op.operation == operation &&
         op.source_register == from_register;
}

// The translation of one program. The parts are told apart by what they translate:
// translator.cpp functions, blocks and jumps; arithmetic.cpp; memory.cpp; calls.cpp.
class Translator {
 public:
  Translator(const vm::Program& program, const JitOptions& options,
             const FunctionEntries& functions, asmjit::CodeHolder& code,
             std::vector<CodePart>* parts);

  Result<Translation> run();

 private:
  // A function of the program as machine code has it.
  struct Function {
    uint32_t start;  // instructions
    uint32_t end;
    Label entry;
    Label epilogue;
    std::vector<Gp> saved{};   // pushed, in this order
    bool frame = false;        // rbp is r10
    bool calls = false;        // the stack is aligned for calls
    uint32_t stack_bytes = 0;  // of r10's frame
    bool zeroes = false;       // that frame
    bool loops = false;        // has a counter for may_goto below it
    uint32_t frame_bytes = 0;  // taken from the stack behind what was pushed
  };
  // Where loops begin is aligned, in code that is made for speed: one of 36 bytes that lay in two
  // lines of the cache took twice as long.
  static constexpr uint32_t kLoopAlignment = 64;
  struct BackEdge {
    Label stub;
    uint32_t from;
    Label to;
  };

  // The comparison with NULL behind a lookup, which the lookup answers itself on its way.
  struct NullQuestion {
    bool is_asked = false;
    bool leaves_if_found = false;
    Label if_null;  // where NULL leads
  };
  // Of a lookup in a hash table, what is done out of the way.
  struct LookupStub {
    Label none;    // the first bucket has nothing; rax is the bucket, edx its version
    Label search;  // ask the map's function; kScratch2 is the key's address
    Label found;
    NullQuestion question;
    vm::DirectLookup direct;
  };
  using StoreWidths = std::array<uint8_t, 64>;  // bytes, by byte of a key

  // translator.cpp
  void survey();
  void survey(Function& function);
  void start_block(uint32_t index);
  void annotate_block(uint32_t start);
  bool reaches(uint32_t index) const { return program_.proof().reaches(index); }
  uint32_t target(uint32_t index) const {
    return static_cast<uint32_t>(int64_t{index} + 1 + vm::jump_distance(insns_[index]));
  }
  // Whether the instruction follows the one before it alone, and in the same block.
  bool only_follows(uint32_t index) const {
    return index < function_->end && reaches(index) && !labels_[index].is_valid();
  }
  void begin_part(uint32_t first, uint32_t end) {
    if (parts_ != nullptr) [[unlikely]]
      add_part(first, end);
  }
  void add_part(uint32_t first, uint32_t end);
  void prologue();
  void leave_frame();
  void epilogue();
  void limit_stubs();
  // Ends the run if it has passed the limit, blaming the instruction.
  void check_limit(uint32_t index);
  Label limit_stub(uint32_t index);
  // Gives the index of the instruction to go on with.
  uint32_t instruction(uint32_t index);
  void jump(uint32_t index);
  void jump_if(uint32_t index);
  void may_goto(uint32_t index);
  // A conditional jump to the target of the eBPF jump; the flags are set.
  void branch(uint32_t index, Encoder::Condition condition);
  void call_c(const void* function);
  template <class R, class... Args>
  void call_c(R (*function)(Args...)) {
    call_c(reinterpret_cast<const void*>(function));
  }
  void load_constant(const Gp& reg, uint64_t value);
  void load_address(const Gp& reg, const void* address) {
    load_constant(reg, std::bit_cast<uint64_t>(address));
  }

  // arithmetic.cpp
  uint32_t alu(uint32_t index);
  uint32_t fused_move(uint32_t index);
  uint32_t fused_rotate(uint32_t index);
  // Whether nobody wants what the register holds behind the instruction.
  bool is_dead_behind(uint32_t index, uint32_t number);
  bool fused_shifts(uint32_t index);
  void divide(const bpf_insn& insn, const vm::Opcode& op);
  bool divide_by_power_of_two(const bpf_insn& insn, const vm::Opcode& op);
  void shift(const bpf_insn& insn, const vm::Opcode& op);
  void move(const bpf_insn& insn, const vm::Opcode& op);
  void bit_and(const bpf_insn& insn, const vm::Opcode& op);
  static bool swaps_bytes(const bpf_insn& insn);
  void byte_swap(const bpf_insn& insn);

  // assembled_loads.cpp
  uint32_t assembled_load(uint32_t index);
  bool stored_in_parts(uint32_t index, uint32_t base, int32_t offset, uint32_t size) const;

  // assembled_stores.cpp
  uint32_t assembled_stores(uint32_t index);
  bool may_begin_stores(uint32_t index) const;
  void store_constant(const Gp& to, int32_t offset, uint64_t value, uint32_t size);

  // memory.cpp
  void load_memory(uint32_t index);
  bool swapped_load(uint32_t index);
  void store(const bpf_insn& insn, const Gp& base, int32_t offset, uint32_t size);
  void store_memory(uint32_t index);
  // Whether the access to the context takes a call.
  bool asks_program_type(uint32_t index) const;
  void load_context(uint32_t index);
  void store_context(uint32_t index);
  void save_arguments();
  void restore_arguments();
  void load_packet(uint32_t index);
  void atomic(const bpf_insn& insn, uint32_t width);
  void fetch_in_loop(const bpf_insn& insn, uint32_t width, const x86::Mem& place);

  // calls.cpp
  uint32_t call(uint32_t index);
  const Function& function_at(uint32_t start) const;
  void call_helper(const vm::Helper& helper);
  bool inline_helper(const vm::Helper& helper);
  void adjust_head(const vm::Helper& helper);
  void adjust_meta();
  bool loop(uint32_t index);
  uint32_t lookup(uint32_t index, const vm::Helper& helper);
  NullQuestion question_behind(uint32_t index);
  uint32_t answer(uint32_t index, const NullQuestion& question);
  uint32_t lookup_values(uint32_t index, const vm::DirectLookup& direct, const vm::Map& map,
                         const vm::Proof::Call& known);
  void load_cpu(const Gp& to);
  // What the verifier knows of the call.
  vm::Proof::Call known_call(uint32_t index) const;
  std::optional<uint32_t> written_at(uint32_t index, uint32_t number) const;
  void tail_call(uint32_t index);
  void jump_to_tail_call(uint32_t bits);
  void check_callback_fault();
  void unwind();

  // hash_lookup.cpp
  std::optional<uint32_t> lookup_hashed(uint32_t index, const vm::DirectLookup& direct,
                                        const vm::Map& map);
  StoreWidths key_stores(uint32_t index) const;
  void load_key_word(const Gp& to, uint32_t offset, uint32_t bytes, const StoreWidths& widths,
                     const Gp& scratch);
  void lookup_stubs();

  const vm::Program& program_;
  const vm::ProgramType& type_;
  std::span<const bpf_insn> insns_;
  const bool counts_;
  const std::span<const uint32_t> costs_;  // by instruction slot; may be empty
  const bool annotates_;                   // blocks add up counts, costs or both
  const uint64_t most_code_bytes_;
  std::vector<CodePart>* const parts_;
  const FunctionEntries& entries_;
  const Layout& layout_;
  Refusals refusals_;
  Encoder a_;
  bool avx2_;
  bool bmi2_;
  bool movbe_;
  bool needs_run_ = false;
  bool tail_calls_ = false;
  bool needs_invocation_ = false;
  std::vector<Function> functions_;
  Function* function_ = nullptr;      // that is translated
  std::vector<Label> labels_;         // valid where something may come but from the front
  std::vector<uint8_t> begins_loop_;  // by instruction slot
  std::optional<vm::verifier::ControlFlow> flow_;  // once somebody asks for live registers
  std::vector<BackEdge> back_edges_;
  std::vector<LookupStub> lookups_;
  std::vector<std::pair<Label, uint32_t>> limits_;
};

}  // namespace xnic::jit

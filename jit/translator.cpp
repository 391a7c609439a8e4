// The code generator: one pass with asmjit's Assembler over a program that the verifier has
// followed, eBPF registers one to one on x86-64 ones (jit/host_registers.h), functions and blocks
// in program order. Every function keeps the System V convention but for r12, the Invocation, so
// that calls between functions, of helpers and of callbacks are plain calls. Instructions that no
// path reaches are left out, as are the jumps to them.
// Left out: other machines than x86-64.
// Test: tests/jit, against the interpreter; tests/differential, against Linux.
#include "jit/translator.h"

#include <algorithm>

#include "vm/interpreter.h"
#include "vm/kfunc.h"

namespace xnic::jit {

using asmjit::Imm;
using vm::Kind;
using vm::Opcode;

namespace {

constexpr uint32_t kSaved[] = {6, 7, 8, 9};  // that a function preserves
constexpr uint32_t kSlot = 8;

// Asks what program it runs for, by whose types it knows the object's.
bool makes_object(const bpf_insn& insn) {
  if (vm::opcode(insn).kind != Kind::call || insn.src_reg != vm::kPseudoKfuncCall) return false;
  const vm::Kfunc* kfunc = vm::find_kfunc(insn.imm);
  return kfunc != nullptr && kfunc->row.returns == vm::Returns::new_object_or_null;
}

Encoder::Condition condition_of(uint8_t operation) {
  using enum Encoder::Condition;
  switch (operation) {
    case BPF_JEQ:
      return equal;
    case BPF_JGT:
      return above;
    case BPF_JGE:
      return not_below;
    case BPF_JLT:
      return below;
    case BPF_JLE:
      return not_above;
    case BPF_JSGT:
      return greater;
    case BPF_JSGE:
      return not_less;
    case BPF_JSLT:
      return less;
    case BPF_JSLE:
      return not_greater;
    default:  // BPF_JNE, BPF_JSET
      return not_equal;
  }
}

// By opcode: whether it goes on at the next instruction, and has registers alone for operands.
constexpr std::array<bool, 256> kIsPlain = [] {
  std::array<bool, 256> table{};
  for (uint32_t code = 0; code < table.size(); ++code) {
    switch (vm::opcode(static_cast<uint8_t>(code)).kind) {
      case Kind::alu:
      case Kind::negate:
      case Kind::byte_swap:
      case Kind::load:
      case Kind::load_signed:
      case Kind::store:
      case Kind::store_immediate:
      case Kind::atomic:
        table[code] = true;
        break;
      default:
        break;
    }
  }
  return table;
}();

bool ends_block(Kind kind) {
  return vm::jumps(kind) || kind == Kind::exit || kind == Kind::call || kind == Kind::load_packet;
}

bool has_maps_of_maps(const vm::Program& program) {
  return std::ranges::any_of(program.maps(),
                             [](const auto& map) { return map->inner_spec() != nullptr; });
}

}  // namespace

Translator::Translator(const vm::Program& program, const JitOptions& options,
                       const FunctionEntries& functions, asmjit::CodeHolder& code,
                       std::vector<CodePart>* parts)
    : program_(program),
      type_(*vm::find_program_type(program.type())),
      insns_(program.instructions()),
      counts_(options.counts),
      costs_(program.costs()),
      annotates_(counts_ || !costs_.empty()),
      most_code_bytes_(options.most_code_bytes),
      parts_(parts),
      entries_(functions),
      layout_(Layout::get()),
      a_(&code),
      avx2_(asmjit::CpuInfo::host().features().x86().hasAVX2()),
      bmi2_(asmjit::CpuInfo::host().features().x86().hasBMI2()),
      movbe_(asmjit::CpuInfo::host().features().x86().hasMOVBE()) {
  a_.setErrorHandler(&refusals_);
  a_.addEncodingOptions(asmjit::EncodingOptions::kOptimizedAlign);
}

Result<Translation> Translator::run() {
  survey();
  Translation result;
  result.needs_run = needs_run_;
  result.tail_calls = tail_calls_;
  for (Function& function : functions_) {
    function_ = &function;
    if (!reaches(function.start)) {
      result.functions.push_back(Translation::kNoCode);
      continue;
    }
    result.functions.push_back(a_.offset());
    begin_part(function.start, function.start);
    prologue();
    for (uint32_t i = function.start; i < function.end;) {
      if (!reaches(i)) {
        i += vm::slots(insns_[i]);
        continue;
      }
      if (labels_[i].is_valid()) {
        if (!annotates_ && begins_loop_[i] != 0) {
          a_.align(asmjit::AlignMode::kCode, kLoopAlignment);
        }
        a_.mark(labels_[i]);
      }
      begin_part(i, i);
      if (annotates_ && labels_[i].is_valid()) annotate_block(i);
      i = vm::opcode(insns_[i]).kind == Kind::alu ? alu(i) : instruction(i);
      if (parts_ != nullptr) parts_->back().end = i;
      if (a_.offset() > most_code_bytes_) {
        return fail(ExitCode::program_rejected,
                    "program {}: its machine code is larger than the limit of {} bytes at "
                    "instruction {} of {}; the interpreter runs it",
                    program_.name(), most_code_bytes_, i, insns_.size());
      }
    }
    begin_part(function.end, function.end);
    lookup_stubs();
    limit_stubs();
  }
  if (needs_run_) {
    // Who goes on to this program by a tail call has no Run of it.
    result.entry = a_.offset();
    load_address(x86::rsi, &entries_);
    load_address(x86::rax, std::bit_cast<const void*>(&run_with_run));
    a_.jmp(x86::rax);
  }
  a_.finish();
  if (!refusals_.first.empty()) {
    return fail(ExitCode::program_rejected, "program {}: cannot be translated to machine code: {}",
                program_.name(), refusals_.first);
  }
  return result;
}

void Translator::survey() {
  const std::span<const vm::Subprogram> subprograms = program_.subprograms();
  const std::span<const vm::Proof::Function> proofs = program_.proof().functions;
  // Where runs are counted, a function may have to end one from any depth.
  needs_run_ = (counts_ && subprograms.size() > 1) || has_maps_of_maps(program_);
  needs_invocation_ = annotates_;
  labels_.resize(insns_.size());
  begins_loop_.resize(insns_.size());
  for (size_t i = 0; i < subprograms.size(); ++i) {
    Function& function = functions_.emplace_back(
        Function{subprograms[i].start, subprograms[i].end, a_.new_label(), a_.new_label()});
    function.stack_bytes = (proofs[i].stack_bytes + kSlot - 1) / kSlot * kSlot;
    function.zeroes = proofs[i].reads_unwritten;
    survey(function);
  }
  if (needs_invocation_) functions_[0].saved.insert(functions_[0].saved.begin(), kInvocation);
  for (Function& function : functions_) {
    if (function.frame) function.saved.insert(function.saved.begin(), x86::rbp);
    function.frame_bytes = function.frame ? function.stack_bytes + (function.loops ? kSlot : 0) : 0;
    // The return address is on the stack, too.
    const auto pushed = static_cast<uint32_t>(function.saved.size() + 1) * kSlot;
    if (function.calls && (pushed + function.frame_bytes) % 16 != 0) function.frame_bytes += kSlot;
  }
}

void Translator::survey(Function& function) {
  // What is written meanwhile might be these, as far as a compiler sees.
  const bpf_insn* const insns = insns_.data();
  const uint8_t* const reached = program_.proof().reached.data();
  const uint8_t* const meets_context = program_.proof().meets_context.data();
  uint32_t registers = 0;
  bool calls = counts_;
  bool calls_c = false;
  if (annotates_) start_block(function.start);
  for (uint32_t i = function.start, end = function.end; i < end; ++i) {
    if (reached[i] == 0) continue;
    const bpf_insn& insn = insns[i];
    if (meets_context[i] != 0) calls_c = calls_c || asks_program_type(i);
    if (kIsPlain[insn.code]) {
      registers |= 1u << insn.dst_reg | 1u << insn.src_reg;
      continue;
    }
    const Kind kind = vm::opcode(insn).kind;
    // The second half of ld_imm64 has no opcode.
    if (kind == Kind::unknown) continue;
    registers |= 1u << insn.dst_reg;
    if (vm::jumps(kind)) {
      start_block(target(i));
      if (target(i) <= i) begins_loop_[target(i)] = 1;
    }
    if (annotates_ && ends_block(kind)) start_block(i + 1);
    switch (kind) {
      case Kind::call:
        calls = true;
        calls_c = calls_c || !vm::calls_subprogram(insn);
        tail_calls_ = tail_calls_ || (insn.src_reg == 0 && insn.imm == BPF_FUNC_tail_call);
        needs_run_ = needs_run_ || makes_object(insn);
        break;
      case Kind::load_packet:
        registers |= 1u << insn.src_reg;
        calls_c = true;
        break;
      case Kind::load_immediate:
        needs_run_ = needs_run_ || vm::names_function(insn);
        break;
      case Kind::may_goto:
        function.loops = true;
        break;
      default:
        registers |= 1u << insn.src_reg;
        break;
    }
  }
  function.calls = calls || calls_c;
  needs_invocation_ = needs_invocation_ || calls_c;
  for (const uint32_t number : kSaved) {
    if ((registers >> number & 1) != 0) function.saved.push_back(host_register(number));
  }
  function.frame = function.loops || (registers >> kFramePointer & 1) != 0;
}

void Translator::start_block(uint32_t index) {
  if (index < labels_.size() && !labels_[index].is_valid() && reaches(index)) {
    labels_[index] = a_.new_label();
  }
}

// Adds up what the block that begins here runs, and what that takes.
void Translator::annotate_block(uint32_t start) {
  uint64_t length = 0;
  uint64_t cost = 0;
  uint32_t at = start;
  do {
    ++length;
    if (!costs_.empty()) cost += costs_[at];
    at += vm::slots(insns_[at]);
  } while (at < function_->end && reaches(at) && !labels_[at].is_valid());
  const auto add = [this](int32_t member, uint64_t amount) {
    for (constexpr uint64_t kMost = INT32_MAX; amount != 0; amount -= std::min(amount, kMost)) {
      a_.add(x86::qword_ptr(kInvocation, member), Imm(std::min(amount, kMost)));
    }
  };
  if (counts_) add(layout_.instructions, length);
  add(layout_.cost, cost);
}

void Translator::add_part(uint32_t first, uint32_t end) {
  parts_->push_back({first, end, a_.offset()});
}

void Translator::prologue() {
  const Function& f = *function_;
  a_.mark(f.entry);
  for (const Gp& reg : f.saved) a_.push(reg);
  if (&f == functions_.data() && needs_invocation_) a_.mov(kInvocation, x86::rdi);
  if (f.frame) a_.mov(x86::rbp, x86::rsp);
  if (f.frame_bytes != 0) a_.sub(x86::rsp, Imm(f.frame_bytes));
  if (f.frame && f.zeroes && f.stack_bytes != 0) {
    a_.xorps(x86::xmm0, x86::xmm0);
    const auto bytes = static_cast<int32_t>(f.stack_bytes);
    for (int32_t at = -bytes; at < 0; at += 16) {
      if (at + 16 <= 0) {
        a_.movups(x86::xmmword_ptr(x86::rbp, at), x86::xmm0);
      } else {
        a_.movq(x86::qword_ptr(x86::rbp, at), x86::xmm0);
      }
    }
  }
  if (f.loops) {
    a_.mov(x86::dword_ptr(x86::rbp, -static_cast<int32_t>(f.stack_bytes + kSlot)),
           Imm(vm::kMaxLoops));
  }
}

void Translator::leave_frame() {
  const Function& f = *function_;
  if (f.frame_bytes != 0) a_.add(x86::rsp, Imm(f.frame_bytes));
  for (auto reg = f.saved.rbegin(); reg != f.saved.rend(); ++reg) a_.pop(*reg);
}

void Translator::epilogue() {
  const Function& f = *function_;
  const bool is_short = f.saved.empty() && f.frame_bytes == 0;
  if (!is_short && a_.is_marked(f.epilogue)) {
    a_.jmp(f.epilogue);
    return;
  }
  if (!is_short) a_.mark(f.epilogue);
  leave_frame();
  a_.ret();
}

void Translator::check_limit(uint32_t index) {
  if (!counts_) return;
  a_.cmp(x86::qword_ptr(kInvocation, layout_.instructions), Imm(vm::kRunLimit));
  a_.ja(limit_stub(index));
}

Label Translator::limit_stub(uint32_t index) {
  return limits_.emplace_back(a_.new_label(), index).first;
}

// What a function's code keeps out of its way: conditional jumps backward, and the limit's faults.
void Translator::limit_stubs() {
  for (const BackEdge& edge : back_edges_) {
    a_.mark(edge.stub);
    check_limit(edge.from);
    a_.jmp(edge.to);
  }
  back_edges_.clear();
  for (const auto& [stub, index] : limits_) {
    a_.mark(stub);
    a_.mov(x86::rdi, kInvocation);
    load_address(x86::rsi, &program_);
    a_.mov(x86::edx, Imm(index));
    call_c(fault_at_limit);
    unwind();
  }
  limits_.clear();
}

void Translator::load_constant(const Gp& reg, uint64_t value) { a_.set(reg, value); }

void Translator::call_c(const void* function) {
  load_address(x86::rax, function);
  a_.call(x86::rax);
}

uint32_t Translator::instruction(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  const uint32_t next = index + 1;
  switch (op.kind) {
    case Kind::alu:
      return alu(index);
    case Kind::negate:
      a_.neg(sized(host_register(insn.dst_reg), op.width));
      return next;
    case Kind::byte_swap:
      byte_swap(insn);
      return next;
    case Kind::load_immediate:
      load_constant(host_register(insn.dst_reg), vm::immediate64(insn, insns_[index + 1]));
      return index + 2;
    case Kind::load:
      if (const uint32_t behind = assembled_load(index); behind != index) return behind;
      if (program_.proof().meets_context[index] == 0 && swapped_load(index)) return index + 2;
      [[fallthrough]];
    case Kind::load_signed:
      program_.proof().meets_context[index] != 0 ? load_context(index) : load_memory(index);
      return next;
    case Kind::store:
      if (op.width < 8) {
        if (const uint32_t behind = assembled_stores(index); behind != index) return behind;
      }
      [[fallthrough]];
    case Kind::store_immediate:
      program_.proof().meets_context[index] != 0 ? store_context(index) : store_memory(index);
      return next;
    case Kind::atomic:
      atomic(insn, op.width);
      return next;
    case Kind::load_packet:
      load_packet(index);
      return next;
    case Kind::jump:
      jump(index);
      return next;
    case Kind::jump_if:
      jump_if(index);
      return next;
    case Kind::may_goto:
      may_goto(index);
      return next;
    case Kind::call:
      return call(index);
    case Kind::exit:
      epilogue();
      return next;
    case Kind::unknown:
      break;
  }
  a_.ud2();
  return next;
}

void Translator::jump(uint32_t index) {
  if (target(index) <= index) check_limit(index);
  if (target(index) != index + 1) a_.jmp(labels_[target(index)]);
}

void Translator::branch(uint32_t index, Encoder::Condition condition) {
  if (!reaches(target(index))) return;
  Label label = labels_[target(index)];
  if (counts_ && target(index) <= index) {
    label = a_.new_label();
    back_edges_.push_back({label, index, labels_[target(index)]});
  }
  a_.jump_if(condition, label);
}

void Translator::may_goto(uint32_t index) {
  const x86::Mem left =
      x86::dword_ptr(x86::rbp, -static_cast<int32_t>(function_->stack_bytes + kSlot));
  a_.cmp(left, Imm(0));
  branch(index, Encoder::Condition::equal);
  a_.dec(left);
}

void Translator::jump_if(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  if (!reaches(index + 1)) {
    jump(index);
    return;
  }
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  if (op.source_register) {
    const Gp src = sized(host_register(insn.src_reg), op.width);
    a_.binary(op.operation == BPF_JSET ? Encoder::Binary::test : Encoder::Binary::cmp, dst, src);
  } else if (op.operation == BPF_JSET) {
    // With no bit above the lowest 31, the upper half does not matter.
    insn.imm > 0 ? a_.test(dst.r32(), Imm(insn.imm)) : a_.test(dst, Imm(insn.imm));
  } else if (insn.imm == 0) {
    a_.binary(Encoder::Binary::test, dst, dst);
  } else {
    a_.binary(Encoder::Binary::cmp, dst, insn.imm);
  }
  branch(index, condition_of(op.operation));
}

}  // namespace xnic::jit

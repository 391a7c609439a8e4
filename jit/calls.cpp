// Calls of the code generator: helpers and kernel functions, looked-up values in place, tail calls,
// functions of the program. Test: tests/jit, tests/differential.
#include <algorithm>
#include <cerrno>

#include "jit/translator.h"
#include "vm/kfunc.h"
#include "vm/maps/prog_array.h"

namespace xnic::jit {

using asmjit::Imm;

namespace {

// More would make a tail call's code large for ever less.
constexpr uint32_t kMostTailCallBits = 3;

bool takes_function(const vm::Helper& helper) {
  return std::ranges::find(helper.arguments, vm::Argument::function) != helper.arguments.end();
}

bool is_constant_move(const bpf_insn& insn) {
  return insn.code == (BPF_ALU64 | BPF_MOV | BPF_K) || insn.code == (BPF_ALU | BPF_MOV | BPF_K);
}

int32_t state_offset(const Layout& layout, size_t member) {
  return layout.run_state + static_cast<int32_t>(member);
}

}  // namespace

uint32_t Translator::call(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  check_limit(index);
  if (vm::calls_subprogram(insn)) {
    a_.call(function_at(static_cast<uint32_t>(int64_t{index} + 1 + insn.imm)).entry);
    // A program that the function went on to may have passed the limit.
    if (tail_calls_) check_limit(index);
    return index + 1;
  }
  if (insn.src_reg == vm::kPseudoKfuncCall) {
    call_helper(vm::find_kfunc(insn.imm, type_.helper_set)->row);
    return index + 1;
  }
  if (insn.imm == BPF_FUNC_tail_call) {
    tail_call(index);
    return index + 1;
  }
  const auto id = static_cast<uint32_t>(insn.imm);
  const vm::Helper& helper = *vm::find_helper(id, type_.helper_set);
  if (id == BPF_FUNC_map_lookup_elem) return lookup(index, helper);
  if (id == BPF_FUNC_loop && loop(index)) return index + 1;
  if (!inline_helper(helper)) call_helper(helper);
  return index + 1;
}

const Translator::Function& Translator::function_at(uint32_t start) const {
  return *std::ranges::find(functions_, start, &Function::start);
}

void Translator::call_helper(const vm::Helper& helper) {
  a_.mov(x86::rdi, kInvocation);
  call_c(helper.function);
  // Only a run that is counted may fault.
  if (counts_ && takes_function(helper)) check_callback_fault();
}

// After a helper whose callback may have faulted.
void Translator::check_callback_fault() {
  const Label good = a_.new_label();
  a_.mov(kScratch1, x86::qword_ptr(kInvocation, layout_.callbacks));
  a_.cmp(x86::dword_ptr(kScratch1, state_offset(layout_, offsetof(RunState, faulted))), Imm(0));
  a_.je(good);
  unwind();
  a_.mark(good);
}

// Ends the run, or the callback, from any depth.
void Translator::unwind() {
  if (!needs_run_) {
    leave_frame();
    a_.ret();
    return;
  }
  a_.mov(kScratch0, x86::qword_ptr(kInvocation, layout_.callbacks));
  a_.mov(x86::rsp,
         x86::qword_ptr(kScratch0, state_offset(layout_, offsetof(RunState, resume_stack))));
  a_.jmp(x86::qword_ptr(kScratch0, state_offset(layout_, offsetof(RunState, resume_at))));
}

bool Translator::inline_helper(const vm::Helper& helper) {
  const auto is = [&](uint32_t id) {
    const vm::Helper* const row = vm::find_helper(id, type_.helper_set);
    return row != nullptr && helper.function == row->function;
  };
  if (is(BPF_FUNC_ktime_get_ns)) {
    a_.mov(x86::rax, x86::qword_ptr(kInvocation, layout_.environment));
    a_.mov(x86::rax, x86::qword_ptr(x86::rax, layout_.now_ns));
    return true;
  }
  if (is(BPF_FUNC_get_smp_processor_id)) {
    load_cpu(x86::rax);
    return true;
  }
  if (is(BPF_FUNC_xdp_adjust_head)) {
    adjust_head(helper);
    return true;
  }
  if (is(BPF_FUNC_xdp_adjust_meta)) {
    adjust_meta();
    return true;
  }
  return false;
}

// As vm::Packet::adjust_head, which moves metadata, too, where there is any.
void Translator::adjust_head(const vm::Helper& helper) {
  const Label refused = a_.new_label();
  const Label has_metadata = a_.new_label();
  const Label end = a_.new_label();
  const auto member = [](uint32_t offset) {
    return x86::qword_ptr(x86::rsi, static_cast<int32_t>(offset));
  };
  const vm::Packet::PointerOffsets& at = layout_.pointers;
  a_.mov(x86::rcx, member(at.data));
  a_.cmp(x86::rcx, member(at.data_meta));
  a_.jne(has_metadata);
  a_.movsxd(x86::rdx, x86::edx);
  a_.add(x86::rdx, x86::rcx);
  a_.mov(x86::r8, member(at.hard_start));
  a_.add(x86::r8, Imm(vm::kXdpFrameSize));
  a_.cmp(x86::rdx, x86::r8);
  a_.jb(refused);
  a_.mov(x86::r8, member(at.data_end));
  a_.sub(x86::r8, Imm(vm::kEthernetHeader));
  a_.cmp(x86::rdx, x86::r8);
  a_.ja(refused);
  a_.mov(member(at.data), x86::rdx);
  a_.mov(member(at.data_meta), x86::rdx);
  a_.xor_(x86::eax, x86::eax);
  a_.jmp(end);
  a_.mark(has_metadata);
  call_helper(helper);
  a_.jmp(end);
  a_.mark(refused);
  a_.mov(x86::rax, Imm(-EINVAL));
  a_.mark(end);
}

// As vm::Packet::adjust_meta.
void Translator::adjust_meta() {
  const Label refused = a_.new_label();
  const Label denied = a_.new_label();
  const Label end = a_.new_label();
  const auto member = [](uint32_t offset) {
    return x86::qword_ptr(x86::rsi, static_cast<int32_t>(offset));
  };
  const vm::Packet::PointerOffsets& at = layout_.pointers;
  a_.movsxd(x86::rdx, x86::edx);
  a_.add(x86::rdx, member(at.data_meta));
  a_.mov(x86::rcx, member(at.hard_start));
  a_.add(x86::rcx, Imm(vm::kXdpFrameSize));
  a_.cmp(x86::rdx, x86::rcx);
  a_.jb(refused);
  a_.mov(x86::rcx, member(at.data));
  a_.sub(x86::rcx, x86::rdx);
  a_.jb(refused);
  a_.test(x86::ecx, Imm(3));
  a_.jnz(denied);
  a_.cmp(x86::rcx, Imm(vm::kMaxMetadata));
  a_.ja(denied);
  a_.mov(member(at.data_meta), x86::rdx);
  a_.xor_(x86::eax, x86::eax);
  a_.jmp(end);
  a_.mark(denied);
  a_.mov(x86::rax, Imm(-EACCES));
  a_.jmp(end);
  a_.mark(refused);
  a_.mov(x86::rax, Imm(-EINVAL));
  a_.mark(end);
}

// The instruction of the same block, in front of this one, after which the register was not written
// any more; nothing where that is not certain.
std::optional<uint32_t> Translator::written_at(uint32_t index, uint32_t number) const {
  for (uint32_t at = index; at > function_->start && !labels_[at].is_valid();) {
    const bpf_insn& insn = insns_[--at];
    // The second half of ld_imm64 has no opcode.
    if (insn.code == 0) continue;
    if (insn.dst_reg == number) return at;
    // These write others than their destination.
    const vm::Kind kind = vm::opcode(insn).kind;
    if (kind == vm::Kind::call || kind == vm::Kind::load_packet || kind == vm::Kind::atomic) break;
  }
  return std::nullopt;
}

// bpf_loop of a function that is named in the same block: a loop around a plain call.
bool Translator::loop(uint32_t index) {
  constexpr uint32_t kCallback = 2;  // the register
  const std::optional<uint32_t> at = written_at(index, kCallback);
  if (!at || !vm::names_function(insns_[*at])) return false;
  const Function& callback =
      function_at(static_cast<uint32_t>(vm::immediate64(insns_[*at], insns_[*at + 1])));

  constexpr int32_t kTurn = 0;  // on the stack
  constexpr int32_t kTurns = 8;
  constexpr int32_t kContext = 16;
  constexpr int32_t kRoom = 32;
  const Label again = a_.new_label();
  const Label done = a_.new_label();
  const Label bad_flags = a_.new_label();
  const Label end = a_.new_label();
  a_.test(x86::r8, x86::r8);
  a_.jnz(bad_flags);
  a_.mov(x86::eax, Imm(static_cast<uint32_t>(-E2BIG)));
  a_.cmp(x86::esi, Imm(vm::kMaxLoops));
  a_.ja(end);
  a_.sub(x86::rsp, Imm(kRoom));
  a_.mov(x86::dword_ptr(x86::rsp, kTurn), Imm(0));
  a_.mov(x86::dword_ptr(x86::rsp, kTurns), x86::esi);
  a_.mov(x86::qword_ptr(x86::rsp, kContext), x86::rcx);
  a_.mark(again);
  a_.mov(x86::esi, x86::dword_ptr(x86::rsp, kTurn));
  a_.cmp(x86::esi, x86::dword_ptr(x86::rsp, kTurns));
  a_.jae(done);
  a_.mov(x86::rdx, x86::qword_ptr(x86::rsp, kContext));
  a_.call(callback.entry);
  a_.inc(x86::dword_ptr(x86::rsp, kTurn));
  a_.test(x86::rax, x86::rax);
  a_.jz(again);
  a_.mark(done);
  a_.mov(x86::eax, x86::dword_ptr(x86::rsp, kTurn));
  a_.add(x86::rsp, Imm(kRoom));
  a_.jmp(end);
  a_.mark(bad_flags);
  a_.mov(x86::rax, Imm(-EINVAL));
  a_.mark(end);
  return true;
}

void Translator::load_cpu(const Gp& to) {
  a_.mov(to, x86::qword_ptr(kInvocation, layout_.environment));
  a_.mov(to.r32(), x86::dword_ptr(to, layout_.cpu));
}

uint32_t Translator::lookup(uint32_t index, const vm::Helper& helper) {
  const vm::Proof::Call known = known_call(index);
  const auto map = std::ranges::find(program_.maps(), known.map,
                                     [](const auto& shared) { return shared.get(); });
  const bool is_known = map != program_.maps().end() && (*map)->inner_spec() == nullptr;
  const vm::DirectLookup direct = is_known ? (*map)->direct_lookup() : vm::DirectLookup{};
  switch (direct.kind) {
    case vm::DirectLookup::Kind::values:
      return lookup_values(index, direct, **map, known);
    case vm::DirectLookup::Kind::function:
      if (const auto next = lookup_hashed(index, direct, **map)) return *next;
      a_.mov(x86::rsi, x86::rdx);
      load_address(x86::rdi, direct.table);
      load_cpu(x86::rdx);
      call_c(direct.function);
      break;
    case vm::DirectLookup::Kind::none:
      a_.mov(x86::rdi, kInvocation);
      // Which map it is may show only when the program runs.
      call_c(!is_known && needs_run_ ? reinterpret_cast<const void*>(lookup_with_inner_maps)
                                     : reinterpret_cast<const void*>(helper.function));
      break;
  }
  return index + 1;
}

// Where the program asks next whether r0 is NULL, the answer is known on the way, and the question
// is not translated.
Translator::NullQuestion Translator::question_behind(uint32_t index) {
  const bpf_insn& question = insns_[index + 1];
  const bool is_asked = !annotates_ && only_follows(index + 1) && question.dst_reg == 0 &&
                        question.imm == 0 && reaches(index + 2) && reaches(target(index + 1));
  if (is_asked && question.code == (BPF_JMP | BPF_JEQ | BPF_K)) {
    return {true, false, labels_[target(index + 1)]};
  }
  const bool leaves_if_found = is_asked && question.code == (BPF_JMP | BPF_JNE | BPF_K);
  return {leaves_if_found, leaves_if_found, a_.new_label()};
}

// Goes on with r0 not NULL, or where nobody asked with either. Gives the instruction to go on with.
uint32_t Translator::answer(uint32_t index, const NullQuestion& question) {
  if (question.is_asked && !question.leaves_if_found) return index + 2;
  if (question.is_asked) a_.jmp(labels_[target(index + 1)]);
  a_.mark(question.if_null);
  return question.is_asked ? index + 2 : index + 1;
}

// r0 = the value's address, without a call. All of r1 to r5 are free.
uint32_t Translator::lookup_values(uint32_t index, const vm::DirectLookup& direct,
                                   const vm::Map& map, const vm::Proof::Call& known) {
  const NullQuestion question = question_behind(index);
  const Label& none = question.if_null;
  const bool in_range = known.key_is_known && known.key < direct.entries;
  uint8_t* first = direct.values;
  a_.xor_(x86::eax, x86::eax);
  if (in_range) {
    first += known.key * direct.stride;
  } else {
    a_.mov(x86::ecx, x86::dword_ptr(x86::rdx));
    a_.cmp(x86::ecx, Imm(direct.entries));
    a_.jae(none);
  }
  if (direct.cpu_stride != 0) {
    load_cpu(x86::rsi);
    a_.cmp(x86::esi, Imm(map.possible_cpus()));
    a_.jae(none);
    load_constant(x86::rax, direct.cpu_stride);
    a_.imul(x86::rsi, x86::rax);
  }
  load_address(x86::rax, first);
  if (direct.cpu_stride != 0) a_.add(x86::rax, x86::rsi);
  if (!in_range) {
    if (direct.stride == 8) {
      a_.lea(x86::rax, x86::ptr(x86::rax, x86::rcx, 3));
    } else {
      load_constant(x86::rdx, direct.stride);
      a_.imul(x86::rcx, x86::rdx);
      a_.add(x86::rax, x86::rcx);
    }
  }
  return answer(index, question);
}

// The program that is called takes over the frame of this function: what the function saved is
// restored, and the other program's main function entered as if it had been called instead.
void Translator::tail_call(uint32_t index) {
  constexpr uint32_t kIndex = 3;  // the register
  const Label not_taken = a_.new_label();
  const Label slow = a_.new_label();
  const vm::Map* const map = known_call(index).map;
  if (const auto* entries = map == nullptr ? nullptr : vm::tail_call_entries(*map)) {
    const uint32_t count = map->spec().max_entries;
    const std::optional<uint32_t> at = written_at(index, kIndex);
    const bool is_constant = at && is_constant_move(insns_[*at]) && insns_[*at].imm >= 0 &&
                             static_cast<uint32_t>(insns_[*at].imm) < count;
    if (is_constant) {
      const auto* const entry = entries + insns_[*at].imm;
      a_.movabs(x86::rax, x86::ptr(std::bit_cast<uint64_t>(entry)));
    } else {
      static_assert(sizeof(*entries) == 8);
      a_.cmp(x86::ecx, Imm(count));
      a_.jae(not_taken);
      load_address(kScratch2, entries);
      a_.mov(x86::ecx, x86::ecx);
      a_.mov(x86::rax, x86::qword_ptr(kScratch2, x86::rcx, 3));
    }
    a_.test(x86::rax, x86::rax);
    a_.jz(slow);
    const Label none_left = a_.new_label();
    const x86::Mem left = x86::dword_ptr(kInvocation, layout_.tail_calls_left);
    a_.sub(left, Imm(1));
    a_.jb(none_left);
    // r1 is the packet already.
    a_.mov(x86::rdi, kInvocation);
    leave_frame();
    const uint32_t bits =
        is_constant ? 0
                    : std::min(static_cast<uint32_t>(std::bit_width(count - 1)), kMostTailCallBits);
    jump_to_tail_call(bits);
    a_.mark(none_left);
    a_.mov(left, Imm(0));
    a_.jmp(not_taken);
  }
  a_.mark(slow);
  a_.mov(x86::rsi, x86::rdx);
  a_.mov(x86::edx, x86::ecx);
  a_.mov(x86::rdi, kInvocation);
  call_c(jit::tail_call);
  const Label has_run = a_.new_label();
  a_.cmp(x86::edx, Imm(static_cast<uint32_t>(TailCall::goes_on)));
  a_.jb(not_taken);
  a_.ja(has_run);
  a_.mov(x86::rdi, kInvocation);
  a_.mov(x86::rsi, x86::qword_ptr(x86::rdi, layout_.packet));
  leave_frame();
  a_.jmp(x86::rax);
  a_.mark(has_run);
  leave_frame();
  a_.ret();
  a_.mark(not_taken);
}

// To rax, from a place of its own for each value of the lowest bits of the index, which is in rcx.
// A CPU that guesses where a jump goes by where it is would seldom be right if all went from one
// place; the branches here it guesses by their history.
void Translator::jump_to_tail_call(uint32_t bits) {
  if (bits == 0) {
    a_.jmp(x86::rax);
    return;
  }
  const Label set = a_.new_label();
  a_.test(x86::cl, Imm(1u << (bits - 1)));
  a_.jnz(set);
  jump_to_tail_call(bits - 1);
  a_.mark(set);
  jump_to_tail_call(bits - 1);
}

vm::Proof::Call Translator::known_call(uint32_t index) const {
  const auto found = program_.proof().calls.find(index);
  return found == program_.proof().calls.end() ? vm::Proof::Call{} : found->second;
}

}  // namespace xnic::jit

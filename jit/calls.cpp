// Calls of the code generator: helpers, looked-up values in place, tail calls, functions of the
// program. Test: tests/jit, tests/differential.
#include <algorithm>

#include "jit/translator.h"
#include "vm/maps/prog_array.h"

namespace xnic::jit {

using asmjit::Imm;
using asmjit::Label;

namespace {

bool takes_function(const vm::Helper& helper) {
  return std::ranges::find(helper.arguments, vm::Argument::function) != helper.arguments.end();
}

int32_t state_offset(const Layout& layout, size_t member) {
  return static_cast<int32_t>(layout.run_state + member);
}

}  // namespace

void Translator::call(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  check_limit(index);
  if (vm::calls_subprogram(insn)) {
    const auto start = static_cast<uint32_t>(int64_t{index} + 1 + insn.imm);
    a_.call(std::ranges::find(functions_, start, &Function::start)->entry);
  } else if (insn.imm == BPF_FUNC_tail_call) {
    tail_call(index);
  } else {
    helper_call(index);
  }
}

void Translator::helper_call(uint32_t index) {
  const vm::Helper& helper =
      *vm::find_helper(static_cast<uint32_t>(insns_[index].imm), type_.helper_set);
  if (inline_helper(index, helper)) return;
  const bool has_callback = takes_function(helper);
  if (has_callback) {
    a_.mov(kScratch1, x86::qword_ptr(kInvocation, static_cast<int32_t>(layout_.callbacks)));
    load_address(kScratch2, &entries_);
    a_.mov(x86::qword_ptr(kScratch1, state_offset(layout_, offsetof(RunState, functions))),
           kScratch2);
  }
  a_.mov(x86::rdi, kInvocation);
  call_c(helper.function);
  // Only a run that is counted may fault.
  if (has_callback && counts_) check_callback_fault();
}

// After a helper whose callback may have faulted.
void Translator::check_callback_fault() {
  const Label good = a_.newLabel();
  a_.mov(kScratch1, x86::qword_ptr(kInvocation, static_cast<int32_t>(layout_.callbacks)));
  a_.cmp(x86::dword_ptr(kScratch1, state_offset(layout_, offsetof(RunState, faulted))), Imm(0));
  a_.je(good);
  unwind();
  a_.bind(good);
}

// Ends the run, or the callback, from any depth.
void Translator::unwind() {
  if (!needs_run_) {
    leave_frame();
    a_.ret();
    return;
  }
  a_.mov(kScratch0, x86::qword_ptr(kInvocation, static_cast<int32_t>(layout_.callbacks)));
  a_.mov(x86::rsp,
         x86::qword_ptr(kScratch0, state_offset(layout_, offsetof(RunState, resume_stack))));
  a_.jmp(x86::qword_ptr(kScratch0, state_offset(layout_, offsetof(RunState, resume_at))));
}

bool Translator::inline_helper(uint32_t index, const vm::Helper& helper) {
  const auto is = [&](uint32_t id) { return helper.function == vm::find_helper(id)->function; };
  if (is(BPF_FUNC_map_lookup_elem)) {
    lookup(index, helper);
    return true;
  }
  if (is(BPF_FUNC_ktime_get_ns)) {
    a_.mov(x86::rax, x86::qword_ptr(kInvocation, static_cast<int32_t>(layout_.environment)));
    a_.mov(x86::rax, x86::qword_ptr(x86::rax, static_cast<int32_t>(layout_.now_ns)));
    return true;
  }
  if (is(BPF_FUNC_get_smp_processor_id)) {
    load_cpu(x86::rax);
    return true;
  }
  return false;
}

void Translator::load_cpu(const Gp& to) {
  a_.mov(to, x86::qword_ptr(kInvocation, static_cast<int32_t>(layout_.environment)));
  a_.mov(to.r32(), x86::dword_ptr(to, static_cast<int32_t>(layout_.cpu)));
}

void Translator::lookup(uint32_t index, const vm::Helper& helper) {
  const vm::Proof::Call known = known_call(index);
  const auto map = std::ranges::find(program_.maps(), known.map,
                                     [](const auto& shared) { return shared.get(); });
  if (map == program_.maps().end() || (*map)->inner_spec() != nullptr) {
    a_.mov(x86::rdi, kInvocation);
    // Which map it is shows only when the program runs.
    call_c(needs_run_ ? reinterpret_cast<const void*>(lookup_with_inner_maps)
                      : reinterpret_cast<const void*>(helper.function));
    return;
  }
  const vm::DirectLookup direct = (*map)->direct_lookup();
  switch (direct.kind) {
    case vm::DirectLookup::Kind::values:
      return lookup_values(direct, **map, known);
    case vm::DirectLookup::Kind::function:
      a_.mov(x86::rsi, x86::rdx);
      load_address(x86::rdi, direct.table);
      load_cpu(x86::rdx);
      return call_c(direct.function);
    case vm::DirectLookup::Kind::none:
      a_.mov(x86::rdi, kInvocation);
      return call_c(helper.function);
  }
}

// r0 = the value's address, without a call. All of r1 to r5 are free.
void Translator::lookup_values(const vm::DirectLookup& direct, const vm::Map& map,
                               const vm::Proof::Call& known) {
  const Label done = a_.newLabel();
  const Label none = a_.newLabel();
  const bool in_range = known.key_is_known && known.key < direct.entries;
  uint8_t* first = direct.values;
  if (in_range) {
    first += known.key * direct.stride;
  } else {
    a_.mov(x86::ecx, x86::dword_ptr(x86::rdx));
    a_.xor_(x86::eax, x86::eax);
    a_.cmp(x86::ecx, Imm(direct.entries));
    a_.jae(done);
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
  if (direct.cpu_stride != 0) {
    a_.jmp(done);
    a_.bind(none);
    a_.xor_(x86::eax, x86::eax);
  }
  a_.bind(done);
}

// The program that is called takes over the frame of this function: what the function saved is
// restored, and the other program's main function entered as if it had been called instead.
void Translator::tail_call(uint32_t index) {
  const Label not_taken = a_.newLabel();
  const Label taken = a_.newLabel();
  const Label slow = a_.newLabel();
  const vm::Map* const map = known_call(index).map;
  const auto* entries = map == nullptr ? nullptr : vm::tail_call_entries(*map);
  if (entries != nullptr) {
    static_assert(sizeof(*entries) == 8);
    const x86::Mem calls =
        x86::dword_ptr(kScratch1, state_offset(layout_, offsetof(RunState, tail_calls)));
    a_.mov(kScratch1, x86::qword_ptr(kInvocation, static_cast<int32_t>(layout_.callbacks)));
    a_.cmp(x86::ecx, Imm(map->spec().max_entries));
    a_.jae(not_taken);
    load_address(kScratch2, entries);
    a_.mov(x86::eax, x86::ecx);
    a_.mov(x86::rax, x86::qword_ptr(kScratch2, x86::rax, 3));
    a_.test(x86::rax, x86::rax);
    a_.jz(slow);
    a_.cmp(calls, Imm(vm::kMaxTailCalls));
    a_.jae(not_taken);
    a_.inc(calls);
    a_.jmp(taken);
  }
  a_.bind(slow);
  a_.mov(x86::rsi, x86::rdx);
  a_.mov(x86::edx, x86::ecx);
  a_.mov(x86::rdi, kInvocation);
  call_c(jit::tail_call);
  a_.test(x86::rax, x86::rax);
  a_.jz(not_taken);
  a_.bind(taken);
  a_.mov(x86::rdi, kInvocation);
  a_.mov(x86::rsi, x86::qword_ptr(x86::rdi, static_cast<int32_t>(layout_.packet)));
  leave_frame();
  a_.jmp(x86::rax);
  a_.bind(not_taken);
}

vm::Proof::Call Translator::known_call(uint32_t index) const {
  const auto found = program_.proof().calls.find(index);
  return found == program_.proof().calls.end() ? vm::Proof::Call{} : found->second;
}

}  // namespace xnic::jit

// What machine code asks of C++ while it runs. Test: tests/jit.
#include "jit/run.h"

#include <algorithm>
#include <bit>

#include "vm/interpreter.h"
#include "vm/interpreter_packet.h"
#include "vm/isa.h"
#include "vm/maps/prog_array.h"

namespace xnic::jit {

void Run::LetGo::operator()(Maps* held) const { delete held; }

uint64_t Run::run_main() {
  const void* const main = functions_.at.front();
  if (!functions_.may_fault) return std::bit_cast<Entry>(main)(invocation_, &invocation_.packet);
  const std::array<uint64_t, 5> arguments = {std::bit_cast<uint64_t>(&invocation_.packet)};
  return functions_.enter(invocation_, arguments.data(), main);
}

uint64_t Run::call(uint64_t function, const std::array<uint64_t, 5>& arguments) {
  const auto subprograms = functions_.program->subprograms();
  const auto found = std::ranges::find(subprograms, function, &vm::Subprogram::start);
  const void* target = functions_.at[static_cast<size_t>(found - subprograms.begin())];
  const uint64_t r0 = functions_.enter(invocation_, arguments.data(), target);
  if (invocation_.fault) state.faulted = 1;
  return r0;
}

uint64_t Run::hold(std::shared_ptr<vm::Map> map) {
  const auto address = std::bit_cast<uint64_t>(map.get());
  if (map == nullptr) return address;
  if (held_ == nullptr) held_.reset(new Maps);
  if (held_->empty() || held_->back() != map) held_->push_back(std::move(map));
  return address;
}

uint64_t lookup_with_inner_maps(vm::Invocation& invocation, vm::Map& map, const uint8_t* key) {
  if (map.inner_spec() != nullptr) return Run::of(invocation).hold(map.inner_map(key));
  return std::bit_cast<uint64_t>(map.lookup(key, invocation.environment.cpu));
}

TailCallAnswer tail_call(vm::Invocation& invocation, vm::Map& map, uint32_t index) {
  if (invocation.tail_calls_left == 0) return {0, TailCall::not_taken};
  const std::shared_ptr<const vm::Program> target = map.program_at(index);
  if (target == nullptr) return {0, TailCall::not_taken};
  --invocation.tail_calls_left;
  if (const void* entry = target->code().entry()) {
    vm::note_tail_call_entry(map, index, *target);
    return {std::bit_cast<uint64_t>(entry), TailCall::goes_on};
  }
  vm::Callbacks* const callbacks = invocation.callbacks;
  const uint64_t r0 = target->code().run(invocation);
  invocation.callbacks = callbacks;
  return {r0, TailCall::has_run};
}

uint64_t run_with_run(vm::Invocation& invocation, const FunctionEntries& functions) {
  return Run(invocation, functions).run_main();
}

Answer load_packet(const vm::Packet& packet, const bpf_insn& insn, uint64_t source) {
  uint64_t r[16] = {};
  r[insn.src_reg] = source;
  if (!vm::load_packet(packet, insn, r)) return {0, 0};
  return {r[0], 1};
}

uint64_t load_context(const vm::Packet& packet, const vm::ProgramType& type, uint32_t place) {
  uint64_t value = 0;
  type.load(packet, place & 0xffff, place >> 16, value);
  return value;
}

void store_context(vm::Packet& packet, const vm::ProgramType& type, uint32_t place,
                   uint64_t value) {
  type.store(packet, place & 0xffff, place >> 16, value);
}

void fault_at_limit(vm::Invocation& invocation, const vm::Program& program, uint32_t index) {
  // The fault may be that of a program that a function went on to.
  if (!invocation.fault) invocation.fault = vm::run_limit_fault(program, index);
}

}  // namespace xnic::jit

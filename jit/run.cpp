// What machine code asks of C++ while it runs. Test: tests/jit.
#include "jit/run.h"

#include <algorithm>
#include <bit>

#include "vm/interpreter.h"
#include "vm/interpreter_packet.h"
#include "vm/isa.h"
#include "vm/maps/prog_array.h"

namespace xnic::jit {
namespace {

// Stands for the machine code of a program that has none.
uint64_t enter_interpreted(vm::Invocation& invocation, vm::Packet&) {
  Run& run = Run::of(invocation);
  const uint64_t r0 = run.last_tail_called()->code().run(invocation);
  invocation.callbacks = &run;
  if (invocation.fault) run.state.faulted = 1;
  return r0;
}

}  // namespace

struct Run::Held {
  std::vector<std::shared_ptr<vm::Map>> maps;
  std::vector<std::shared_ptr<const vm::Program>> programs;
};

void Run::LetGo::operator()(Held* held) const { delete held; }

Run::Held& Run::held() {
  if (held_ == nullptr) held_.reset(new Held);
  return *held_;
}

void Run::hold(std::shared_ptr<const vm::Program> program) {
  held().programs.push_back(std::move(program));
}

const vm::Program* Run::last_tail_called() const { return held_->programs.back().get(); }

uint64_t Run::call(uint64_t function, const std::array<uint64_t, 5>& arguments) {
  const FunctionEntries* const caller = state.functions;
  const auto subprograms = caller->program->subprograms();
  const auto found = std::ranges::find(subprograms, function, &vm::Subprogram::start);
  const void* target = caller->at[static_cast<size_t>(found - subprograms.begin())];
  const uint64_t r0 = enter_(invocation_, arguments.data(), target);
  state.functions = caller;
  if (invocation_.fault) state.faulted = 1;
  return r0;
}

uint64_t Run::hold(std::shared_ptr<vm::Map> map) {
  const auto address = std::bit_cast<uint64_t>(map.get());
  if (map == nullptr) return address;
  std::vector<std::shared_ptr<vm::Map>>& maps = held().maps;
  if (maps.empty() || maps.back() != map) maps.push_back(std::move(map));
  return address;
}

uint64_t lookup_with_inner_maps(vm::Invocation& invocation, vm::Map& map, const uint8_t* key) {
  if (map.inner_spec() != nullptr) return Run::of(invocation).hold(map.inner_map(key));
  return std::bit_cast<uint64_t>(map.lookup(key, invocation.environment.cpu));
}

const void* tail_call(vm::Invocation& invocation, vm::Map& map, uint32_t index) {
  Run& run = Run::of(invocation);
  if (run.state.tail_calls >= vm::kMaxTailCalls) return nullptr;
  std::shared_ptr<const vm::Program> target = map.program_at(index);
  if (target == nullptr) return nullptr;
  ++run.state.tail_calls;
  const void* entry = target->code().entry();
  if (entry != nullptr) vm::note_tail_call_entry(map, index, *target);
  run.hold(std::move(target));
  return entry != nullptr ? entry : reinterpret_cast<const void*>(&enter_interpreted);
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
  invocation.fault = vm::run_limit_fault(program, index);
}

}  // namespace xnic::jit

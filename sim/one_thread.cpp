// What it cannot know: whether a program's state in maps is each flow's or CPU's own.
// Test: tests/sim/threads_test.cpp.
#include "sim/one_thread.h"

#include <fmt/format.h>

#include "vm/isa.h"

namespace xnic::sim {
namespace {

// What a call of the helper has to do with the order of packets on all CPUs; empty for nothing.
std::string_view order_of_helper(int32_t helper) {
  switch (helper) {
    case BPF_FUNC_timer_init:
      return "starts timers, which fire between packets of all CPUs";
    case BPF_FUNC_trace_printk:
    case BPF_FUNC_trace_vprintk:
      return "prints lines, whose order is the packets'";
    default:
      return {};
  }
}

std::string reason_of(const vm::LoadedProgram& loaded) {
  for (const bpf_insn& insn : loaded.program->instructions()) {
    if (vm::opcode(insn).kind != vm::Kind::call || insn.src_reg != 0) continue;
    const std::string_view reason = order_of_helper(insn.imm);
    if (!reason.empty()) return fmt::format("program {} {}", loaded.name, reason);
  }
  return {};
}

}  // namespace

std::string one_thread_reason(const Attachments& attachments) {
  for (const InterfaceHooks::Entry& interface : attachments.hooks.all()) {
    if ((*interface.hooks)[static_cast<size_t>(vm::HookPoint::xdp_offload)].attached()) {
      return fmt::format("xdp.offload of {} runs on the card's one engine", interface.name);
    }
  }
  for (const auto& object : attachments.objects) {
    for (const vm::LoadedProgram& program : object->programs()) {
      if (std::string reason = reason_of(program); !reason.empty()) return reason;
    }
    for (const vm::LoadedMap& map : object->maps()) {
      if (map.map->spec().type == BPF_MAP_TYPE_CPUMAP) {
        return fmt::format("map {} hands packets to other CPUs", map.name);
      }
    }
  }
  return {};
}

}  // namespace xnic::sim

// Left out: data flow. A program that reads the clock is excused in every field but errno, whether
// or not the time reaches it; what another program left in a map that it reads is not looked at,
// unless that map itself differs. Test: tests/sim/comparison_test.cpp.
#include "sim/excuse.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace xnic::sim {
namespace {

struct OpenHelper {
  int32_t id;  // BPF_FUNC_*
  std::string_view name;
  std::string_view leaves_open;
};

constexpr std::array kOpenHelpers = {
    OpenHelper{BPF_FUNC_ktime_get_ns, "bpf_ktime_get_ns", "time"},
    OpenHelper{BPF_FUNC_ktime_get_boot_ns, "bpf_ktime_get_boot_ns", "time"},
    OpenHelper{BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns", "time"},
    OpenHelper{BPF_FUNC_ktime_get_tai_ns, "bpf_ktime_get_tai_ns", "time"},
    OpenHelper{BPF_FUNC_timer_start, "bpf_timer_start", "time"},
    OpenHelper{BPF_FUNC_jiffies64, "bpf_jiffies64", "time"},
    OpenHelper{BPF_FUNC_get_prandom_u32, "bpf_get_prandom_u32", "random numbers"},
    OpenHelper{BPF_FUNC_for_each_map_elem, "bpf_for_each_map_elem", "hash order"},
};

bool is_call_of_helper(const bpf_insn& insn) {
  return insn.code == (BPF_JMP | BPF_CALL) && insn.src_reg == 0;
}

bool calls(const SideProgram& program, int32_t helper) {
  return std::any_of(
      program.instructions.begin(), program.instructions.end(),
      [helper](const bpf_insn& i) { return is_call_of_helper(i) && i.imm == helper; });
}

bool is_lru(const SideMap& map) {
  return map.type == BPF_MAP_TYPE_LRU_HASH || map.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

// libbpf leaves the descriptor of the map in the instruction that loads its address.
bool uses(const SideProgram& program, const SideMap& map) {
  return std::any_of(program.instructions.begin(), program.instructions.end(),
                     [&](const bpf_insn& i) {
                       return i.code == (BPF_LD | BPF_DW | BPF_IMM) && i.imm == map.fd &&
                              (i.src_reg == BPF_PSEUDO_MAP_FD || i.src_reg == BPF_PSEUDO_MAP_VALUE);
                     });
}

// An LRU evicts when its free entries run out, at most half of them at once (and per CPU where
// BPF_F_NO_COMMON_LRU parts them): one that is emptier than that has not evicted.
bool may_have_evicted(const SideMap& map, size_t entries) {
  const uint32_t lists = (map.flags & BPF_F_NO_COMMON_LRU) != 0 ? real_possible_cpus() : 1;
  return is_lru(map) && entries >= map.max_entries / lists / 2;
}

void add_open_helpers(const SideProgram& program, std::vector<std::string>& reasons) {
  for (const OpenHelper& row : kOpenHelpers) {
    if (!calls(program, row.id)) continue;
    std::string reason = fmt::format("{}: {} calls {}", row.leaves_open, program.name, row.name);
    if (std::find(reasons.begin(), reasons.end(), reason) == reasons.end()) {
      reasons.push_back(std::move(reason));
    }
  }
}

std::string joined(const std::vector<std::string>& reasons) {
  return fmt::format("{}", fmt::join(reasons, "; "));
}

}  // namespace

std::string excuse_for_program(const KernelSide& side, const SideProgram& program) {
  std::vector<std::string> reasons;
  add_open_helpers(program, reasons);
  if (calls(program, BPF_FUNC_tail_call)) {
    for (const SideProgram& other : side.programs()) add_open_helpers(other, reasons);
  }
  return joined(reasons);
}

std::string excuse_for_map(const KernelSide& side, const SideMap& map, size_t entries) {
  if (may_have_evicted(map, entries)) {
    return fmt::format("LRU victims: {} was full enough to evict", map.name);
  }
  std::vector<std::string> reasons;
  for (const SideProgram& program : side.programs()) {
    if (uses(program, map)) add_open_helpers(program, reasons);
  }
  return joined(reasons);
}

std::string excuse_for_evictions(KernelSide& side, const SideProgram& program) {
  for (const SideMap& map : side.maps()) {
    if (!is_lru(map) || !uses(program, map)) continue;
    const auto entries = side.contents(map);
    if (entries && may_have_evicted(map, entries->size())) {
      return fmt::format("LRU victims: {} uses {}, which was full enough to evict", program.name,
                         map.name);
    }
  }
  return {};
}

}  // namespace xnic::sim

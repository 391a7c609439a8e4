#pragma once

#include <cstdint>
#include <span>

#include "vm/helper.h"

namespace xnic::vm {

// A region that one kfunc begins and another ends; a program has to end what it began.
enum class Region : uint8_t {
  none,
  begins_rcu,
  ends_rcu,
  begins_no_preemption,
  ends_no_preemption
};

// One kernel function (kfunc): a row like a helper's, in a file of vm/kfuncs, and its prototype in
// vm/kernel_types.bpf.c. A program names it by the id of its type there, so that it has no number
// of its own: row.id is 0. Only GPL-compatible programs may call kfuncs.
struct Kfunc {
  Helper row;
  // Only XDP programs that are bound to a device (BPF_F_XDP_DEV_BOUND_ONLY) may call it.
  bool needs_device = false;
  Region region = Region::none;
};

// Of a call of a function that this table does not have, known from the types of another kernel:
// the id there, with this bit.
inline constexpr int32_t kForeignKfunc = 1 << 30;
// Of such a call, and of an instruction that names a symbol so.
inline bool is_foreign(const bpf_insn& insn) {
  return insn.imm > 0 && (insn.imm & kForeignKfunc) != 0;
}

std::span<const Kfunc> kfuncs();
// The row of a function of the kernel's types, as a call instruction has it in `imm`, for these
// program types (a function may do one thing for some and another for others); null if no such
// program can call it.
const Kfunc* find_kfunc(int32_t type_id, uint32_t program_types = kAnyType);

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include <cstdint>

#include "vm/interpreter_memory.h"
#include "vm/isa.h"

namespace xnic::vm {

// The atomic instructions of the interpreter. Each is done at once even where other threads use
// the same map. False where the access is refused. Test: tests/vm/interpreter_test.cpp.

// load_acquire and store_release: refused where other atomics are, but for the right that they do
// not need.
template <class T>
bool ordered_access(RunMemory& memory, const Program& program, const bpf_insn& insn, uint64_t* r) {
  const bool loads = insn.imm == kLoadAcquire;
  const uint64_t address = r[loads ? insn.src_reg : insn.dst_reg] + static_cast<uint64_t>(insn.off);
  if (address % sizeof(T) != 0 || memory.in_packet(address, sizeof(T))) return false;
  T* place = reinterpret_cast<T*>(address);
  if (loads) {
    if (!memory.may_read(program, address, sizeof(T))) return false;
    r[insn.dst_reg] = __atomic_load_n(place, __ATOMIC_ACQUIRE);
  } else {
    if (!memory.may_write(program, address, sizeof(T))) return false;
    __atomic_store_n(place, static_cast<T>(r[insn.src_reg]), __ATOMIC_RELEASE);
  }
  return true;
}

template <class T>
bool atomic(RunMemory& memory, const Program& program, const bpf_insn& insn, uint64_t* r) {
  if (is_ordered_access(insn)) return ordered_access<T>(memory, program, insn, r);
  const uint64_t address = r[insn.dst_reg] + static_cast<uint64_t>(insn.off);
  if (address % sizeof(T) != 0 || !memory.may_update(program, address, sizeof(T))) return false;
  T* place = reinterpret_cast<T*>(address);
  const T operand = static_cast<T>(r[insn.src_reg]);
  T before{};
  switch (insn.imm & ~kAtomicFetch) {
    case BPF_ADD:
      before = __atomic_fetch_add(place, operand, __ATOMIC_SEQ_CST);
      break;
    case BPF_OR:
      before = __atomic_fetch_or(place, operand, __ATOMIC_SEQ_CST);
      break;
    case BPF_AND:
      before = __atomic_fetch_and(place, operand, __ATOMIC_SEQ_CST);
      break;
    case BPF_XOR:
      before = __atomic_fetch_xor(place, operand, __ATOMIC_SEQ_CST);
      break;
    case kAtomicExchange & ~kAtomicFetch:
      before = __atomic_exchange_n(place, operand, __ATOMIC_SEQ_CST);
      break;
    default: {
      T expected = static_cast<T>(r[0]);
      __atomic_compare_exchange_n(place, &expected, operand, false, __ATOMIC_SEQ_CST,
                                  __ATOMIC_SEQ_CST);
      r[0] = expected;
      return true;
    }
  }
  if ((insn.imm & kAtomicFetch) != 0) r[insn.src_reg] = before;
  return true;
}

}  // namespace xnic::vm

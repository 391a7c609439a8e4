#pragma once

#include <array>
#include <cstdint>

#include <asmjit/x86.h>

// Which x86-64 register plays which eBPF register. A helper is a C function of an Invocation and r1
// to r5, so that these are where the System V convention wants them and only the first argument is
// left to load; r6 to r9 are registers that a C function preserves.
namespace xnic::jit {

namespace x86 = asmjit::x86;
using x86::Gp;

inline constexpr uint32_t kFramePointer = 10;

inline const Gp& host_register(uint32_t number) {
  static constexpr std::array<Gp, 11> kMap = {x86::rax, x86::rsi, x86::rdx, x86::rcx,
                                              x86::r8,  x86::r9,  x86::rbx, x86::r13,
                                              x86::r14, x86::r15, x86::rbp};
  return kMap[number];
}

// Not eBPF registers: three scratch, the first of which is a C function's first argument, and the
// Invocation's address in functions that need it.
inline constexpr Gp kScratch0 = x86::rdi;
inline constexpr Gp kScratch1 = x86::r10;
inline constexpr Gp kScratch2 = x86::r11;
inline constexpr Gp kInvocation = x86::r12;

// The part of a register that holds so many bytes, 1 to 8.
inline Gp sized(const Gp& reg, uint32_t width) {
  switch (width) {
    case 1:
      return reg.r8();
    case 2:
      return reg.r16();
    case 4:
      return reg.r32();
    default:
      return reg.r64();
  }
}

}  // namespace xnic::jit

#pragma once

#include <cstdint>

namespace xnic::nic {

// The CPU's steady cycle counter.
inline uint64_t cycles_now() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  uint64_t cycles;
  asm volatile("mrs %0, cntvct_el0" : "=r"(cycles));
  return cycles;
#else
#error "which counter?"
#endif
}

}  // namespace xnic::nic

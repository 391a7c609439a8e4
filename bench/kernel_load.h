#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <string>
#include <tl/expected.hpp>

namespace xnic::bench {

// What BPF_PROG_LOAD of an XDP program took in the kernel of this machine.
struct KernelLoad {
  uint64_t looked_at = 0;  // instructions, each as often as a path came along
  double verify_ns = 0;    // as the verifier's log tells
  double other_ns = 0;     // the rest, most of which is the JIT's
};

// The error is a sentence.
tl::expected<KernelLoad, std::string> time_kernel_load(std::span<const bpf_insn> program);

}  // namespace xnic::bench

#pragma once

#include <linux/bpf.h>
#include <sched.h>

#include <memory>
#include <optional>
#include <utility>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"
#include "vm/syscall.h"

// The emulated kernel and the real one behind one face, so that a test does everything twice.
namespace xnic::test {

// One of the two. Calls that libbpf makes go to it while a Scope is alive.
class OneKernel {
 public:
  explicit OneKernel(bool real) {
    if (real) {
      host_ = std::make_unique<RealKernel>();
    } else {
      kernel_.emplace(engine_, vm::KernelOptions{.possible_cpus = real_possible_cpus()});
      host_ = std::make_unique<EmulatedKernel>(*kernel_);
    }
  }
  BpfHost* operator->() { return host_.get(); }
  BpfHost& host() { return *host_; }
  vm::Kernel& emulated() { return *kernel_; }
  bool real() const { return !kernel_; }

  // Lands this thread's calls in this kernel.
  std::unique_ptr<vm::KernelScope> scope() {
    return kernel_ ? std::make_unique<vm::KernelScope>(*kernel_) : nullptr;
  }

 private:
  vm::Interpreter engine_;
  std::optional<vm::Kernel> kernel_;
  std::unique_ptr<BpfHost> host_;
};

// Programs of the emulated kernel run on CPU 0, so those of the real one must.
inline void stay_on_cpu_0() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
}

inline RunRequest on_packet(Bytes data) {
  RunRequest request;
  request.data = std::move(data);
  return request;
}

inline Instructions load_value(Register to, uint64_t value) {
  bpf_insn low{}, high{};
  low.code = BPF_LD | BPF_DW | BPF_IMM;
  low.dst_reg = to & 0xf;
  low.imm = static_cast<int32_t>(value);
  high.imm = static_cast<int32_t>(value >> 32);
  return {low, high};
}

// Fills the lowest `bytes` (a multiple of 8) of the 64 bytes below r10 and leaves r2 there.
inline Instructions fill_stack(uint32_t bytes, int32_t first) {
  Instructions code;
  for (uint32_t at = 0; at < bytes; at += 8) {
    code.push_back(store(8, r10, static_cast<int16_t>(static_cast<int>(at) - 64),
                         first + static_cast<int>(at)));
  }
  return code + Instructions{move(r2, r10), alu(BPF_ADD, r2, -64)};
}

}  // namespace xnic::test

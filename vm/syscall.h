#pragma once

#include <linux/bpf.h>

#include <cstdint>

#include "vm/kernel.h"

namespace xnic::vm {

// bpf(2) of the emulated kernel: the commands, checks and -errno answers of Linux. Pointers in
// `attributes` are addresses in this process. An unknown command, or a non-zero byte past the last
// attribute of a command, is -EINVAL; non-zero bytes past the attributes that exist are -E2BIG.
// Test: tests/vm/syscall_test.cpp.
long bpf_syscall(Kernel& kernel, uint32_t command, bpf_attr* attributes, uint32_t size);

// BPF_PROG_TEST_RUN for XDP and sched_cls, in vm/test_run.cpp.
long test_run(Kernel& kernel, bpf_attr& attributes);

// While one is in scope on this thread, every bpf(2) that this thread issues through syscall(2),
// libbpf's above all, lands in `kernel` and not on the host.
class KernelScope {
 public:
  explicit KernelScope(Kernel& kernel);
  ~KernelScope();
  // The innermost kernel in scope on this thread; null if there is none.
  static Kernel* current();
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  Kernel* outer_;
};

}  // namespace xnic::vm

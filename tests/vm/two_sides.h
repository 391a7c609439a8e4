#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/syscall.h"

// The same calls on the emulated kernel and on the one of this machine, step by step.
namespace xnic::test {

// One kernel, and the libc calls that go with it: while a question is asked of the emulated kernel,
// mkdir, unlink and statfs land in it too.
struct Side {
  BpfHost& host;
  vm::Kernel* emulated;  // null for the real one
  std::vector<Descriptor> kept{};

  long bpf(uint32_t command, bpf_attr attr) { return host.bpf(command, attr); }
  // Keeps what a call gave; the descriptor, or -errno.
  int keep(Descriptor made) {
    if (made.error() != 0) return static_cast<int>(made.error());
    kept.push_back(std::move(made));
    return kept.back().fd();
  }
  int map(bpf_map_type type, uint32_t key_size, uint32_t value_size, uint32_t entries,
          uint32_t flags = 0) {
    return keep(host.create_map(type, key_size, value_size, entries, flags));
  }
  int program(bpf_prog_type type, int verdict = 2) {
    return keep(host.load(type, {move(r0, verdict), leave()}));
  }
  // 0, or -errno of a libc call.
  static long libc(int answer) { return answer < 0 ? -errno : answer; }
};

class TwoKernels : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  using Question = std::function<long(Side&)>;
  // Asks both; the answers must be the same number. Gives it.
  long same(const std::string& what, const Question& question) {
    const long theirs = question(theirs_);
    const vm::KernelScope scope(kernel_);
    const long ours = question(ours_);
    EXPECT_EQ(ours, theirs) << what << ": xnic first, Linux second";
    return ours;
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_, {.possible_cpus = real_possible_cpus()}};
  EmulatedKernel emulated_{kernel_};
  RealKernel real_;
  Side ours_{emulated_, &kernel_};
  Side theirs_{real_, nullptr};
};

// A bpffs of this process's own at /sys/fs/bpf; false where that is not permitted.
inline bool enter_private_bpffs() {
  return unshare(CLONE_NEWNS) == 0 && mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("bpffs", "/sys/fs/bpf", "bpf", 0, nullptr) == 0;
}

// A network namespace with the loopback device, ifindex 1, and nic0, ifindex 2.
inline bool enter_private_network() {
  return unshare(CLONE_NEWNET) == 0 &&
         std::system("ip link add nic0 index 2 type veth peer name far0 index 3 2>/dev/null") == 0;
}

}  // namespace xnic::test

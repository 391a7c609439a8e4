// Helpers that ask the machine that runs the program: its clocks, its CPU, chance, its memory.
// All clocks are the one of the run: the machine starts with it, never sleeps, and its time of day
// begins at 0.
// Test: tests/bpf/clocks, compared with Linux by tests/differential.
#include <array>
#include <cerrno>
#include <cstring>

#include "vm/helpers/rows.h"
#include "vm/kernel_face.h"
#include "vm/probe_read.h"

namespace xnic::vm {
namespace {

uint64_t ktime_get_ns(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.environment.now_ns;
}

// Ticks since five minutes before the start, where Linux lets its 32 low bits begin so that they
// overflow early.
uint64_t jiffies64(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  constexpr uint64_t kNanosecondsPerTick = 1'000'000'000 / kTicksPerSecond;
  constexpr uint32_t kFirstTick = 0u - 300 * kTicksPerSecond;
  return kFirstTick + run.environment.now_ns / kNanosecondsPerTick;
}

uint64_t get_prandom_u32(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.environment.prng.next();
}

uint64_t get_smp_processor_id(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.environment.cpu;
}

// All CPUs are on one node.
uint64_t get_numa_node_id(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return 0;
}

// What Linux answers where nothing can be read: programs may not even try the lower half.
int unreadable(uint64_t address) {
  constexpr uint64_t kKernelHalf = 0xffff800000000000;
  return address >= kKernelHalf ? -EFAULT : -ERANGE;
}

// What cannot be read becomes zeros.
uint64_t probe_read_kernel(Invocation&, uint64_t to, uint64_t size, uint64_t from, uint64_t,
                           uint64_t) {
  if (probe_read(memory_at(to), from, size) == size) return 0;
  std::memset(memory_at(to), 0, size);
  return result(unreadable(from));
}

// Gives the length with the NUL that always ends the text.
uint64_t probe_read_kernel_str(Invocation&, uint64_t to, uint64_t size, uint64_t from, uint64_t,
                               uint64_t) {
  if (size == 0) return 0;
  bool mapped = false;
  const std::string text = probe_read_string(from, size - 1, &mapped);
  if (!mapped) {
    std::memset(memory_at(to), 0, size);
    return result(unreadable(from));
  }
  std::memcpy(memory_at(to), text.c_str(), text.size() + 1);
  return text.size() + 1;
}

// Packets come while no process runs, but for the kernel's idle task.
uint64_t no_process(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) { return 0; }

uint64_t current_task(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return kCurrentTask;
}

using A = Argument;
using R = Returns;
constexpr uint32_t kHasCoarseClock = kAnyType & ~(kTracing | kPerfEvent | kBtfTracing | kSyscall |
                                                  kCgroupDevice | kCgroupSockopt | kNetfilter);
constexpr std::array kRows = {
    XNIC_HELPER(ktime_get_ns, kAnyType, R::integer, {}, ktime_get_ns),
    XNIC_HELPER(ktime_get_boot_ns, kAnyType, R::integer, {}, ktime_get_ns),
    XNIC_HELPER(ktime_get_coarse_ns, kHasCoarseClock, R::integer, {}, ktime_get_ns),
    XNIC_HELPER(ktime_get_tai_ns, kAnyType, R::integer, {}, ktime_get_ns),
    XNIC_HELPER(jiffies64, kAnyType, R::integer, {}, jiffies64),
    XNIC_HELPER(get_prandom_u32, kAnyType, R::integer, {}, get_prandom_u32),
    XNIC_HELPER(get_smp_processor_id, kAnyType, R::integer, {}, get_smp_processor_id),
    XNIC_HELPER(get_numa_node_id, kAnyType, R::integer, {}, get_numa_node_id),
    XNIC_HELPER(get_current_pid_tgid, kAnyType, R::integer, {}, no_process),
    XNIC_HELPER(get_current_uid_gid, kAnyType, R::integer, {}, no_process),
    XNIC_HELPER(get_current_comm, kAnyType, R::integer, {A::memory_write, A::size}, no_process),
    XNIC_HELPER(get_current_task, kAnyType, R::integer, {}, current_task, kGplOnly),
    XNIC_HELPER(get_current_task_btf, kAnyType, R::trusted_object, {}, current_task, kGplOnly,
                kAnyLicense, "task_struct"),
    XNIC_HELPER(probe_read_kernel, kAnyType, R::integer, {A::memory_write, A::size_or_zero, A::any},
                probe_read_kernel, kGplOnly),
    XNIC_HELPER(probe_read_kernel_str, kAnyType, R::size_or_error,
                {A::memory_write, A::size_or_zero, A::any}, probe_read_kernel_str, kGplOnly),
};

}  // namespace

std::span<const Helper> machine_helpers() { return kRows; }

}  // namespace xnic::vm

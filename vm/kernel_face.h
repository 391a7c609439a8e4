#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace xnic::vm {

class Btf;

// What libbpf asks of a kernel besides bpf(2): its types (/sys/kernel/btf/vmlinux), version
// (uname), configuration (/boot/config, /proc/config.gz) and symbols (/proc/kallsyms). While a
// kernel is in scope (vm/syscall.h) libbpf's calls for these are led to the emulated kernel, which
// is a Linux 6.18 with the types of vm/kernel_types.bpf.c, so that an object loads the same on
// every host. Test: tests/vm/objects_test.cpp.
inline constexpr std::string_view kKernelRelease = "6.18.0";
inline constexpr uint32_t kTicksPerSecond = 250;  // CONFIG_HZ

// The task that every packet interrupts, and its registers: places where the kernel has its memory,
// with nothing behind them. They are not NULL, which the verifier promises to programs.
inline constexpr uint64_t kCurrentTask = 0xffff888100000000;
inline constexpr uint64_t kTaskRegisters = kCurrentTask + 0x3f58;

// The types of vm/kernel_types.bpf.c.
const Btf& kernel_types();

// The types of a kernel, of a file such as /sys/kernel/btf/vmlinux (raw BTF) or vmlinux (ELF); null
// if there is no such file or it holds none.
std::shared_ptr<const Btf> read_kernel_types(const std::string& path);

// In the form of /boot/config.
std::string_view kernel_configuration();

}  // namespace xnic::vm

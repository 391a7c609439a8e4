// Which calls of this process land in an emulated kernel: bpf(2), and those by which libbpf checks
// and makes the place of a pin. The linker leads them here (-Wl,--wrap=NAME); without a KernelScope
// on the thread, and for every other path, they go on to the host.
// Test: tests/vm/syscall_test.cpp, tests/vm/syscall_pin_test.cpp.
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

#include "vm/host_calls.h"
#include "vm/syscall.h"

extern "C" {
long __real_syscall(long number, ...);
int __real_statfs64(const char* path, struct statfs64* status);
int __real_mkdir(const char* path, mode_t mode);
int __real_unlink(const char* path);
}

namespace xnic::vm {
namespace {

thread_local Kernel* kernel_in_scope = nullptr;

// The path inside the emulated machine's bpffs; empty where the host answers.
std::string path_inside(const char* path) {
  return kernel_in_scope == nullptr || path == nullptr ? std::string() : Bpffs::inside(path);
}

int as_libc(long answer) {
  if (answer >= 0) return static_cast<int>(answer);
  errno = static_cast<int>(-answer);
  return -1;
}

}  // namespace

KernelScope::KernelScope(Kernel& kernel) : outer_(kernel_in_scope) { kernel_in_scope = &kernel; }
KernelScope::~KernelScope() { kernel_in_scope = outer_; }
Kernel* KernelScope::current() { return kernel_in_scope; }

}  // namespace xnic::vm

using xnic::vm::kernel_in_scope;

// The C library declares syscall() with "...", but takes six arguments whatever the call. As
// parameters they arrive in the same places, and va_arg would read behind those that were passed.
extern "C" long __wrap_syscall(long number, long a0, long a1, long a2, long a3, long a4, long a5) {
  if (number == __NR_perf_event_open && kernel_in_scope != nullptr) {
    return xnic::vm::as_libc(xnic::vm::perf_event_open(
        *kernel_in_scope, std::bit_cast<const perf_event_attr*>(a0), static_cast<int>(a2)));
  }
  if (number != __NR_bpf || kernel_in_scope == nullptr) {
    return __real_syscall(number, a0, a1, a2, a3, a4, a5);
  }
  return xnic::vm::as_libc(xnic::vm::bpf_syscall(*kernel_in_scope, static_cast<uint32_t>(a0),
                                                 std::bit_cast<bpf_attr*>(a1),
                                                 static_cast<uint32_t>(a2)));
}

extern "C" int __wrap_statfs64(const char* path, struct statfs64* status) {
  const std::string inside = xnic::vm::path_inside(path);
  if (inside.empty()) return __real_statfs64(path, status);
  if (!kernel_in_scope->bpffs.exists(inside)) return xnic::vm::as_libc(-ENOENT);
  *status = {};
  status->f_type = BPF_FS_MAGIC;
  status->f_bsize = status->f_frsize = sysconf(_SC_PAGESIZE);
  status->f_namelen = 255;
  return 0;
}

extern "C" int __wrap_mkdir(const char* path, mode_t mode) {
  const std::string inside = xnic::vm::path_inside(path);
  if (inside.empty()) return __real_mkdir(path, mode);
  return xnic::vm::as_libc(kernel_in_scope->bpffs.make_directory(inside));
}

extern "C" int __wrap_unlink(const char* path) {
  const std::string inside = xnic::vm::path_inside(path);
  if (inside.empty()) return __real_unlink(path);
  return xnic::vm::as_libc(kernel_in_scope->bpffs.unlink(inside));
}

// The linker leads libbpf's calls of these functions here (-Wl,--wrap). Left out: addresses of
// kernel symbols are places in the text of Linux with nothing behind them.
#include "vm/kernel_face.h"

#include <bpf/btf.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "vm/btf.h"
#include "vm/elf_file.h"
#include "vm/syscall.h"

// The object file of vm/kernel_types.bpf.c, whole.
asm(".pushsection .rodata\n"
    ".balign 16\n"
    "xnic_kernel_types_start:\n"
    ".incbin \"" XNIC_KERNEL_TYPES
    "\"\n"
    "xnic_kernel_types_end:\n"
    ".popsection\n");
extern "C" const uint8_t xnic_kernel_types_start[];
extern "C" const uint8_t xnic_kernel_types_end[];

extern "C" {
btf* __real_btf__load_vmlinux_btf();
FILE* __real_fopen64(const char* path, const char* mode);
int __real_uname(utsname* name);
gzFile __real_gzopen64(const char* path, const char* mode);
}

namespace xnic::vm {
namespace {

bool in_scope() { return KernelScope::current() != nullptr; }

constexpr std::string_view kSymbols =
    "ffffffff81000000 T _text\n"
    "ffffffff81000000 T _stext\n"
    "ffffffff82000000 T _etext\n"
    "ffffffff82a00000 D init_net\n"
    "ffffffff82a10000 D bpf_prog_active\n";

constexpr std::string_view kConfiguration =
    "CONFIG_64BIT=y\n"
    "CONFIG_X86_64=y\n"
    "CONFIG_SMP=y\n"
    "CONFIG_NR_CPUS=8192\n"
    "CONFIG_HZ=250\n"
    "CONFIG_NET=y\n"
    "CONFIG_INET=y\n"
    "CONFIG_IPV6=y\n"
    "CONFIG_BPF=y\n"
    "CONFIG_BPF_SYSCALL=y\n"
    "CONFIG_BPF_JIT=y\n"
    "CONFIG_CGROUP_BPF=y\n"
    "CONFIG_DEBUG_INFO_BTF=y\n"
    "CONFIG_NET_CLS_ACT=y\n"
    "CONFIG_NET_CLS_BPF=m\n"
    "CONFIG_NET_ACT_BPF=m\n"
    "CONFIG_NET_SCH_INGRESS=m\n"
    "CONFIG_NF_CONNTRACK=m\n"
    "CONFIG_XDP_SOCKETS=y\n"
    "CONFIG_LWTUNNEL_BPF=y\n"
    "CONFIG_DEFAULT_HOSTNAME=\"(none)\"\n"
    "CONFIG_LOCALVERSION=\"\"\n";
static_assert(kConfiguration.find("CONFIG_HZ=250\n") != std::string_view::npos &&
              kTicksPerSecond == 250);

std::shared_ptr<const Btf> parse_kernel_types() {
  const auto object = ElfFile::parse({xnic_kernel_types_start, xnic_kernel_types_end});
  assert(object);
  return Btf::parse(object->sections[object->find(".BTF")].data);
}

template <size_t N>
void put(char (&field)[N], std::string_view text) {
  std::memset(field, 0, N);
  text.copy(field, N - 1);
}

}  // namespace

std::string_view kernel_configuration() { return kConfiguration; }

const Btf& kernel_types() {
  static const std::shared_ptr<const Btf> kTypes = parse_kernel_types();
  return *kTypes;
}

std::shared_ptr<const Btf> read_kernel_types(const std::string& path) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__parse(path.c_str(), nullptr),
                                                         btf__free);
  if (types == nullptr) return nullptr;
  uint32_t size = 0;
  const auto* bytes = static_cast<const uint8_t*>(btf__raw_data(types.get(), &size));
  return bytes == nullptr ? nullptr : Btf::parse({bytes, size});
}

}  // namespace xnic::vm

using xnic::vm::in_scope;

extern "C" btf* __wrap_btf__load_vmlinux_btf() {
  if (!in_scope()) return __real_btf__load_vmlinux_btf();
  const auto& own = xnic::vm::KernelScope::current()->options().types;
  const std::span<const uint8_t> types = (own ? *own : xnic::vm::kernel_types()).blob();
  return btf__new(types.data(), static_cast<uint32_t>(types.size()));
}

extern "C" FILE* __wrap_fopen64(const char* path, const char* mode) {
  const std::string_view file = path;
  if (!in_scope()) return __real_fopen64(path, mode);
  if (file == "/proc/kallsyms") {
    // Only read, as its mode says.
    return fmemopen(const_cast<char*>(xnic::vm::kSymbols.data()), xnic::vm::kSymbols.size(), "r");
  }
  if (file == "/proc/version_signature") {
    errno = ENOENT;
    return nullptr;
  }
  return __real_fopen64(path, mode);
}

extern "C" int __wrap_uname(utsname* name) {
  if (!in_scope()) return __real_uname(name);
  xnic::vm::put(name->sysname, "Linux");
  xnic::vm::put(name->nodename, "xnic");
  xnic::vm::put(name->release, xnic::vm::kKernelRelease);
  xnic::vm::put(name->version, "#1 SMP PREEMPT_DYNAMIC");
  xnic::vm::put(name->machine, "x86_64");
  return 0;
}

extern "C" gzFile __wrap_gzopen64(const char* path, const char* mode) {
  const std::string_view file = path;
  const bool configuration = file.starts_with("/boot/config") || file == "/proc/config.gz";
  if (!in_scope() || !configuration) return __real_gzopen64(path, mode);
  const int fd = memfd_create("kernel-config", MFD_CLOEXEC);
  if (fd < 0) return nullptr;
  const std::string_view text = xnic::vm::kernel_configuration();
  if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      lseek(fd, 0, SEEK_SET) != 0) {
    close(fd);
    return nullptr;
  }
  return gzdopen(fd, "r");
}

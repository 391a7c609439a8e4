// bpf(2): BTF. Left out: the log of a refused blob. Test: tests/vm/syscall_test.cpp.
#include <linux/btf.h>

#include "vm/syscall/commands.h"
#include "vm/syscall/user_memory.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxBtfSize = 16 * 1024 * 1024;
constexpr uint8_t kBtfVersion = 1;

}  // namespace

long btf_load(Kernel& kernel, bpf_attr& attr) {
  if (attr.btf_size > kMaxBtfSize) return -E2BIG;
  const auto* blob = user_pointer<const uint8_t>(attr.btf);
  if (blob == nullptr && attr.btf_size != 0) return -EFAULT;
  std::shared_ptr<Btf> btf = Btf::parse({blob, attr.btf_size});
  if (btf == nullptr) return -EINVAL;
  // libbpf passes these two, Linux does not.
  if (blob[offsetof(btf_header, version)] != kBtfVersion) return -kErrorNotSupported;
  if (btf->type_count() <= 1) return -EINVAL;
  if (const int error = btf->find_local_types(); error != 0) return error;
  return kernel.btfs.add(std::move(btf), ObjectFd("bpf-btf"));
}

int btf_info(bpf_attr& attr, const Btf& btf) {
  bpf_btf_info info{};
  if (const int error = copy_info_in(attr, info); error != 0) return error;
  info.id = btf.id;
  const int error = copy_records_out(info.btf, info.btf_size, btf.blob().data(), btf.blob().size());
  if (error != 0) return error;
  info.kernel_btf = 0;
  if ((info.name == 0) != (info.name_len == 0)) return -EINVAL;
  // User space's BTF has no name.
  if (info.name != 0) *user_pointer<char>(info.name) = 0;
  info.name_len = 0;
  return copy_info_out(attr, info);
}

}  // namespace xnic::vm

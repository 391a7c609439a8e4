// Pointers taken for pointers to objects of the kernel, which nothing here may follow.
// Test: the comparison of verdicts in tests/verdicts.
#include <array>

#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

uint64_t same(Invocation&, uint64_t object, uint64_t, uint64_t, uint64_t, uint64_t) {
  return object;
}

using A = Argument;
constexpr std::array kRows = {
    Kfunc{kfunc_row("bpf_cast_to_kern_ctx", kAnyType, Returns::trusted_object, {A::context}, same)},
    Kfunc{kfunc_row("bpf_rdonly_cast", kAnyType, Returns::kernel_object, {A::ignored, A::struct_id},
                    same)},
};

}  // namespace

std::span<const Kfunc> cast_kfuncs() { return kRows; }

}  // namespace xnic::vm

#pragma once

#include <bpf/btf.h>

#include <string>
#include <string_view>

#include "tests/support/instructions.h"
#include "vm/btf.h"
#include "vm/kernel_face.h"

// Calls of kernel functions by name, in programs for either kernel.
namespace xnic::test {

// The ids of functions in the types of either kernel.
class FunctionIds {
 public:
  explicit FunctionIds(bool real) : real_(real ? btf__load_vmlinux_btf() : nullptr) {}
  ~FunctionIds() { btf__free(real_); }
  FunctionIds(const FunctionIds&) = delete;
  FunctionIds& operator=(const FunctionIds&) = delete;

  int32_t operator[](std::string_view name) const {
    if (real_ == nullptr) return static_cast<int32_t>(vm::kernel_types().function_id(name));
    return btf__find_by_name_kind(real_, std::string(name).c_str(), BTF_KIND_FUNC);
  }

 private:
  btf* real_;
};

inline bpf_insn call_kfunc(const FunctionIds& ids, std::string_view name) {
  bpf_insn insn = call(ids[name]);
  insn.src_reg = BPF_PSEUDO_KFUNC_CALL & 0xf;
  return insn;
}

}  // namespace xnic::test

// Test: tests/vm/exceptions_test.cpp and tests/bpf/exceptions, compared with Linux.
#include "vm/exceptions.h"

#include <bpf/btf.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "vm/btf.h"
#include "vm/isa.h"
#include "vm/kfunc.h"

namespace xnic::vm {

tl::expected<uint32_t, std::string> exception_callback(const ProgramSpec& spec) {
  static constexpr std::string_view kTag = "exception_callback:";
  if (spec.btf == nullptr || spec.functions.empty()) return 0;
  const btf* types = spec.btf->parsed();
  const uint32_t count = btf__type_cnt(types);
  std::string_view name;
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* tag = btf__type_by_id(types, id);
    if (!btf_is_decl_tag(tag) || tag->type != spec.functions.front().type_id) continue;
    const std::string_view text = btf__str_by_offset(types, tag->name_off);
    if (btf_decl_tag(tag)->component_idx != -1 || !text.starts_with(kTag)) continue;
    if (!name.empty())
      return tl::unexpected(std::string("multiple exception callback tags for main subprog"));
    name = text.substr(kTag.size());
  }
  if (name.empty()) return 0;
  const auto found = std::ranges::find_if(spec.functions, [&](const bpf_func_info& info) {
    return spec.btf->type_name(info.type_id) == name;
  });
  if (found == spec.functions.end()) {
    return tl::unexpected(
        fmt::format("exception callback '{}' could not be found in func_info", name));
  }
  if (!spec.btf->is_global_function(found->type_id)) {
    return tl::unexpected(fmt::format("exception callback '{}' must have global linkage", name));
  }
  return found->insn_off;
}

bool is_throw(const bpf_insn& insn) {
  if (opcode(insn).kind != Kind::call || insn.src_reg != kPseudoKfuncCall) return false;
  const Kfunc* kfunc = find_kfunc(insn.imm);
  return kfunc != nullptr && kfunc->row.name == "bpf_throw";
}

}  // namespace xnic::vm

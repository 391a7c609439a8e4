// Left out: arrays without a size at the end of a struct, which Linux lets programs walk in the
// kernel's objects alone. Test: the comparison of verdicts in tests/verdicts.
#include "vm/verifier/struct_access.h"

#include <bpf/btf.h>

#include <cerrno>
#include <string_view>

namespace xnic::vm::verifier {
namespace {

const btf_type* without_modifiers(const btf* types, uint32_t id) {
  const btf_type* type = btf__type_by_id(types, id);
  while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type))) {
    type = btf__type_by_id(types, type->type);
  }
  return type;
}

std::string_view name_of(const btf* types, uint32_t offset) {
  const char* name = btf__str_by_offset(types, offset);
  return name != nullptr ? name : "";
}

// A member that the offset falls into: its type, that of its elements if it is an array.
struct Member {
  const btf_type* type = nullptr;
  std::string_view name;
  uint32_t start = 0;   // of the element
  uint32_t behind = 0;  // of the whole member
  uint32_t size = 0;    // of the element
};

}  // namespace

Verdict require_members(const Btf& blob, uint32_t type_id, int64_t offset, uint32_t size) {
  const btf* types = blob.parsed();
  const btf_type* type = without_modifiers(types, type_id);
  auto at = static_cast<uint64_t>(offset);
  for (;;) {
    const std::string_view name = name_of(types, type->name_off);
    if (at + size > type->size) {
      return refuse(EACCES, "access beyond struct {} at off {} size {}", name, at, size);
    }
    Member found;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& member = btf_members(type)[i];
      const uint32_t first_bit = btf_member_bit_offset(type, i);
      const uint32_t start = first_bit / 8;
      if (at + size <= start) break;
      if (const uint32_t bits = btf_member_bitfield_size(type, i); bits != 0) {
        if (at <= start && (first_bit + bits + 7) / 8 <= at + size) return {};
        continue;
      }
      if (at < start) break;
      const int64_t bytes = btf__resolve_size(types, member.type);
      if (bytes < 0) {
        return refuse(EFAULT, "field {} doesn't have size", name_of(types, member.name_off));
      }
      if (at >= start + static_cast<uint64_t>(bytes)) continue;
      found.type = without_modifiers(types, member.type);
      found.name = name_of(types, member.name_off);
      found.start = start;
      found.size = static_cast<uint32_t>(bytes);
      found.behind = start + found.size;
      while (btf_is_array(found.type)) {
        found.size /= btf_array(found.type)->nelems;
        found.type = without_modifiers(types, btf_array(found.type)->type);
      }
      found.start += static_cast<uint32_t>((at - start) / found.size * found.size);
      break;
    }
    if (found.type == nullptr) {
      return refuse(EINVAL, "struct {} doesn't have field at offset {}", name, at);
    }
    if (btf_is_composite(found.type)) {
      type = found.type;
      at -= found.start;
      continue;
    }
    if (btf_is_ptr(found.type)) {
      const btf_type* target = without_modifiers(types, found.type->type);
      if (found.size != size || at != found.start) {
        return refuse(EACCES,
                      "cannot access ptr member {} with moff {} in struct {} with off {} size {}",
                      found.name, found.start, name, at, size);
      }
      if (target != nullptr && btf_is_composite(target)) return {};
    }
    if (at + size > found.behind) {
      return refuse(EACCES,
                    "access beyond the end of member {} (mend:{}) in struct {} with off {} size {}",
                    found.name, found.behind, name, at, size);
    }
    return {};
  }
}

}  // namespace xnic::vm::verifier

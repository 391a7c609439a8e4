#pragma once

#include <bpf/btf.h>

#include <cstdint>
#include <string_view>

namespace xnic::sim {

// Bounds what recurses along types alone, for BTF is foreign input.
inline constexpr int kMaxTypeDepth = 64;

// The type behind qualifiers, typedefs and variables, and its id in `id`. Null for void, an
// unknown id or an endless chain.
inline const btf_type* resolve(const btf* types, uint32_t& id) {
  for (int depth = 0; depth < kMaxTypeDepth && id != 0; ++depth) {
    const btf_type* type = btf__type_by_id(types, id);
    if (type == nullptr || !(btf_is_mod(type) || btf_is_typedef(type) || btf_is_var(type)))
      return type;
    id = type->type;
  }
  return nullptr;
}

// Empty for an unknown offset.
inline std::string_view name_at(const btf* types, uint32_t offset) {
  const char* name = btf__name_by_offset(types, offset);
  return name == nullptr ? std::string_view() : name;
}

// Bits of an integer type; 0 for one that no machine has.
inline uint32_t integer_bits(const btf_type* type) {
  const uint32_t bits = btf_int_bits(type);
  return bits <= 128 ? bits : 0;
}

}  // namespace xnic::sim

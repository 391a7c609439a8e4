#pragma once

#include <bpf/btf.h>

#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {

// A member that is accessed, however deep it lies in a struct.
struct StructField {
  uint32_t struct_id = 0;  // that a pointer leads to; 0: a number
  std::string_view name;
  std::string_view owner;  // the struct that holds it
  bool in_union = false;   // that may hold something else
  std::string_view tag;    // of the pointer's type: "rcu", "user", "percpu"
};

// The member that holds `size` bytes at an offset of the struct with that id: whole, if it is a
// pointer. Of an untrusted pointer to the struct, a read may go past the member's end.
tl::expected<StructField, Refusal> find_field(const btf* types, uint32_t id, uint32_t offset,
                                              uint32_t size, bool untrusted);

// The type behind modifiers and typedefs, and its id; null if there is none.
const btf_type* skip_modifiers(const btf* types, uint32_t id, uint32_t* at = nullptr);
bool is_struct(const btf_type* type);
std::string_view name_of(const btf* types, const btf_type* type);

}  // namespace xnic::vm::verifier

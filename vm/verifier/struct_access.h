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

// Whose object a pointer to a struct leads to, which says how far accesses may go.
enum class ObjectOf : uint8_t {
  kernel,     // an array without a length at its end goes on as far as one likes
  untrusted,  // the same, and a read may go past the end of a member
  program,    // it ends where its type ends: so much bpf_obj_new gave
};

// The member that holds `size` bytes at an offset of the struct with that id: whole, if it is a
// pointer.
tl::expected<StructField, Refusal> find_field(const btf* types, uint32_t id, uint32_t offset,
                                              uint32_t size, ObjectOf whose);

// The type behind modifiers and typedefs, and its id; null if there is none.
const btf_type* skip_modifiers(const btf* types, uint32_t id, uint32_t* at = nullptr);
bool is_struct(const btf_type* type);
std::string_view name_of(const btf* types, const btf_type* type);

}  // namespace xnic::vm::verifier

#pragma once

#include <cstdint>
#include <tl/expected.hpp>
#include <vector>

#include "vm/maps/value_fields.h"

struct btf;
struct btf_type;

namespace xnic::vm {

// Where fields are looked for: each has kinds of its own.
enum class FieldsOf : uint8_t { map_value, local_object };

// The kernel's own fields in a struct or data section, by offset; or -errno where they are against
// Linux's rules (two locks, an array of timers, a root without a lock, ...).
tl::expected<std::vector<SpecialField>, int> find_fields(const btf* types, const btf_type* type,
                                                         FieldsOf what);

}  // namespace xnic::vm

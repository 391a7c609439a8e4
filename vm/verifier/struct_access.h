#pragma once

#include "vm/btf.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {

// That `size` bytes at `offset` of an object of that struct are bytes of one of its members, whole
// if that is a pointer.
Verdict require_members(const Btf& types, uint32_t type_id, int64_t offset, uint32_t size);

}  // namespace xnic::vm::verifier

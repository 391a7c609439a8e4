#pragma once

#include <span>
#include <vector>

#include "vm/program_type.h"

namespace xnic::vm {

// The rows of types that the verifier knows and that nothing here runs. `skb` is every field of
// struct __sk_buff that a program can reach.
std::vector<ProgramType> verified_program_types(std::span<const ContextField> skb);

}  // namespace xnic::vm

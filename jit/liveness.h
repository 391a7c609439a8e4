#pragma once

#include <cstdint>
#include <vector>

#include "vm/program.h"

namespace xnic::jit {

// For each instruction slot, the registers whose values someone may still want behind the
// instruction: bit n for rn.
std::vector<uint16_t> live_behind(const vm::Program& program);

}  // namespace xnic::jit

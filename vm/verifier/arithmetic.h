#pragma once

#include <cstdint>

#include "vm/verifier/bounds.h"

namespace xnic::vm::verifier {

// What an ALU instruction leaves of numbers. `operation` is BPF_OP of the instruction, `width` 4 or
// 8 bytes; a 32-bit operation zeroes the upper half. Quotients, remainders and shifts by an amount
// that is not known become unknown, as on Linux. BPF_NEG takes no `right`; BPF_MOV, BPF_END are not
// computed here. Test: tests/vm/verifier/arithmetic_test.cpp.
Bounds apply(uint8_t operation, uint32_t width, Bounds left, const Bounds& right);

}  // namespace xnic::vm::verifier

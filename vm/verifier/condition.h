#pragma once

#include <cstdint>
#include <optional>

#include "vm/verifier/bounds.h"

namespace xnic::vm::verifier {

// Conditions of jumps over numbers. `operation` is BPF_OP of the instruction, `width` 4 or 8 bytes.
// Test: tests/vm/verifier/condition_test.cpp.

// Whether the condition always (true) or never (false) holds; nothing where it may do either.
std::optional<bool> outcome(uint8_t operation, uint32_t width, const Bounds& left,
                            const Bounds& right);

// Narrows both sides to where the condition holds (`taken`) or does not.
void assume(uint8_t operation, uint32_t width, bool taken, Bounds& left, Bounds& right);

// The operation that holds of exchanged sides: < for >.
uint8_t exchanged(uint8_t operation);

}  // namespace xnic::vm::verifier

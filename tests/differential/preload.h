#pragma once

#include <span>

#include "sim/kernel_side.h"

namespace xnic::test {

// Fills the maps that decide what a program does, the same on every side: prog_array slots,
// addresses and ports that occur in these packets.
void preload(sim::KernelSide& side, std::span<const sim::Bytes> packets);

}  // namespace xnic::test

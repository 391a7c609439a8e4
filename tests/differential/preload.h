#pragma once

#include <span>

#include "tests/differential/side.h"

namespace xnic::test {

// Fills the maps that decide what a program does, the same on every side: prog_array slots,
// addresses and ports that occur in these packets.
void preload(Side& side, std::span<const Bytes> packets);

}  // namespace xnic::test

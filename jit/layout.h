#pragma once

#include <cstdint>

#include "vm/packet.h"

namespace xnic::jit {

// Where generated code finds what it reads in objects of C++: offsets in bytes.
struct Layout {
  uint32_t packet;        // of the packet's address in vm::Invocation
  uint32_t environment;   // of the environment's address
  uint32_t instructions;  // in vm::Invocation
  uint32_t callbacks;
  uint32_t now_ns;  // in vm::Environment
  uint32_t cpu;
  uint32_t run_state;  // of jit::Run's `state` from what `callbacks` holds
  vm::Packet::PointerOffsets pointers;

  static const Layout& get();
};

}  // namespace xnic::jit

#pragma once

#include <cstdint>

#include "vm/packet.h"

namespace xnic::jit {

// Where a member stands in an object.
template <class Object, class Member>
int32_t offset_in(const Object& object, const Member& member) {
  return static_cast<int32_t>(reinterpret_cast<const char*>(&member) -
                              reinterpret_cast<const char*>(&object));
}

// Where generated code finds what it reads in objects of C++: offsets in bytes.
struct Layout {
  int32_t packet;        // of the packet's address in vm::Invocation
  int32_t environment;   // of the environment's address
  int32_t instructions;  // in vm::Invocation
  int32_t cost;
  int32_t callbacks;
  int32_t tail_calls_left;
  int32_t now_ns;  // in vm::Environment
  int32_t cpu;
  int32_t run_state;  // of jit::Run's `state` from what `callbacks` holds
  vm::Packet::PointerOffsets pointers;

  static const Layout& get();
};

}  // namespace xnic::jit

// Measures objects instead of assuming where their members stand; it stops at once if a compiler
// keeps a reference as anything but an address.
#include "jit/layout.h"

#include <cstdlib>
#include <cstring>

#include "jit/run.h"
#include "vm/invocation.h"

namespace xnic::jit {
namespace {

// Of the pointer in the object that holds this address.
template <class Object>
int32_t offset_of_pointer(const Object& object, const void* address) {
  const auto* bytes = reinterpret_cast<const char*>(&object);
  for (size_t at = 0; at + sizeof(address) <= sizeof(object); at += sizeof(address)) {
    if (std::memcmp(bytes + at, &address, sizeof(address)) == 0) return static_cast<int32_t>(at);
  }
  std::abort();
}

Layout measure() {
  vm::Packet packet;
  vm::Environment environment;
  vm::Invocation invocation(packet, environment);
  const FunctionEntries nothing{};
  const Run run(invocation, nothing);
  const vm::Callbacks& callbacks = run;
  return {.packet = offset_of_pointer(invocation, &packet),
          .environment = offset_of_pointer(invocation, &environment),
          .instructions = offset_in(invocation, invocation.instructions),
          .cost = offset_in(invocation, invocation.cost),
          .callbacks = offset_in(invocation, invocation.callbacks),
          .tail_calls_left = offset_in(invocation, invocation.tail_calls_left),
          .now_ns = offset_in(environment, environment.now_ns),
          .cpu = offset_in(environment, environment.cpu),
          .run_state = offset_in(callbacks, run.state),
          .pointers = vm::Packet::pointer_offsets()};
}

}  // namespace

const Layout& Layout::get() {
  static const Layout kLayout = measure();
  return kLayout;
}

}  // namespace xnic::jit

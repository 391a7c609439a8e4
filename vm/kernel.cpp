#include "vm/kernel.h"

namespace xnic::vm {

Kernel::~Kernel() {
  maps.for_each([](Map& map) { map.release_programs(); });
}

}  // namespace xnic::vm

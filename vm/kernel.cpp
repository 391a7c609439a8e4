#include "vm/kernel.h"

#include <cstring>

namespace xnic::vm {

Kernel::~Kernel() {
  maps.for_each([](Map& map) {
    if (map.spec().type != BPF_MAP_TYPE_PROG_ARRAY) return;
    for (uint32_t slot = 0; slot < map.spec().max_entries; slot++) {
      std::array<uint8_t, sizeof slot> key;
      std::memcpy(key.data(), &slot, sizeof slot);
      map.erase(key.data());
    }
  });
}

}  // namespace xnic::vm

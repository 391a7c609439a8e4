#pragma once

#include <cstdint>
#include <memory>

#include "vm/kernel.h"

namespace xnic::vm {

enum class MapUse : uint8_t { read, write, read_and_write };

// The map of a command, or why this descriptor does not let user space in.
struct UserMap {
  std::shared_ptr<Map> map;
  int error = 0;
};
UserMap user_map(Kernel& kernel, uint32_t fd, MapUse use);

}  // namespace xnic::vm

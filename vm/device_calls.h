#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace xnic::vm {

// The functions of a BPF object file that call a kfunc which needs a device (Kfunc::needs_device),
// by name; programs that do must be bound to one before they are loaded. Empty for a file that is
// no such object.
std::vector<std::string> functions_that_need_a_device(std::span<const uint8_t> file);

}  // namespace xnic::vm

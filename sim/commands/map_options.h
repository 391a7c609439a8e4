#pragma once

#include <string>
#include <vector>

#include "sim/attachment.h"
#include "vm/kernel.h"
#include "vm/result.h"

namespace xnic::sim {

// --map NAME=FILE: fills the maps of this name. Errors: usage, and those of the file.
Result<void> fill_maps(const Attachments& attachments, const std::vector<std::string>& requests);

// --dump-maps FILE: writes all maps of the objects there.
Result<void> dump_maps(const Attachments& attachments, const vm::Kernel& kernel,
                       const std::string& path);

}  // namespace xnic::sim

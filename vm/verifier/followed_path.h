#pragma once

#include <cstdint>
#include <vector>

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// The instructions of the path that the analysis is on, from its start to the present one, which is
// the last: put together backwards from what states keep for Precision. A path in a callback that
// runs by itself (a timer's) begins with the callback.
std::vector<uint32_t> followed_path(const Environment& env);

}  // namespace xnic::vm::verifier

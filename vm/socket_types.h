#pragma once

#include <vector>

#include "vm/program_type.h"

namespace xnic::vm {

// The rows of types that decide about sockets, their options and other resources of a process, and
// of those that pick packets apart: the verifier knows them, and nothing here runs them.
std::vector<ProgramType> socket_program_types();

}  // namespace xnic::vm

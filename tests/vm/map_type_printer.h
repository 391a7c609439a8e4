#pragma once

#include <ostream>

#include "vm/map.h"

namespace xnic::vm {

// For the names of tests that go through the map types.
inline void PrintTo(const MapType& type, std::ostream* out) { *out << type.name; }

}  // namespace xnic::vm

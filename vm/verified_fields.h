#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "vm/program_type.h"

// How the rows of types that are verified and not run say what fields there are.
namespace xnic::vm {

inline uint64_t reads_as_zero(const Packet&) { return 0; }
inline void is_ignored(Packet&, uint64_t) {}

constexpr ContextField field(std::string_view name, size_t offset, uint16_t size, bool writable,
                             bool narrow) {
  return {name,          static_cast<uint16_t>(offset),  size, writable, narrow, Points::nowhere,
          reads_as_zero, writable ? is_ignored : nullptr};
}
constexpr ContextField read_only(std::string_view name, size_t offset, uint16_t size = 4) {
  return field(name, offset, size, false, false);
}
constexpr ContextField in_parts(std::string_view name, size_t offset, uint16_t size = 4) {
  return field(name, offset, size, false, true);
}
constexpr ContextField pointer(std::string_view name, size_t offset, uint16_t size, Points points) {
  ContextField row = read_only(name, offset, size);
  row.points = points;
  return row;
}

}  // namespace xnic::vm

#pragma once

#include <span>

#include "vm/helpers/rows.h"
#include "vm/kfunc.h"

// What the files of vm/kfuncs share: each gives its rows, vm/kfuncs.cpp puts them together.
namespace xnic::vm {

std::span<const Kfunc> cast_kfuncs();
std::span<const Kfunc> dynptr_kfuncs();
std::span<const Kfunc> exception_kfuncs();
std::span<const Kfunc> iterator_kfuncs();
std::span<const Kfunc> object_kfuncs();
std::span<const Kfunc> region_kfuncs();
std::span<const Kfunc> xdp_metadata_kfuncs();

// A row: name, program types, returns, arguments, function.
constexpr Helper kfunc_row(std::string_view name, uint32_t program_types, Returns returns,
                           std::array<Argument, 5> arguments, HelperFunction function) {
  return {0, name, program_types, returns, arguments, function, kGplOnly};
}

// What a C function of type int leaves in r0: Linux says nothing of the upper half, x86-64 clears
// it.
inline uint64_t int_result(int value) { return static_cast<uint32_t>(value); }

}  // namespace xnic::vm

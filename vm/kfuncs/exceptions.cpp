// bpf_throw(cookie), which engines perform themselves, as they do tail calls. See vm/exceptions.h.
#include <array>

#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

constexpr std::array kRows = {
    Kfunc{kfunc_row("bpf_throw", kAnyType, Returns::none, {Argument::any}, nullptr)},
};

}  // namespace

std::span<const Kfunc> exception_kfuncs() { return kRows; }

}  // namespace xnic::vm

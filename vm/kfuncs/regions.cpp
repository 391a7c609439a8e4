// Kfuncs that begin and end a region of a program. Nothing interrupts a program here and nothing is
// freed under it, so that they have nothing to do; that a program ends what it began is the
// verifier's to see. Test: tests/vm/kfunc_test.cpp.
#include <array>

#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

uint64_t nothing(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) { return 0; }

constexpr Kfunc row(std::string_view name, Region region) {
  return {kfunc_row(name, kAnyType, Returns::none, {}, nothing), false, region};
}

constexpr std::array kRows = {
    row("bpf_rcu_read_lock", Region::begins_rcu),
    row("bpf_rcu_read_unlock", Region::ends_rcu),
    row("bpf_preempt_disable", Region::begins_no_preemption),
    row("bpf_preempt_enable", Region::ends_no_preemption),
};

}  // namespace

std::span<const Kfunc> region_kfuncs() { return kRows; }

}  // namespace xnic::vm

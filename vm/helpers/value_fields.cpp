// Helpers for the kernel's own fields in map values and objects: spin locks, timers, kptrs. The
// verifier or the interpreter has checked that the address is that of such a field.
// Test: tests/bpf/spin_locks and local_objects, compared with Linux by tests/differential;
// tests/sim/timers_test.cpp.
#include "vm/maps/value_fields.h"

#include <atomic>
#include <cerrno>

#include "vm/helpers/rows.h"
#include "vm/map.h"
#include "vm/program.h"
#include "vm/timers.h"

namespace xnic::vm {
namespace {

// A run holds one lock at most; the engine faults a second one and a run that ends with one.
uint64_t spin_lock(Invocation& run, uint64_t lock, uint64_t, uint64_t, uint64_t, uint64_t) {
  lock_value(memory_at(lock));
  run.held_lock = lock;
  return 0;
}

uint64_t spin_unlock(Invocation& run, uint64_t lock, uint64_t, uint64_t, uint64_t, uint64_t) {
  unlock_value(memory_at(lock));
  run.held_lock = 0;
  return 0;
}

// Where timers are kept; a machine without them refuses.
constexpr int kNoTimers = -EOPNOTSUPP;

uint64_t timer_init(Invocation& run, uint64_t timer, uint64_t map, uint64_t flags, uint64_t,
                    uint64_t) {
  if (run.environment.timers == nullptr) return result(kNoTimers);
  Map& owner = map_at(map);
  uint8_t* value = memory_at(timer) - owner.spec().fields.timer_offset();
  return result(run.environment.timers->init(memory_at(timer), owner, value, flags));
}

uint64_t timer_set_callback(Invocation& run, uint64_t timer, uint64_t function, uint64_t, uint64_t,
                            uint64_t) {
  Timers* timers = run.environment.timers;
  if (timers == nullptr) return result(kNoTimers);
  return result(
      timers->set_callback(bytes_at(timer), run.callbacks->program().shared_from_this(), function));
}

uint64_t timer_start(Invocation& run, uint64_t timer, uint64_t nanoseconds, uint64_t flags,
                     uint64_t, uint64_t) {
  Timers* timers = run.environment.timers;
  if (timers == nullptr) return result(kNoTimers);
  return result(timers->start(bytes_at(timer), nanoseconds, flags, run.environment));
}

uint64_t timer_cancel(Invocation& run, uint64_t timer, uint64_t, uint64_t, uint64_t, uint64_t) {
  Timers* timers = run.environment.timers;
  return result(timers == nullptr ? kNoTimers : timers->cancel(bytes_at(timer)));
}

// bpf_kptr_xchg(place of a pointer, object or NULL): what was there.
uint64_t kptr_xchg(Invocation&, uint64_t at, uint64_t object, uint64_t, uint64_t, uint64_t) {
  return std::atomic_ref(*std::bit_cast<uint64_t*>(at)).exchange(object, std::memory_order_acq_rel);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(spin_lock, kAnyType, R::none, {A::spin_lock}, spin_lock),
    XNIC_HELPER(spin_unlock, kAnyType, R::none, {A::spin_lock}, spin_unlock),
    XNIC_HELPER(timer_init, kAnyType, R::integer, {A::timer, A::map, A::any}, timer_init, kGplOnly),
    XNIC_HELPER(timer_set_callback, kAnyType, R::integer, {A::timer, A::function},
                timer_set_callback, kGplOnly),
    XNIC_HELPER(timer_start, kAnyType, R::integer, {A::timer, A::any, A::any}, timer_start,
                kGplOnly),
    XNIC_HELPER(kptr_xchg, kAnyType, R::kptr_or_null, {A::kptr, A::stored_object}, kptr_xchg),
    XNIC_HELPER(timer_cancel, kAnyType, R::integer, {A::timer}, timer_cancel, kGplOnly),
};

}  // namespace

std::span<const Helper> value_field_helpers() { return kRows; }

}  // namespace xnic::vm

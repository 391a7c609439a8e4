// Calls of kernel functions, which are followed as helpers are, by their rows; and the regions that
// some of them begin and end. Those that nothing here performs are in foreign_kfuncs.cpp, which
// also has what Linux forbids in a region. Test: tests/vm/kfunc_test.cpp, against Linux.
#include "vm/verifier/kfunc_calls.h"

#include <cerrno>

#include "vm/kfunc.h"
#include "vm/verifier/foreign_kfuncs.h"
#include "vm/verifier/helper_calls.h"
#include "vm/verifier/local_objects.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {
namespace {

Verdict apply_region(State& now, const Kfunc& kfunc) {
  switch (kfunc.region) {
    case Region::none:
      return {};
    case Region::begins_rcu:
      if (now.in_rcu) {
        return refuse(EINVAL, "nested rcu read lock (kernel function {})", kfunc.row.name);
      }
      now.in_rcu = true;
      return {};
    case Region::ends_rcu:
      if (!now.in_rcu) {
        return refuse(EINVAL, "unmatched rcu read unlock (kernel function {})", kfunc.row.name);
      }
      now.in_rcu = false;
      end_rcu_section(now);
      return {};
    case Region::begins_no_preemption:
      ++now.no_preemption;
      return {};
    case Region::ends_no_preemption:
      if (now.no_preemption == 0) {
        return refuse(EINVAL, "unmatched attempt to enable preemption (kernel function {})",
                      kfunc.row.name);
      }
      --now.no_preemption;
      return {};
  }
  return {};
}

}  // namespace

Verdict apply_kfunc_call(Environment& env, const bpf_insn& insn) {
  if (is_foreign(insn)) {
    return apply_foreign_kfunc(env, static_cast<uint32_t>(insn.imm & ~kForeignKfunc));
  }
  const Kfunc* kfunc = find_kfunc(insn.imm, env.type.helper_set);
  if (kfunc == nullptr) {
    const Kfunc* other = find_kfunc(insn.imm);
    return refuse(EACCES, "calling kernel function {} is not allowed",
                  other == nullptr ? std::string_view("?") : other->row.name);
  }
  const Argument takes = kfunc->row.arguments[0];
  const bool goes_with_locks = takes == Argument::new_iterator || takes == Argument::iterator ||
                               takes == Argument::ended_iterator || takes == Argument::list_head ||
                               takes == Argument::rb_root || takes == Argument::counted_object;
  if (env.now->lock_id != 0 && !goes_with_locks) {
    return refuse(EINVAL, "function calls are not allowed while holding a lock");
  }
  const Register& first = env.reg(1);
  if (kfunc->row.arguments[0] == Argument::context && first.type != Type::context &&
      first.type != Type::uninitialised) {
    return refuse(EINVAL, "arg#0 expected pointer to ctx, but got {}", type_name(first));
  }
  for (uint32_t i = 0; i < kfunc->row.arguments.size(); ++i) {
    if (kfunc->row.arguments[i] != Argument::any) continue;
    if (Verdict v = require_initialised(env, i + 1)) return v;
    if (!env.reg(i + 1).is_scalar()) return refuse(EINVAL, "R{} is not a scalar", i + 1);
  }
  if (Verdict v = apply_region(*env.now, *kfunc)) return v;
  return apply_row(env, insn, kfunc->row);
}

}  // namespace xnic::vm::verifier

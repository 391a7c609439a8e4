// Helpers that ask the machine that runs the program: its clock, its CPU, chance, its trace.
#include <array>
#include <cerrno>
#include <cstring>

#include "vm/helpers/rows.h"
#include "vm/trace_format.h"

namespace xnic::vm {
namespace {

uint64_t ktime_get_ns(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.environment.now_ns;
}

uint64_t get_prandom_u32(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.environment.prng.next();
}

uint64_t get_smp_processor_id(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.environment.cpu;
}

uint64_t trace_printk(Invocation& run, uint64_t format, uint64_t size, uint64_t a, uint64_t b,
                      uint64_t c) {
  const auto* text = std::bit_cast<const char*>(format);
  const auto* end = static_cast<const char*>(std::memchr(text, 0, size));
  if (end == nullptr) return result(-EINVAL);
  std::string line;
  const std::array arguments{a, b, c};
  const int length = format_trace(line, {text, end}, arguments);
  if (length >= 0 && run.environment.trace) {
    if (line.ends_with('\n')) line.pop_back();
    run.environment.trace(line);
  }
  return result(length);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(ktime_get_ns, kAnyType, R::integer, {}, ktime_get_ns),
    XNIC_HELPER(ktime_get_coarse_ns, kAnyType, R::integer, {}, ktime_get_ns),
    XNIC_HELPER(get_prandom_u32, kAnyType, R::integer, {}, get_prandom_u32),
    XNIC_HELPER(get_smp_processor_id, kAnyType, R::integer, {}, get_smp_processor_id),
    XNIC_HELPER(trace_printk, kAnyType, R::integer,
                {A::memory_read, A::size, A::any, A::any, A::any}, trace_printk, kGplOnly),
};

}  // namespace

std::span<const Helper> machine_helpers() { return kRows; }

}  // namespace xnic::vm

// The helpers: one function and one row each. Test: tests/vm/helper_test.cpp and the kernel
// comparison.
#include <linux/pkt_cls.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "vm/helper.h"
#include "vm/helpers/callbacks.h"
#include "vm/map.h"

namespace xnic::vm {
namespace {

Map& map_at(uint64_t address) { return *std::bit_cast<Map*>(address); }
const uint8_t* bytes_at(uint64_t address) { return std::bit_cast<const uint8_t*>(address); }
uint64_t result(int64_t value) { return static_cast<uint64_t>(value); }

uint64_t map_lookup_elem(Invocation& run, uint64_t map, uint64_t key, uint64_t, uint64_t,
                         uint64_t) {
  return std::bit_cast<uint64_t>(map_at(map).lookup(bytes_at(key), run.environment.cpu));
}

uint64_t map_update_elem(Invocation& run, uint64_t map, uint64_t key, uint64_t value,
                         uint64_t flags, uint64_t) {
  return result(map_at(map).update(bytes_at(key), bytes_at(value), flags, run.environment.cpu));
}

uint64_t map_delete_elem(Invocation&, uint64_t map, uint64_t key, uint64_t, uint64_t, uint64_t) {
  return result(map_at(map).erase(bytes_at(key)));
}

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

uint64_t xdp_adjust_head(Invocation& run, uint64_t, uint64_t delta, uint64_t, uint64_t, uint64_t) {
  return result(run.packet.adjust_head(static_cast<int32_t>(delta)));
}

uint64_t xdp_adjust_meta(Invocation& run, uint64_t, uint64_t delta, uint64_t, uint64_t, uint64_t) {
  return result(run.packet.adjust_meta(static_cast<int32_t>(delta)));
}

uint64_t xdp_adjust_tail(Invocation& run, uint64_t, uint64_t delta, uint64_t, uint64_t, uint64_t) {
  return result(run.packet.adjust_tail(static_cast<int32_t>(delta)));
}

uint64_t xdp_redirect(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                      uint64_t) {
  if (flags != 0) return XDP_ABORTED;
  run.redirect = {static_cast<uint32_t>(ifindex), 0, true};
  return XDP_REDIRECT;
}

uint64_t tc_redirect(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                     uint64_t) {
  if ((flags & ~static_cast<uint64_t>(BPF_F_INGRESS)) != 0) return TC_ACT_SHOT;
  run.redirect = {static_cast<uint32_t>(ifindex), flags, true};
  return TC_ACT_REDIRECT;
}

using A = Argument;
using R = Returns;
constexpr std::array kHelpers = {
    Helper{BPF_FUNC_map_lookup_elem,
           "bpf_map_lookup_elem",
           false,
           kAnyType,
           R::map_value_or_null,
           {A::map, A::map_key},
           map_lookup_elem},
    Helper{BPF_FUNC_map_update_elem,
           "bpf_map_update_elem",
           false,
           kAnyType,
           R::integer,
           {A::map, A::map_key, A::map_value, A::any},
           map_update_elem},
    Helper{BPF_FUNC_map_delete_elem,
           "bpf_map_delete_elem",
           false,
           kAnyType,
           R::integer,
           {A::map, A::map_key},
           map_delete_elem},
    Helper{
        BPF_FUNC_ktime_get_ns, "bpf_ktime_get_ns", false, kAnyType, R::integer, {}, ktime_get_ns},
    Helper{BPF_FUNC_trace_printk,
           "bpf_trace_printk",
           true,
           kAnyType,
           R::integer,
           {A::memory_read, A::size, A::any, A::any, A::any},
           trace_printk},
    Helper{BPF_FUNC_get_prandom_u32,
           "bpf_get_prandom_u32",
           false,
           kAnyType,
           R::integer,
           {},
           get_prandom_u32},
    Helper{BPF_FUNC_get_smp_processor_id,
           "bpf_get_smp_processor_id",
           false,
           kAnyType,
           R::integer,
           {},
           get_smp_processor_id},
    Helper{BPF_FUNC_tail_call,
           "bpf_tail_call",
           false,
           kAnyType,
           R::none,
           {A::context, A::map, A::any},
           nullptr},
    Helper{
        BPF_FUNC_redirect, "bpf_redirect", false, kXdp, R::integer, {A::any, A::any}, xdp_redirect},
    Helper{
        BPF_FUNC_redirect, "bpf_redirect", false, kTc, R::integer, {A::any, A::any}, tc_redirect},
    Helper{BPF_FUNC_xdp_adjust_head,
           "bpf_xdp_adjust_head",
           false,
           kXdp,
           R::integer,
           {A::context, A::any},
           xdp_adjust_head},
    Helper{BPF_FUNC_xdp_adjust_meta,
           "bpf_xdp_adjust_meta",
           false,
           kXdp,
           R::integer,
           {A::context, A::any},
           xdp_adjust_meta},
    Helper{BPF_FUNC_xdp_adjust_tail,
           "bpf_xdp_adjust_tail",
           false,
           kXdp,
           R::integer,
           {A::context, A::any},
           xdp_adjust_tail},
    Helper{BPF_FUNC_for_each_map_elem,
           "bpf_for_each_map_elem",
           false,
           kAnyType,
           R::integer,
           {A::map, A::function, A::any, A::any},
           for_each_map_elem},
    Helper{BPF_FUNC_loop,
           "bpf_loop",
           false,
           kAnyType,
           R::integer,
           {A::any, A::function, A::any, A::any},
           loop},
};

}  // namespace

std::span<const Helper> helpers() { return kHelpers; }

const Helper* find_helper(uint32_t id, uint32_t program_types) {
  for (const Helper& row : kHelpers) {
    if (row.id == id && (row.program_types & program_types) != 0) return &row;
  }
  return nullptr;
}

}  // namespace xnic::vm

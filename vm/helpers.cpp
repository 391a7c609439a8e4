// The helpers: one function and one row each. Test: tests/vm/helper_test.cpp and the kernel
// comparison.
#include <linux/pkt_cls.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "vm/helper.h"
#include "vm/helpers/callbacks.h"
#include "vm/helpers/events.h"
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

uint64_t map_push_elem(Invocation&, uint64_t map, uint64_t value, uint64_t flags, uint64_t,
                       uint64_t) {
  return result(map_at(map).push(bytes_at(value), flags));
}

uint64_t map_pop_elem(Invocation&, uint64_t map, uint64_t value, uint64_t, uint64_t, uint64_t) {
  return result(map_at(map).pop(std::bit_cast<uint8_t*>(value)));
}

uint64_t map_peek_elem(Invocation&, uint64_t map, uint64_t value, uint64_t, uint64_t, uint64_t) {
  return result(map_at(map).peek(std::bit_cast<uint8_t*>(value)));
}

uint64_t map_lookup_percpu_elem(Invocation&, uint64_t map, uint64_t key, uint64_t cpu, uint64_t,
                                uint64_t) {
  return std::bit_cast<uint64_t>(map_at(map).lookup(bytes_at(key), static_cast<uint32_t>(cpu)));
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
    Helper{BPF_FUNC_map_push_elem,
           "bpf_map_push_elem",
           false,
           kAnyType,
           R::integer,
           {A::map, A::map_value, A::any},
           map_push_elem},
    Helper{BPF_FUNC_map_pop_elem,
           "bpf_map_pop_elem",
           false,
           kAnyType,
           R::integer,
           {A::map, A::map_value_out},
           map_pop_elem},
    Helper{BPF_FUNC_map_peek_elem,
           "bpf_map_peek_elem",
           false,
           kAnyType,
           R::integer,
           {A::map, A::map_value_out},
           map_peek_elem},
    Helper{BPF_FUNC_map_lookup_percpu_elem,
           "bpf_map_lookup_percpu_elem",
           false,
           kAnyType,
           R::map_value_or_null,
           {A::map, A::map_key, A::any},
           map_lookup_percpu_elem},
    Helper{
        BPF_FUNC_ktime_get_ns, "bpf_ktime_get_ns", false, kAnyType, R::integer, {}, ktime_get_ns},
    // libbpf asks for this one to learn whether the kernel accounts memory by cgroup.
    Helper{BPF_FUNC_ktime_get_coarse_ns,
           "bpf_ktime_get_coarse_ns",
           false,
           kAnyType,
           R::integer,
           {},
           ktime_get_ns},
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
    Helper{BPF_FUNC_perf_event_output,
           "bpf_perf_event_output",
           true,
           kXdp | kTc | kSocketFilter,
           R::integer,
           {A::context, A::map, A::any, A::memory_read, A::size_or_zero},
           packet_event_output},
    Helper{BPF_FUNC_ringbuf_output,
           "bpf_ringbuf_output",
           false,
           kAnyType,
           R::integer,
           {A::map, A::memory_read, A::size_or_zero, A::any},
           ringbuf_output},
    Helper{BPF_FUNC_ringbuf_reserve,
           "bpf_ringbuf_reserve",
           false,
           kAnyType,
           R::record_or_null,
           {A::map, A::any, A::any},
           ringbuf_reserve},
    Helper{BPF_FUNC_ringbuf_submit,
           "bpf_ringbuf_submit",
           false,
           kAnyType,
           R::none,
           {A::record, A::any},
           ringbuf_submit},
    Helper{BPF_FUNC_ringbuf_discard,
           "bpf_ringbuf_discard",
           false,
           kAnyType,
           R::none,
           {A::record, A::any},
           ringbuf_discard},
    Helper{BPF_FUNC_ringbuf_query,
           "bpf_ringbuf_query",
           false,
           kAnyType,
           R::integer,
           {A::map, A::any},
           ringbuf_query},
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

// Helpers that go only with some map types, and map types that go only with some helpers: both
// ways, as check_map_func_compatibility() in kernel/bpf/verifier.c has them.
struct MapUse {
  uint32_t helper;
  bpf_map_type type;
};
constexpr std::array kMapUses = {
    MapUse{BPF_FUNC_map_push_elem, BPF_MAP_TYPE_QUEUE},
    MapUse{BPF_FUNC_map_push_elem, BPF_MAP_TYPE_STACK},
    MapUse{BPF_FUNC_map_push_elem, BPF_MAP_TYPE_BLOOM_FILTER},
    MapUse{BPF_FUNC_map_pop_elem, BPF_MAP_TYPE_QUEUE},
    MapUse{BPF_FUNC_map_pop_elem, BPF_MAP_TYPE_STACK},
    MapUse{BPF_FUNC_map_peek_elem, BPF_MAP_TYPE_QUEUE},
    MapUse{BPF_FUNC_map_peek_elem, BPF_MAP_TYPE_STACK},
    MapUse{BPF_FUNC_map_peek_elem, BPF_MAP_TYPE_BLOOM_FILTER},
    MapUse{BPF_FUNC_map_lookup_percpu_elem, BPF_MAP_TYPE_PERCPU_ARRAY},
    MapUse{BPF_FUNC_map_lookup_percpu_elem, BPF_MAP_TYPE_PERCPU_HASH},
    MapUse{BPF_FUNC_map_lookup_percpu_elem, BPF_MAP_TYPE_LRU_PERCPU_HASH},
    MapUse{BPF_FUNC_redirect_map, BPF_MAP_TYPE_DEVMAP},
    MapUse{BPF_FUNC_redirect_map, BPF_MAP_TYPE_DEVMAP_HASH},
    MapUse{BPF_FUNC_redirect_map, BPF_MAP_TYPE_CPUMAP},
    MapUse{BPF_FUNC_redirect_map, BPF_MAP_TYPE_XSKMAP},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_DEVMAP},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_DEVMAP_HASH},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_XSKMAP},
    MapUse{BPF_FUNC_tail_call, BPF_MAP_TYPE_PROG_ARRAY},
    MapUse{BPF_FUNC_perf_event_output, BPF_MAP_TYPE_PERF_EVENT_ARRAY},
    MapUse{BPF_FUNC_ringbuf_output, BPF_MAP_TYPE_RINGBUF},
    MapUse{BPF_FUNC_ringbuf_reserve, BPF_MAP_TYPE_RINGBUF},
    MapUse{BPF_FUNC_ringbuf_query, BPF_MAP_TYPE_RINGBUF},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_ARRAY_OF_MAPS},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_HASH_OF_MAPS},
};

// Helpers for maps of every kind that no row forbids.
constexpr bool is_general(uint32_t helper) {
  return helper == BPF_FUNC_map_lookup_elem || helper == BPF_FUNC_map_update_elem ||
         helper == BPF_FUNC_map_delete_elem;
}

// Types whose values only the helpers of their rows reach.
constexpr std::array kSpecialTypes = {
    BPF_MAP_TYPE_QUEUE,         BPF_MAP_TYPE_STACK,
    BPF_MAP_TYPE_BLOOM_FILTER,  BPF_MAP_TYPE_DEVMAP,
    BPF_MAP_TYPE_DEVMAP_HASH,   BPF_MAP_TYPE_CPUMAP,
    BPF_MAP_TYPE_XSKMAP,        BPF_MAP_TYPE_PROG_ARRAY,
    BPF_MAP_TYPE_RINGBUF,       BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS,
};

}  // namespace

bool helper_takes_map(uint32_t id, bpf_map_type type) {
  bool has_rows = false;
  for (const MapUse& use : kMapUses) {
    if (use.helper != id) continue;
    if (use.type == type) return true;
    has_rows = true;
  }
  for (const bpf_map_type special : kSpecialTypes)
    if (special == type) return false;
  return is_general(id) || !has_rows;
}

bool helper_writes_map(uint32_t id) {
  return id == BPF_FUNC_map_update_elem || id == BPF_FUNC_map_delete_elem ||
         id == BPF_FUNC_map_push_elem || id == BPF_FUNC_map_pop_elem;
}

std::span<const Helper> helpers() { return kHelpers; }

const Helper* find_helper(uint32_t id, uint32_t program_types) {
  for (const Helper& row : kHelpers) {
    if (row.id == id && (row.program_types & program_types) != 0) return &row;
  }
  return nullptr;
}

}  // namespace xnic::vm

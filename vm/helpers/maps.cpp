// Helpers that look up and change the entries of maps.
#include "vm/helpers/rows.h"
#include "vm/map.h"

namespace xnic::vm {
namespace {

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
  return result(map_at(map).pop(memory_at(value)));
}

uint64_t map_peek_elem(Invocation&, uint64_t map, uint64_t value, uint64_t, uint64_t, uint64_t) {
  return result(map_at(map).peek(memory_at(value)));
}

uint64_t map_lookup_percpu_elem(Invocation&, uint64_t map, uint64_t key, uint64_t cpu, uint64_t,
                                uint64_t) {
  return std::bit_cast<uint64_t>(map_at(map).lookup(bytes_at(key), static_cast<uint32_t>(cpu)));
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(map_lookup_elem, kAnyType, R::map_value_or_null, {A::map, A::map_key},
                map_lookup_elem),
    XNIC_HELPER(map_update_elem, kAnyType, R::integer, {A::map, A::map_key, A::map_value, A::any},
                map_update_elem),
    XNIC_HELPER(map_delete_elem, kAnyType, R::integer, {A::map, A::map_key}, map_delete_elem),
    XNIC_HELPER(map_push_elem, kAnyType, R::integer, {A::map, A::map_value, A::any}, map_push_elem),
    XNIC_HELPER(map_pop_elem, kAnyType, R::integer, {A::map, A::map_value_out}, map_pop_elem),
    XNIC_HELPER(map_peek_elem, kAnyType, R::integer, {A::map, A::map_value_out}, map_peek_elem),
    XNIC_HELPER(map_lookup_percpu_elem, kAnyType, R::map_value_or_null,
                {A::map, A::map_key, A::any}, map_lookup_percpu_elem),
};

}  // namespace

std::span<const Helper> map_helpers() { return kRows; }

}  // namespace xnic::vm

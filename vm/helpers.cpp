// The table of helpers, put together from the rows that each file of vm/helpers keeps, and what
// holds for all: which helper goes with which map.
// Test: tests/vm/helper_test.cpp and the kernel comparison.
#include <array>
#include <vector>

#include "vm/helpers/rows.h"
#include "vm/maps/unfilled.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

// Engines perform a tail call themselves.
constexpr std::array kEngineHelpers = {
    XNIC_HELPER(tail_call, kAnyType, Returns::none,
                {Argument::context, Argument::map, Argument::any}, nullptr, kAnyLicense,
                kChangesPacket),
};

// In the order of the files.
std::vector<Helper> all_rows() {
  std::vector<Helper> rows;
  for (const std::span<const Helper> group : {std::span<const Helper>(kEngineHelpers),
                                              callback_helpers(),
                                              dynptr_helpers(),
                                              event_helpers(),
                                              machine_helpers(),
                                              map_helpers(),
                                              network_helpers(),
                                              redirect_helpers(),
                                              skb_byte_helpers(),
                                              skb_checksum_helpers(),
                                              skb_field_helpers(),
                                              skb_room_helpers(),
                                              skb_size_helpers(),
                                              socket_helpers(),
                                              syncookie_helpers(),
                                              text_helpers(),
                                              tunnel_helpers(),
                                              unrun_helpers(),
                                              value_field_helpers(),
                                              xdp_byte_helpers(),
                                              xdp_helpers()}) {
    rows.insert(rows.end(), group.begin(), group.end());
  }
  return rows;
}

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
    MapUse{BPF_FUNC_ringbuf_reserve_dynptr, BPF_MAP_TYPE_RINGBUF},
    MapUse{BPF_FUNC_ringbuf_query, BPF_MAP_TYPE_RINGBUF},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_ARRAY_OF_MAPS},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_HASH_OF_MAPS},
    MapUse{BPF_FUNC_perf_event_read, BPF_MAP_TYPE_PERF_EVENT_ARRAY},
    MapUse{BPF_FUNC_perf_event_read_value, BPF_MAP_TYPE_PERF_EVENT_ARRAY},
    MapUse{BPF_FUNC_get_stackid, BPF_MAP_TYPE_STACK_TRACE},
    MapUse{BPF_FUNC_skb_under_cgroup, BPF_MAP_TYPE_CGROUP_ARRAY},
    MapUse{BPF_FUNC_current_task_under_cgroup, BPF_MAP_TYPE_CGROUP_ARRAY},
    MapUse{BPF_FUNC_get_local_storage, BPF_MAP_TYPE_CGROUP_STORAGE},
    MapUse{BPF_FUNC_get_local_storage, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE},
    MapUse{BPF_FUNC_sk_storage_get, BPF_MAP_TYPE_SK_STORAGE},
    MapUse{BPF_FUNC_sk_storage_delete, BPF_MAP_TYPE_SK_STORAGE},
    MapUse{BPF_FUNC_task_storage_get, BPF_MAP_TYPE_TASK_STORAGE},
    MapUse{BPF_FUNC_task_storage_delete, BPF_MAP_TYPE_TASK_STORAGE},
    MapUse{BPF_FUNC_skb_output, BPF_MAP_TYPE_PERF_EVENT_ARRAY},
    MapUse{uapi::kCgrpStorageGet, kCgrpStorage},
    MapUse{uapi::kCgrpStorageDelete, kCgrpStorage},
    MapUse{BPF_FUNC_sk_select_reuseport, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY},
    MapUse{BPF_FUNC_sk_select_reuseport, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_sk_select_reuseport, BPF_MAP_TYPE_SOCKHASH},
    MapUse{BPF_FUNC_sk_redirect_map, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_msg_redirect_map, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_sock_map_update, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_sk_redirect_hash, BPF_MAP_TYPE_SOCKHASH},
    MapUse{BPF_FUNC_msg_redirect_hash, BPF_MAP_TYPE_SOCKHASH},
    MapUse{BPF_FUNC_sock_hash_update, BPF_MAP_TYPE_SOCKHASH},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_SOCKHASH},
    MapUse{BPF_FUNC_map_update_elem, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_map_update_elem, BPF_MAP_TYPE_SOCKHASH},
    MapUse{BPF_FUNC_map_delete_elem, BPF_MAP_TYPE_SOCKMAP},
    MapUse{BPF_FUNC_map_delete_elem, BPF_MAP_TYPE_SOCKHASH},
};

// Helpers for maps of every kind that no row forbids.
constexpr bool is_general(uint32_t helper) {
  return helper == BPF_FUNC_map_lookup_elem || helper == BPF_FUNC_map_update_elem ||
         helper == BPF_FUNC_map_delete_elem;
}

// Types whose values only the helpers of their rows reach.
constexpr std::array kSpecialTypes = {
    BPF_MAP_TYPE_QUEUE,
    BPF_MAP_TYPE_STACK,
    BPF_MAP_TYPE_BLOOM_FILTER,
    BPF_MAP_TYPE_DEVMAP,
    BPF_MAP_TYPE_DEVMAP_HASH,
    BPF_MAP_TYPE_CPUMAP,
    BPF_MAP_TYPE_XSKMAP,
    BPF_MAP_TYPE_PROG_ARRAY,
    BPF_MAP_TYPE_RINGBUF,
    BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    BPF_MAP_TYPE_ARRAY_OF_MAPS,
    BPF_MAP_TYPE_HASH_OF_MAPS,
    BPF_MAP_TYPE_STACK_TRACE,
    BPF_MAP_TYPE_CGROUP_ARRAY,
    BPF_MAP_TYPE_CGROUP_STORAGE,
    BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
    BPF_MAP_TYPE_SK_STORAGE,
    BPF_MAP_TYPE_INODE_STORAGE,
    BPF_MAP_TYPE_TASK_STORAGE,
    kCgrpStorage,
    BPF_MAP_TYPE_REUSEPORT_SOCKARRAY,
    BPF_MAP_TYPE_SOCKMAP,
    BPF_MAP_TYPE_SOCKHASH,
    BPF_MAP_TYPE_USER_RINGBUF,
    BPF_MAP_TYPE_STRUCT_OPS,
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

std::span<const Helper> helpers() {
  static const std::vector<Helper> kRows = all_rows();
  return kRows;
}

const Helper* find_helper(uint32_t id, uint32_t program_types) {
  for (const Helper& row : helpers()) {
    if (row.id == id && (row.program_types & program_types) != 0) return &row;
  }
  return nullptr;
}

}  // namespace xnic::vm

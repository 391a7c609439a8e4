#include "vm/maps/unfilled.h"

#include "vm/maps/array.h"
#include "vm/maps/checks.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kSocketFlags = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;
constexpr uint32_t kMostFrames = 127;    // sysctl kernel.perf_event_max_stack
constexpr uint32_t kBuildIdBytes = 32;   // struct bpf_stack_build_id
constexpr uint32_t kMostKeyBytes = 512;  // of a sockhash, as much as the stack

class Unfilled : public Map {
 public:
  using Map::Map;

  uint8_t* lookup(const uint8_t*, uint32_t) override { return nullptr; }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EOPNOTSUPP; }
  int erase(const uint8_t*) override { return -ENOENT; }
  int user_lookup(const uint8_t*, uint8_t*, uint64_t) override { return -ENOENT; }
  int user_update(const uint8_t*, const uint8_t*, uint64_t) override { return -EOPNOTSUPP; }
  // Of an array the numbers of places are its keys, whatever they hold.
  int next_key(const uint8_t* key, uint8_t* next) override {
    const bool is_array = spec_.type == BPF_MAP_TYPE_CGROUP_ARRAY ||
                          spec_.type == BPF_MAP_TYPE_SOCKMAP ||
                          spec_.type == BPF_MAP_TYPE_REUSEPORT_SOCKARRAY;
    if (!is_array) return -ENOENT;
    return next_index(spec_.max_entries, key, next);
  }
};

}  // namespace

int check_stack_trace(const MapSpec& spec) {
  const bool of_build_ids = (spec.flags & BPF_F_STACK_BUILD_ID) != 0;
  const uint32_t frame = of_build_ids ? kBuildIdBytes : 8;
  const bool is_sound = flags_valid(spec, kSocketFlags | BPF_F_STACK_BUILD_ID) &&
                        spec.max_entries != 0 && spec.key_size == 4 && spec.value_size >= 8 &&
                        spec.value_size % frame == 0 && spec.value_size / frame <= kMostFrames;
  return is_sound ? 0 : -EINVAL;
}

int check_cgroup_array(const MapSpec& spec) {
  const bool is_sound = flags_valid(spec, kSocketFlags) && spec.max_entries != 0 &&
                        spec.key_size == 4 && spec.value_size == 4;
  return is_sound ? 0 : -EINVAL;
}

int check_cgroup_storage(const MapSpec& spec) {
  constexpr uint32_t kCgroupAlone = 8;  // bytes of the key; otherwise the attach type follows
  constexpr uint32_t kMostBytes = 4096;
  const bool keyed =
      spec.key_size == kCgroupAlone || spec.key_size == sizeof(bpf_cgroup_storage_key);
  if (!keyed || spec.value_size == 0) return -EINVAL;
  if (spec.value_size > kMostBytes) return -E2BIG;
  const bool is_sound = flags_valid(spec, BPF_F_NUMA_NODE | kAccessFlags) && spec.max_entries == 0;
  return is_sound ? 0 : -EINVAL;
}

int check_sockmap(const MapSpec& spec) {
  const bool is_sound = flags_valid(spec, kSocketFlags) && spec.max_entries != 0 &&
                        spec.key_size == 4 && (spec.value_size == 4 || spec.value_size == 8);
  return is_sound ? 0 : -EINVAL;
}

int check_sockhash(const MapSpec& spec) {
  const bool is_sound = flags_valid(spec, kSocketFlags) && spec.max_entries != 0 &&
                        spec.key_size != 0 && (spec.value_size == 4 || spec.value_size == 8);
  if (!is_sound) return -EINVAL;
  return spec.key_size > kMostKeyBytes ? -E2BIG : 0;
}

int check_struct_ops(const MapSpec& spec) {
  const bool is_sound = spec.key_size == 4 && spec.max_entries == 1 && spec.value_size != 0;
  return is_sound ? 0 : -EINVAL;
}

int check_local_storage(const MapSpec& spec) {
  constexpr uint32_t kFlags = BPF_F_NO_PREALLOC | BPF_F_CLONE;
  const bool is_sound = flags_valid(spec, kFlags) && (spec.flags & BPF_F_NO_PREALLOC) != 0 &&
                        spec.max_entries == 0 && spec.key_size == 4 && spec.value_size != 0 &&
                        spec.btf_key_type_id != 0 && spec.btf_value_type_id != 0;
  return is_sound ? 0 : -EINVAL;
}

bool is_unfilled(bpf_map_type type) { return find_map_type(type)->create == create_unfilled; }

tl::expected<std::shared_ptr<Map>, int> create_unfilled(const MapSpec& spec,
                                                        const MapContext& context) {
  return std::make_shared<Unfilled>(spec, context.possible_cpus);
}

}  // namespace xnic::vm

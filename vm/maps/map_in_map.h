#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_ARRAY_OF_MAPS and _HASH_OF_MAPS: maps that are all alike, by index or by key. User
// space writes descriptors and reads ids. All inner maps have the type, sizes and flags of the one
// that MapSpec::inner_map_fd names, arrays without BPF_F_INNER_MAP its max_entries too. See MapType
// for what check and create answer; create answers for inner_map_fd: -EBADF if it is closed,
// -EINVAL if it is no map or holds maps itself, -ENOTSUPP (524) for types that cannot be inside.
int check_array_of_maps(const MapSpec& spec);
int check_hash_of_maps(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_array_of_maps(const MapSpec& spec,
                                                             const MapContext& context);
tl::expected<std::shared_ptr<Map>, int> create_hash_of_maps(const MapSpec& spec,
                                                            const MapContext& context);

inline bool holds_maps(const MapSpec& spec) {
  return spec.type == BPF_MAP_TYPE_ARRAY_OF_MAPS || spec.type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

}  // namespace xnic::vm

#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_BLOOM_FILTER: says of a value that it was never pushed (-ENOENT), or that it may
// have been (0). The 4 low bits of map_extra are the number of hash functions, 0 means 5. See
// MapType for what check and create answer.
int check_bloom_filter(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_bloom_filter(const MapSpec& spec,
                                                            const MapContext& context);

}  // namespace xnic::vm

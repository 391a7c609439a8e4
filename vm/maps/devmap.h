#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_DEVMAP and BPF_MAP_TYPE_DEVMAP_HASH: network interfaces by u32, for redirects. A
// value is struct bpf_devmap_val: the interface's index and, in the larger of the two value sizes,
// an XDP program that runs on what goes there: user space writes its descriptor and reads its id.
// See MapType for what check and create answer.
int check_devmap(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_devmap(const MapSpec& spec,
                                                      const MapContext& context);
tl::expected<std::shared_ptr<Map>, int> create_devmap_hash(const MapSpec& spec,
                                                           const MapContext& context);

}  // namespace xnic::vm

#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_XSKMAP: AF_XDP sockets by u32 index. User space writes descriptors and cannot read;
// a program's lookup gives the socket's queue number. See MapType for what check and create answer.
int check_xskmap(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_xskmap(const MapSpec& spec,
                                                      const MapContext& context);

}  // namespace xnic::vm

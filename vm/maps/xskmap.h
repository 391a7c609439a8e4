#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_XSKMAP: AF_XDP sockets by u32 index. User space writes descriptors and cannot read;
// a program's lookup gives the socket's queue number. See MapType for what check and create answer.
// bind_socket puts a socket of the emulated machine's own into a place: no descriptor of this
// process stands for it. False for another type of map and for a key that it does not have.
bool bind_socket(Map& map, uint32_t key, uint64_t socket);
int check_xskmap(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_xskmap(const MapSpec& spec,
                                                      const MapContext& context);

}  // namespace xnic::vm

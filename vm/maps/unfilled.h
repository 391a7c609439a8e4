#pragma once

#include <bit>

#include "vm/map.h"

namespace xnic::vm {

// Map types of sockets, cgroups, tasks and stack traces: programs that use them can be verified,
// and nothing here fills them: no machine of ours has such objects. User space finds no element and
// cannot write any (-EOPNOTSUPP). See MapType for what check and create answer.
// Test: tests/vm/unfilled_maps_test.cpp.
int check_stack_trace(const MapSpec& spec);
int check_cgroup_array(const MapSpec& spec);
int check_cgroup_storage(const MapSpec& spec);  // per CPU, too
int check_sockmap(const MapSpec& spec);         // and reuseport_sockarray
int check_sockhash(const MapSpec& spec);
int check_struct_ops(const MapSpec& spec);
int check_local_storage(const MapSpec& spec);  // of sockets, inodes, tasks, cgroups
tl::expected<std::shared_ptr<Map>, int> create_unfilled(const MapSpec& spec,
                                                        const MapContext& context);

bool is_unfilled(bpf_map_type type);

// Younger than linux/bpf.h of Debian 12.
inline constexpr auto kCgrpStorage = std::bit_cast<bpf_map_type>(uint32_t{32});

}  // namespace xnic::vm

#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_CPUMAP: CPUs to redirect to, by their number. A value is struct bpf_cpumap_val: the
// length of the CPU's queue, 1 to 16384 packets (0 deletes the entry), and, in the larger of the
// two value sizes, an XDP program that runs there: user space writes its descriptor and reads its
// id. See MapType for what check and create answer.
int check_cpumap(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_cpumap(const MapSpec& spec,
                                                      const MapContext& context);

}  // namespace xnic::vm

#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_LPM_TRIE: values by prefix. A key is struct bpf_lpm_trie_key: a u32 prefix length
// in host order, then the address, most significant bit first; a lookup finds the longest prefix
// not longer than the key's. See MapType for what check and create answer.
int check_lpm_trie(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_lpm_trie(const MapSpec& spec,
                                                        const MapContext& context);

}  // namespace xnic::vm

// Files of --map, for maps without BTF: the first byte says of which type. What was put in can be
// printed.
#include <cstdlib>
#include <memory>
#include <string_view>

#include "sim/map_file.h"
#include "vm/map.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace xnic;
  constexpr bpf_map_type kTypes[] = {BPF_MAP_TYPE_ARRAY,       BPF_MAP_TYPE_HASH,
                                     BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
                                     BPF_MAP_TYPE_LPM_TRIE,    BPF_MAP_TYPE_QUEUE};
  if (size == 0) return 0;
  vm::MapSpec spec;
  spec.type = kTypes[bytes[0] % std::size(kTypes)];
  spec.key_size = spec.type == BPF_MAP_TYPE_LPM_TRIE ? 8 : spec.type == BPF_MAP_TYPE_QUEUE ? 0 : 4;
  spec.value_size = 8;
  spec.max_entries = 4;
  spec.flags = spec.type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0;
  const auto map = vm::find_map_type(spec.type)->create(spec, {});
  if (!map) std::abort();
  const std::string_view text(reinterpret_cast<const char*>(bytes + 1), size - 1);
  if (sim::fill_map_from_text(**map, text, "map.json") && !sim::dump_map(**map)) std::abort();
  return 0;
}

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/json.h"
#include "sim/map_words.h"
#include "vm/loader.h"
#include "vm/map.h"
#include "vm/result.h"

namespace xnic::sim {

// Writes maps to one JSON file, whole or not at all:
//   {"schema_version":1, "possible_cpus":2, "btf":["9feb0100..."], "maps":[
//    {"name":"counters", "type":"percpu_array", "key_size":4, "value_size":16, "max_entries":256,
//     "flags":0, "map_extra":0, "frozen":false,
//     "btf":{"index":0, "key_type_id":1, "value_type_id":7, "key_type":"__u32",
//            "value_type":"counter"},
//     "entries":[...]}]}
// `entries` has the shape of bpftool -j map dump; `btf` is there where BTF describes the map. A map
// whose entries cannot be listed has none, and "unlisted" says why.
// Errors: run_time_fault with a sentence that names the file.
Result<void> save_maps(const std::string& path, std::span<const vm::LoadedMap> maps,
                       uint32_t possible_cpus);

// What the file would hold of a map.
Json describe_map(const std::string& name, vm::Map& map);

// Puts the entries of a file into `map`: those of the map called `name` if save_maps wrote the
// file, else those of a map dump (sim/map_file.h).
Result<void> fill_named_map(vm::Map& map, const std::string& name, const std::string& path);

// A file of save_maps, read back. Edits go through a live map of the same kind, so that they obey
// its rules: a full hash stays full, an array keeps its entries.
class SavedMaps : public NamedMaps {
 public:
  // Errors (bad_input) name the file, and line and column or the map.
  static Result<SavedMaps> read(const std::string& path);

  std::string_view place() const override { return "FILE"; }
  std::vector<std::string> names() const override;
  Result<Json> describe(const std::string& name) const override;
  // Errors: also bad_input for a map whose values are objects of a kernel, or of a type that does
  // not exist here.
  Result<std::shared_ptr<vm::Map>> live(const std::string& name) const override;
  Result<void> writable(const std::string& name) const override;
  // Writes the file anew.
  Result<void> replace(const std::string& name, vm::Map& map) const override;

 private:
  SavedMaps(std::string path, Json document)
      : path_(std::move(path)), document_(std::move(document)) {}
  Result<const Json*> find(const std::string& name) const;

  std::string path_;
  Json document_;
};

}  // namespace xnic::sim

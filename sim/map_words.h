#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/json.h"
#include "vm/map.h"
#include "vm/result.h"

namespace xnic::sim {

// Maps that have names: those of a file, or of a process that runs.
class NamedMaps {
 public:
  virtual ~NamedMaps() = default;

  // What stands for them among the words of xnic map: "FILE".
  virtual std::string_view place() const = 0;
  virtual std::vector<std::string> names() const = 0;
  // What is known of a map, "entries" included. Error (usage) where there is no such map.
  virtual Result<Json> describe(const std::string& name) const = 0;
  // The map itself, or a live one with its entries. Errors: also bad_input where there can be none.
  virtual Result<std::shared_ptr<vm::Map>> live(const std::string& name) const = 0;
  // Whether user space may write the map; an error (bad_input) says why not.
  virtual Result<void> writable(const std::string& name) const = 0;
  // Takes what was edited of a map that live() gave.
  virtual Result<void> replace(const std::string& name, vm::Map& map) const = 0;
};

// A word of `xnic map` and what stands behind it: "lookup NAME key DATA", where the maps are known.
struct MapAction {
  std::string_view name;
  std::string_view words;
};
std::span<const MapAction> map_actions();

// Acts on maps: {"update", "blocked", "key", "hex", ...}. Gives what is to be printed, in the JSON
// of bpftool map, or nothing for an edit. Errors: usage; expectation_failed where there is no such
// entry or the map refuses.
Result<std::string> act_on_maps(const NamedMaps& maps, const std::vector<std::string>& words);

}  // namespace xnic::sim

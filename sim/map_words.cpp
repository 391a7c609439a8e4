// The words and the JSON of bpftool map. Test: tests/sim/saved_maps_test.cpp,
// line_control_test.cpp.
#include "sim/map_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "sim/map_file.h"
#include "sim/map_json.h"

namespace xnic::sim {
namespace {

using Bytes = std::vector<uint8_t>;
using Words = std::vector<std::string>;

struct Request {
  const NamedMaps& maps;
  std::string name;  // of the map; empty where none is given
  Words words;       // behind the name
};

struct Row {
  MapAction action;
  Result<std::string> (*run)(const Request&);
};

bool starts_part(const std::string& word) {
  return word == "key" || word == "value" || word == "any" || word == "exist" || word == "noexist";
}

// The bytes behind "key" or "value": decimal or 0x, or after "hex" without the 0x.
Result<Bytes> bytes_at(const Words& words, size_t& at) {
  const std::string part = words[at++];
  const bool hex = at < words.size() && words[at] == "hex";
  if (hex) ++at;
  Bytes bytes;
  for (; at < words.size() && !starts_part(words[at]); ++at) {
    const std::string& word = words[at];
    std::optional<Bits128> byte;
    if (hex || word.starts_with("0x")) {
      byte = parse_hex(word.starts_with("0x") ? word : "0x" + word);
    } else if (!word.empty() && word.size() <= 3 &&
               word.find_first_not_of("0123456789") == std::string::npos) {
      byte = std::stoul(word);
    }
    if (!byte || *byte > 0xff) {
      return fail(ExitCode::usage, "{}: {} is not a byte; write 0 to 255, 0x0a, or hex 0a ...",
                  part, word);
    }
    bytes.push_back(static_cast<uint8_t>(*byte));
  }
  return bytes;
}

// The parts of "key DATA value DATA [any|exist|noexist]".
struct Parts {
  Bytes key;
  Bytes value;
  bool has_value = false;
  uint64_t flags = BPF_ANY;
};

Result<Parts> parse_parts(const Request& request, vm::Map& map) {
  Parts parts;
  for (size_t at = 0; at < request.words.size();) {
    const std::string word = request.words[at];
    if (word == "key" || word == "value") {
      auto bytes = bytes_at(request.words, at);
      if (!bytes) return tl::unexpected(bytes.error());
      (word == "key" ? parts.key : parts.value) = std::move(*bytes);
      parts.has_value = parts.has_value || word == "value";
    } else if (starts_part(word)) {
      parts.flags = word == "any" ? BPF_ANY : word == "exist" ? BPF_EXIST : BPF_NOEXIST;
      ++at;
    } else {
      return fail(ExitCode::usage, "{}: expected key, value, any, exist or noexist", word);
    }
  }
  const vm::MapSpec& spec = map.spec();
  if (parts.key.size() != spec.key_size) {
    return fail(ExitCode::usage, "key has {} bytes, map {} has keys of {} bytes", parts.key.size(),
                request.name, spec.key_size);
  }
  if (parts.has_value && parts.value.size() != spec.value_size) {
    return fail(ExitCode::usage, "value has {} bytes, map {} has values of {} bytes",
                parts.value.size(), request.name, spec.value_size);
  }
  return parts;
}

Result<std::string> dump(const Request& request) {
  if (!request.words.empty()) {
    return fail(ExitCode::usage, "xnic map dump takes one NAME, not {}", request.words[0]);
  }
  if (!request.name.empty()) {
    const auto map = request.maps.describe(request.name);
    if (!map) return tl::unexpected(map.error());
    // A live map prints what JSON objects cannot hold: members of the same name.
    const auto live = request.maps.live(request.name);
    const auto text = live ? dump_map(**live) : Result<std::string>((*map)["entries"].dump());
    if (!text) return tl::unexpected(text.error());
    return *text + "\n";
  }
  Json all = Json::array();
  for (const std::string& name : request.maps.names()) {
    auto shown = request.maps.describe(name);
    if (!shown) return tl::unexpected(shown.error());
    (*shown)["elements"] = (*shown)["entries"];
    shown->erase("entries");
    all.push_back(std::move(*shown));
  }
  return all.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<std::string> lookup(const Request& request) {
  const auto map = request.maps.live(request.name);
  if (!map) return tl::unexpected(map.error());
  const auto parts = parse_parts(request, **map);
  if (!parts) return tl::unexpected(parts.error());
  const auto text = dump_entry(**map, parts->key);
  if (!text) return tl::unexpected(text.error());
  return *text + "\n";
}

// The map that an edit is for, with what it holds in the file.
Result<std::shared_ptr<vm::Map>> for_editing(const Request& request) {
  if (auto may = request.maps.writable(request.name); !may) return tl::unexpected(may.error());
  return request.maps.live(request.name);
}

Result<std::string> finish(const Request& request, vm::Map& map, int error) {
  if (error != 0) {
    return fail(ExitCode::expectation_failed, "map {} refuses it: {}", request.name,
                std::strerror(-error));
  }
  if (auto written = request.maps.replace(request.name, map); !written) {
    return tl::unexpected(written.error());
  }
  return std::string();
}

Result<std::string> update(const Request& request) {
  const auto map = for_editing(request);
  if (!map) return tl::unexpected(map.error());
  const auto parts = parse_parts(request, **map);
  if (!parts) return tl::unexpected(parts.error());
  if (!parts->has_value) return fail(ExitCode::usage, "xnic map update needs value DATA");
  // The value of a per-CPU map goes to all CPUs, each in its own 8-byte multiple.
  Bytes stored = parts->value;
  const uint32_t size = (*map)->user_value_size();
  if (size != parts->value.size()) {
    stored.resize((parts->value.size() + 7) / 8 * 8);
    const Bytes one = stored;
    while (stored.size() < size) stored.insert(stored.end(), one.begin(), one.end());
  }
  return finish(request, **map,
                (*map)->user_update(parts->key.data(), stored.data(), parts->flags));
}

Result<std::string> erase(const Request& request) {
  const auto map = for_editing(request);
  if (!map) return tl::unexpected(map.error());
  const auto parts = parse_parts(request, **map);
  if (!parts) return tl::unexpected(parts.error());
  return finish(request, **map, (*map)->user_erase(parts->key.data()));
}

constexpr std::array kRows = {
    Row{{"dump", "[NAME]"}, dump},
    Row{{"lookup", "NAME key DATA"}, lookup},
    Row{{"update", "NAME key DATA value DATA [any|exist|noexist]"}, update},
    Row{{"delete", "NAME key DATA"}, erase},
};

constexpr auto kActions = [] {
  std::array<MapAction, kRows.size()> actions;
  for (size_t i = 0; i < actions.size(); ++i) actions[i] = kRows[i].action;
  return actions;
}();

}  // namespace

std::span<const MapAction> map_actions() { return kActions; }

Result<std::string> act_on_maps(const NamedMaps& maps, const Words& words) {
  const auto row = std::ranges::find_if(
      kRows, [&](const Row& one) { return !words.empty() && one.action.name == words[0]; });
  if (row == kRows.end()) {
    return fail(ExitCode::usage, "xnic map: there is no {}; see xnic map --help",
                words.empty() ? "such action" : words[0]);
  }
  const bool needs_name = row->action.name != "dump";
  if (needs_name && words.size() < 2) {
    return fail(ExitCode::usage, "write xnic map {} {} {}", row->action.name, maps.place(),
                row->action.words);
  }
  const auto behind = words.begin() + static_cast<ptrdiff_t>(std::min<size_t>(words.size(), 2));
  return row->run({maps, words.size() > 1 ? words[1] : "", {behind, words.end()}});
}

}  // namespace xnic::sim

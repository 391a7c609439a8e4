// Maps in a file, with all it takes to make them again. Entries are spliced into the file as text,
// for maps may be large. Left out: what user space cannot list (queues, ring buffers), and reviving
// maps whose values are kernel objects. Test: tests/sim/saved_maps_test.cpp.
#include "sim/saved_maps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "sim/map_file.h"
#include "sim/map_json.h"
#include "traces/output_file.h"
#include "vm/btf.h"

namespace xnic::sim {
namespace {

constexpr int kSchemaVersion = 1;
constexpr int kDeepest = 200;  // nested lists and objects; the writer of the JSON library recurses

std::string hex(std::span<const uint8_t> bytes) {
  return fmt::format("{:02x}", fmt::join(bytes.begin(), bytes.end(), ""));
}

// Empty for what is not hexadecimal.
std::vector<uint8_t> unhex(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    const auto byte = parse_hex("0x" + text.substr(i, 2));
    if (!byte) return {};
    bytes.push_back(static_cast<uint8_t>(*byte));
  }
  return bytes;
}

struct Part {
  Json header;          // of one map, without entries
  std::string entries;  // as JSON
};

Result<void> write_parts(const std::string& path, uint32_t possible_cpus, const Json& btf,
                         const std::vector<Part>& parts) {
  auto file = traces::OutputFile::create(path);
  if (!file) return tl::unexpected(file.error());
  const auto write = [&](std::string_view text) {
    return (*file)->write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  // The file keeps its first error and gives it again at the end.
  static_cast<void>(
      write(fmt::format("{{\"schema_version\":{},\"possible_cpus\":{},\"btf\":{},\"maps\":[",
                        kSchemaVersion, possible_cpus, btf.dump())));
  for (size_t i = 0; i < parts.size(); ++i) {
    std::string header = parts[i].header.dump(-1, ' ', false, Json::error_handler_t::replace);
    header.pop_back();  // the brace, behind the entries
    static_cast<void>(write(i == 0 ? "\n" : ",\n"));
    static_cast<void>(write(header));
    static_cast<void>(write(",\"entries\":"));
    static_cast<void>(write(parts[i].entries));
    static_cast<void>(write("}"));
  }
  static_cast<void>(write("\n]}\n"));
  return (*file)->finish();
}

// The place of this BTF among those of the file, which may be new.
size_t index_of(const vm::Btf& types, Json& all) {
  const std::string blob = hex(types.blob());
  const auto found = std::find(all.begin(), all.end(), Json(blob));
  const auto index = static_cast<size_t>(found - all.begin());
  if (found == all.end()) all.push_back(blob);
  return index;
}

Part part_of(const std::string& name, vm::Map& map, Json& btf) {
  const vm::MapSpec& spec = map.spec();
  const vm::MapType* row = vm::find_map_type(spec.type);
  Part part;
  part.header = {{"name", name},
                 {"type", row == nullptr ? "unknown" : std::string(row->name)},
                 {"key_size", spec.key_size},
                 {"value_size", spec.value_size},
                 {"max_entries", spec.max_entries},
                 {"flags", spec.flags},
                 {"map_extra", spec.map_extra},
                 {"frozen", map.frozen}};
  if (map.btf != nullptr && spec.btf_value_type_id != 0) {
    part.header["btf"] = {{"index", index_of(*map.btf, btf)},
                          {"key_type_id", spec.btf_key_type_id},
                          {"value_type_id", spec.btf_value_type_id},
                          {"key_type", std::string(map.btf->type_name(spec.btf_key_type_id))},
                          {"value_type", std::string(map.btf->type_name(spec.btf_value_type_id))}};
  }
  // Without keys there is nothing to list by.
  auto entries = spec.key_size == 0
                     ? Result<std::string>(fail(ExitCode::run_time_fault,
                                                "Map {} has no keys to list entries by.", name))
                     : dump_map(map);
  if (!entries) part.header["unlisted"] = entries.error().message;
  part.entries = entries.value_or("[]");
  return part;
}

// The whole document; an error that names line and column where it is no JSON.
Result<Json> parse(const std::string& path, const std::string& text) {
  bool too_deep = false;
  const auto watch = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  try {
    Json document = Json::parse(text, watch);
    if (too_deep) {
      return fail(ExitCode::bad_input, "{}: is nested too deeply for saved maps", path);
    }
    return document;
  } catch (const Json::parse_error& error) {
    return fail(ExitCode::bad_input, "{}: is not JSON: {}", path, error.what());
  }
}

bool is_saved_state(const Json& document) {
  return document.is_object() && document.contains("maps") && document["maps"].is_array();
}

bool may_be_saved_state(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\r\n");
  return start != std::string_view::npos && text[start] == '{' &&
         text.find("\"maps\"") != std::string_view::npos;
}

Result<const Json*> find_in(const Json& document, const std::string& path,
                            const std::string& name) {
  std::vector<std::string> names;
  for (const Json& map : document["maps"]) {
    if (!map.is_object() || !map.contains("name") || !map["name"].is_string() ||
        !map.contains("entries") || !map["entries"].is_array()) {
      return fail(ExitCode::bad_input, "{}: one of its maps lacks name or entries", path);
    }
    names.push_back(map["name"].get<std::string>());
    if (names.back() == name) return &map;
  }
  return fail(
      ExitCode::usage, "{}: holds no map {}; {}", path, name,
      names.empty() ? "it holds none" : fmt::format("there are {}", fmt::join(names, ", ")));
}

std::string text_of(const Json& entries) {
  return entries.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Result<void> save_maps(const std::string& path, std::span<const vm::LoadedMap> maps,
                       uint32_t possible_cpus) {
  Json btf = Json::array();
  std::vector<Part> parts;
  for (const vm::LoadedMap& map : maps) parts.push_back(part_of(map.name, *map.map, btf));
  return write_parts(path, possible_cpus, btf, parts);
}

Json describe_map(const std::string& name, vm::Map& map) {
  Json types = Json::array();
  Part part = part_of(name, map, types);
  part.header["entries"] = Json::parse(part.entries, nullptr, false);
  return std::move(part.header);
}

Result<void> fill_named_map(vm::Map& map, const std::string& name, const std::string& path) {
  const auto text = read_map_file(path);
  if (!text) return tl::unexpected(text.error());
  if (may_be_saved_state(*text)) {
    const auto document = parse(path, *text);
    if (document && is_saved_state(*document)) {
      const auto saved = find_in(*document, path, name);
      if (!saved) return tl::unexpected(saved.error());
      return fill_map_from_text(map, text_of((**saved)["entries"]), path);
    }
  }
  return fill_map_from_text(map, *text, path);
}

Result<SavedMaps> SavedMaps::read(const std::string& path) {
  const auto text = read_map_file(path);
  if (!text) return tl::unexpected(text.error());
  auto document = parse(path, *text);
  if (!document) return tl::unexpected(document.error());
  if (!is_saved_state(*document)) {
    return fail(ExitCode::bad_input, "{}: holds no saved maps; xnic run --dump-maps writes them",
                path);
  }
  for (const Json& map : (*document)["maps"]) {
    for (const char* field : {"key_size", "value_size", "max_entries", "flags"}) {
      if (!map.is_object() || !map.contains(field) || !map[field].is_number_unsigned()) {
        return fail(ExitCode::bad_input, "{}: one of its maps lacks the number {}", path, field);
      }
    }
    const auto found = find_in(*document, path, map.value("name", ""));
    if (!found) return tl::unexpected(found.error());
  }
  return SavedMaps(path, std::move(*document));
}

std::vector<std::string> SavedMaps::names() const {
  std::vector<std::string> names;
  for (const Json& map : document_["maps"]) names.push_back(map["name"].get<std::string>());
  return names;
}

Result<const Json*> SavedMaps::find(const std::string& name) const {
  return find_in(document_, path_, name);
}

Result<Json> SavedMaps::describe(const std::string& name) const {
  const auto saved = find(name);
  if (!saved) return tl::unexpected(saved.error());
  return **saved;
}

Result<std::shared_ptr<vm::Map>> SavedMaps::live(const std::string& name) const {
  const auto saved = find(name);
  if (!saved) return tl::unexpected(saved.error());
  const Json& header = **saved;
  const std::string type = header.value("type", "");
  const auto rows = vm::map_types();
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [&](const vm::MapType& known) { return known.name == type; });
  if (row == rows.end()) {
    return fail(ExitCode::bad_input, "{}: map {} is of type {}, which does not exist here", path_,
                name, type);
  }
  vm::MapSpec spec;
  spec.type = row->type;
  spec.name = name;
  spec.key_size = header["key_size"].get<uint32_t>();
  spec.value_size = header["value_size"].get<uint32_t>();
  spec.max_entries = header["max_entries"].get<uint32_t>();
  spec.map_extra = header.value("map_extra", uint64_t{0});
  // Memory is not shared with anyone here, and what user space may do is asked by writable().
  spec.flags = header["flags"].get<uint32_t>() &
               ~static_cast<uint32_t>(BPF_F_MMAPABLE | BPF_F_RDONLY | BPF_F_WRONLY);
  std::shared_ptr<const vm::Btf> types;
  if (header.contains("btf") && header["btf"].is_object()) {
    const size_t index = header["btf"].value("index", size_t{0});
    const Json& blobs = document_.value("btf", Json::array());
    if (blobs.is_array() && index < blobs.size() && blobs[index].is_string()) {
      types = vm::Btf::parse(unhex(blobs[index].get<std::string>()));
    }
    spec.btf_key_type_id = header["btf"].value("key_type_id", 0u);
    spec.btf_value_type_id = header["btf"].value("value_type_id", 0u);
  }
  const vm::MapContext context{.possible_cpus = document_.value("possible_cpus", 1u)};
  if (row->check(spec) != 0 || context.possible_cpus == 0 || context.possible_cpus > 8192) {
    return fail(ExitCode::bad_input, "{}: map {} has sizes or flags that a {} cannot have", path_,
                name, type);
  }
  auto map = row->create(spec, context);
  if (!map) {
    return fail(ExitCode::bad_input, "{}: map {} cannot be made again: {}", path_, name,
                std::strerror(-map.error()));
  }
  (*map)->btf = types;
  if (auto filled = fill_map_from_text(**map, text_of(header["entries"]), path_); !filled) {
    return tl::unexpected(filled.error());
  }
  return *map;
}

Result<void> SavedMaps::writable(const std::string& name) const {
  const auto saved = find(name);
  if (!saved) return tl::unexpected(saved.error());
  if ((**saved).value("frozen", false) ||
      ((**saved)["flags"].get<uint32_t>() & BPF_F_RDONLY) != 0) {
    return fail(ExitCode::bad_input, "{}: map {} is read-only for user space", path_, name);
  }
  return {};
}

Result<void> SavedMaps::replace(const std::string& name, vm::Map& map) const {
  std::vector<Part> parts;
  for (const Json& other : document_["maps"]) {
    Part part{other, {}};
    part.header.erase("entries");
    const std::string other_name = other["name"].get<std::string>();
    // Members of the same name, which bpftool prints for anonymous ones, live in the map alone.
    const auto revived = other_name == name ? nullptr : live(other_name).value_or(nullptr);
    vm::Map* source = other_name == name ? &map : revived.get();
    if (source != nullptr && !other.contains("unlisted")) {
      auto entries = dump_map(*source);
      if (!entries) return tl::unexpected(entries.error());
      part.entries = std::move(*entries);
    } else {
      part.entries = text_of(other["entries"]);
    }
    parts.push_back(std::move(part));
  }
  return write_parts(path_, document_.value("possible_cpus", 1u),
                     document_.value("btf", Json::array()), parts);
}

}  // namespace xnic::sim

#include "vm/pin_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "vm/btf.h"

namespace xnic::vm {
namespace {

constexpr const char* kFirstLine = "xnic pinned map 1";

// Types whose values user space reads and writes as the bytes that they are, by key.
constexpr std::array kTypesOfBytes = {BPF_MAP_TYPE_HASH,           BPF_MAP_TYPE_ARRAY,
                                      BPF_MAP_TYPE_PERCPU_HASH,    BPF_MAP_TYPE_PERCPU_ARRAY,
                                      BPF_MAP_TYPE_LPM_TRIE,       BPF_MAP_TYPE_LRU_HASH,
                                      BPF_MAP_TYPE_LRU_PERCPU_HASH};

std::string to_hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

bool from_hex(std::string_view text, std::vector<uint8_t>& bytes) {
  bytes.clear();
  if (text.size() % 2 != 0) return false;
  for (size_t i = 0; i < text.size(); i += 2) {
    uint8_t byte = 0;
    const char* end = text.data() + i + 2;
    const auto parsed = std::from_chars(text.data() + i, end, byte, 16);
    if (parsed.ec != std::errc{} || parsed.ptr != end) return false;
    bytes.push_back(byte);
  }
  return true;
}

void write_entries(std::ostream& out, Map& map) {
  const MapSpec& spec = map.spec();
  if (std::find(kTypesOfBytes.begin(), kTypesOfBytes.end(), spec.type) == kTypesOfBytes.end()) {
    return;
  }
  // An array is all zero from the start.
  const bool skips_zero = spec.type == BPF_MAP_TYPE_ARRAY || spec.type == BPF_MAP_TYPE_PERCPU_ARRAY;
  std::vector<uint8_t> key(spec.key_size);
  std::vector<uint8_t> next(spec.key_size);
  std::vector<uint8_t> value(map.user_value_size());
  bool first = true;
  while (map.next_key(first ? nullptr : key.data(), next.data()) == 0) {
    first = false;
    key.swap(next);
    if (map.user_lookup(key.data(), value.data(), 0) != 0) continue;
    const bool zero = std::all_of(value.begin(), value.end(), [](uint8_t b) { return b == 0; });
    if (!(skips_zero && zero)) out << "entry " << to_hex(key) << ' ' << to_hex(value) << '\n';
  }
}

}  // namespace

Result<void> write_pin_file(const std::string& path, Map& map) {
  const std::string fresh = fmt::format("{}.{}.new", path, getpid());
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  const MapSpec& spec = map.spec();
  out << kFirstLine << '\n'
      << fmt::format("spec {} {} {} {} {} {} {} {} {}\n", static_cast<uint32_t>(spec.type),
                     spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.map_extra,
                     spec.btf_key_type_id, spec.btf_value_type_id, map.frozen ? 1 : 0)
      << "name " << spec.name << '\n';
  if (map.btf != nullptr) out << "btf " << to_hex(map.btf->blob()) << '\n';
  write_entries(out, map);
  out << "end\n";
  out.close();
  if (!out || std::rename(fresh.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(fresh.c_str());
    return fail(ExitCode::bad_input, "{}: the pinned map {} cannot be saved: {}", path, spec.name,
                std::strerror(error));
  }
  return {};
}

Result<SavedMap> read_pin_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const auto damaged = [&](std::string_view what) {
    return fail(ExitCode::bad_input, "{}: is not a saved pin: {}; remove the file", path, what);
  };
  std::string line;
  if (!std::getline(in, line) || line != kFirstLine) return damaged("it begins otherwise");
  SavedMap saved;
  std::string word;
  uint32_t type = 0;
  int frozen = 0;
  MapSpec& spec = saved.spec;
  if (!(in >> word >> type >> spec.key_size >> spec.value_size >> spec.max_entries >> spec.flags >>
        spec.map_extra >> spec.btf_key_type_id >> spec.btf_value_type_id >> frozen) ||
      word != "spec") {
    return damaged("the map's spec is missing");
  }
  const MapType* row = find_map_type(type);
  if (row == nullptr) return damaged("there is no such map type");
  spec.type = row->type;
  saved.frozen = frozen != 0;
  std::getline(in, line);
  if (!std::getline(in, line) || !line.starts_with("name ")) return damaged("the name is missing");
  spec.name = line.substr(std::string_view("name ").size());
  while (in >> word && word != "end") {
    if (word == "btf") {
      if (!(in >> word) || !from_hex(word, saved.btf)) return damaged("its BTF is cut");
    } else if (word == "entry") {
      // An empty key has no word of its own; no type of bytes has one.
      std::string value;
      SavedMap::Entry entry;
      if (!(in >> word >> value) || !from_hex(word, entry.key) || !from_hex(value, entry.value) ||
          entry.key.size() != spec.key_size) {
        return damaged(fmt::format("entry {} is cut", saved.entries.size() + 1));
      }
      saved.entries.push_back(std::move(entry));
    } else {
      return damaged(fmt::format("\"{}\" is unknown", word.substr(0, 20)));
    }
  }
  if (word != "end") return damaged("its end is missing");
  return saved;
}

}  // namespace xnic::vm

#include "vm/pin_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "vm/btf.h"
#include "vm/maps/array.h"

namespace xnic::vm {
namespace {

constexpr const char* kFirstLine = "xnic pinned map 1";

// Types whose values user space reads and writes as the bytes that they are, by key; those for
// redirects do where no program stands beside the target.
constexpr std::array kTypesOfBytes = {BPF_MAP_TYPE_HASH,
                                      BPF_MAP_TYPE_ARRAY,
                                      BPF_MAP_TYPE_PERCPU_HASH,
                                      BPF_MAP_TYPE_PERCPU_ARRAY,
                                      BPF_MAP_TYPE_LPM_TRIE,
                                      BPF_MAP_TYPE_LRU_HASH,
                                      BPF_MAP_TYPE_LRU_PERCPU_HASH,
                                      BPF_MAP_TYPE_DEVMAP,
                                      BPF_MAP_TYPE_DEVMAP_HASH,
                                      BPF_MAP_TYPE_CPUMAP};

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

// Calls `visit` with each key.
template <class Visit>
void for_each_key(Map& map, Visit visit) {
  std::vector<uint8_t> key(map.spec().key_size);
  std::vector<uint8_t> next(map.spec().key_size);
  bool first = true;
  while (map.next_key(first ? nullptr : key.data(), next.data()) == 0) {
    first = false;
    key.swap(next);
    visit(key);
  }
}

bool has_program(Map& map, const std::vector<uint8_t>& key) {
  const auto entry = map.redirect_entry(read_index(key.data()));
  return entry && entry->program != nullptr;
}

void write_entries(std::ostream& out, Map& map) {
  const bpf_map_type type = map.spec().type;
  if (std::ranges::find(kTypesOfBytes, type) == kTypesOfBytes.end()) return;
  // An array is all zero from the start.
  const bool skips_zero = type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
  std::vector<uint8_t> value(map.user_value_size());
  for_each_key(map, [&](const std::vector<uint8_t>& key) {
    if (map.user_lookup(key.data(), value.data(), 0) != 0 || has_program(map, key)) return;
    const bool zero = std::all_of(value.begin(), value.end(), [](uint8_t b) { return b == 0; });
    if (!(skips_zero && zero)) out << "entry " << to_hex(key) << ' ' << to_hex(value) << '\n';
  });
}

std::string spec_numbers(const MapSpec& spec, bool frozen) {
  return fmt::format("{} {} {} {} {} {} {} {} {}", static_cast<uint32_t>(spec.type), spec.key_size,
                     spec.value_size, spec.max_entries, spec.flags, spec.map_extra,
                     spec.btf_key_type_id, spec.btf_value_type_id, frozen ? 1 : 0);
}

void write_map(std::ostream& out, Map& map, const PinOf& pin_of) {
  const MapSpec& spec = map.spec();
  out << "spec " << spec_numbers(spec, map.frozen) << "\nname " << spec.name << '\n';
  if (map.btf != nullptr) out << "btf " << to_hex(map.btf->blob()) << '\n';
  write_entries(out, map);
  for (const std::vector<uint8_t>& part : map.contents())
    out << "content " << (part.empty() ? "-" : to_hex(part)) << '\n';
  if (const MapSpec* like = map.inner_spec(); like != nullptr) {
    out << fmt::format("like {} {} {}\n", spec_numbers(*like, false),
                       like->fields.spin_lock_offset(), like->fields.timer_offset());
    std::vector<std::shared_ptr<Map>> written;
    for_each_key(map, [&](const std::vector<uint8_t>& key) {
      const std::shared_ptr<Map> inner = map.inner_map(key.data());
      if (inner == nullptr) return;
      if (const std::string pin = pin_of(*inner); !pin.empty()) {
        out << "pin " << to_hex(key) << ' ' << pin << '\n';
        return;
      }
      const auto known = std::ranges::find(written, inner);
      const auto number = known - written.begin();
      if (known == written.end()) {
        out << "inner\n";
        write_map(out, *inner, pin_of);
        written.push_back(inner);
      }
      out << "slot " << to_hex(key) << ' ' << number << '\n';
    });
  }
  out << "end\n";
}

// Reads the lines of one map. `damaged()` says what is wrong where one is not as it should be.
class Reader {
 public:
  explicit Reader(std::istream& in) : in_(in) {}

  const std::string& damaged() const { return damaged_; }

  bool read_first_line() {
    std::string line;
    return (std::getline(in_, line) && line == kFirstLine) || wrong("it begins otherwise");
  }

  // From "spec" to "end".
  bool read(SavedMap& saved, bool is_inner) {
    MapSpec& spec = saved.spec;
    std::string word;
    if (!(in_ >> word) || word != "spec" || !read_spec(spec, &saved.frozen)) {
      return wrong("the map's spec is missing");
    }
    std::string line;
    std::getline(in_, line);
    if (!std::getline(in_, line) || !line.starts_with("name ")) return wrong("the name is missing");
    spec.name = line.substr(std::string_view("name ").size());
    while (in_ >> word && word != "end") {
      if (!read_line(word, saved, is_inner)) return false;
    }
    return word == "end" || wrong("its end is missing");
  }

  bool read_to_the_end() {
    std::string word;
    return !(in_ >> word) || wrong("something follows its end");
  }

 private:
  bool wrong(std::string what) {
    if (damaged_.empty()) damaged_ = std::move(what);
    return false;
  }

  bool read_spec(MapSpec& spec, bool* frozen) {
    uint32_t type = 0;
    int number = 0;
    if (!(in_ >> type >> spec.key_size >> spec.value_size >> spec.max_entries >> spec.flags >>
          spec.map_extra >> spec.btf_key_type_id >> spec.btf_value_type_id >> number)) {
      return false;
    }
    const MapType* row = find_map_type(type);
    if (row == nullptr) return wrong("there is no such map type");
    spec.type = row->type;
    if (frozen != nullptr) *frozen = number != 0;
    return true;
  }

  bool read_bytes(std::vector<uint8_t>& bytes) {
    std::string word;
    return in_ >> word && from_hex(word, bytes);
  }

  bool read_line(const std::string& word, SavedMap& saved, bool is_inner) {
    const uint32_t key_size = saved.spec.key_size;
    if (word == "btf") return read_bytes(saved.btf) || wrong("its BTF is cut");
    if (word == "entry") {
      SavedMap::Entry& entry = saved.entries.emplace_back();
      return (read_bytes(entry.key) && read_bytes(entry.value) && entry.key.size() == key_size) ||
             wrong(fmt::format("entry {} is cut", saved.entries.size()));
    }
    if (word == "content") {
      std::vector<uint8_t>& part = saved.contents.emplace_back();
      std::string text;
      return (in_ >> text && (text == "-" || from_hex(text, part))) ||
             wrong(fmt::format("content {} is cut", saved.contents.size()));
    }
    if (word == "like" && !is_inner) return read_like(saved);
    if (word == "inner" && !is_inner) return read(saved.inner.emplace_back(), true);
    if ((word == "slot" || word == "pin") && !is_inner) {
      SavedMap::Slot& slot = saved.slots.emplace_back();
      const bool whole = read_bytes(slot.key) && slot.key.size() == key_size &&
                         (word == "pin" ? static_cast<bool>(in_ >> slot.pin)
                                        : in_ >> slot.inner && slot.inner < saved.inner.size());
      return whole || wrong(fmt::format("slot {} is cut", saved.slots.size()));
    }
    return wrong(fmt::format("\"{}\" is unknown", word.substr(0, 20)));
  }

  bool read_like(SavedMap& saved) {
    MapSpec& like = saved.like.emplace();
    int64_t lock = -1;
    int64_t timer = -1;
    if (!read_spec(like, nullptr) || !(in_ >> lock >> timer)) {
      return wrong("what its inner maps are like is cut");
    }
    if (lock >= 0)
      like.fields.add(
          {SpecialField::Kind::spin_lock, static_cast<uint32_t>(lock), sizeof(bpf_spin_lock)});
    if (timer >= 0)
      like.fields.add({SpecialField::Kind::timer, static_cast<uint32_t>(timer), sizeof(bpf_timer)});
    return true;
  }

  std::istream& in_;
  std::string damaged_;
};

}  // namespace

Result<void> write_pin_file(const std::string& path, Map& map, const PinOf& pin_of) {
  const std::string fresh = fmt::format("{}.{}.new", path, getpid());
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out << kFirstLine << '\n';
  write_map(out, map, pin_of);
  out.close();
  if (!out || std::rename(fresh.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(fresh.c_str());
    return fail(ExitCode::bad_input, "{}: the pinned map {} cannot be saved: {}", path,
                map.spec().name, std::strerror(error));
  }
  return {};
}

Result<SavedMap> read_pin_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Reader reader(in);
  SavedMap saved;
  if (reader.read_first_line() && reader.read(saved, false) && reader.read_to_the_end()) {
    return saved;
  }
  return fail(ExitCode::bad_input, "{}: is not a saved pin: {}; remove the file", path,
              reader.damaged());
}

}  // namespace xnic::vm

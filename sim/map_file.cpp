// Map contents from and to JSON files. Reading checks every entry before the first is written, and
// takes back what was written if the map then refuses one (full, or a key it does not take).
// What it leaves out: deleting entries that the file does not name; values that hold descriptors.
// Test: tests/sim/map_file_test.cpp, against dumps that bpftool made.
#include "sim/map_file.h"

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/map_btf.h"
#include "sim/map_json.h"
#include "vm/btf.h"

namespace xnic::sim {
namespace {

using Kind = JsonValue::Kind;
using Bytes = std::vector<uint8_t>;

std::string_view type_name(const vm::Map& map) {
  const vm::MapType* row = vm::find_map_type(map.spec().type);
  return row != nullptr ? row->name : "unknown";
}

std::string_view text_of(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What user space writes into such maps is a descriptor, which means nothing in a file.
bool holds_objects(bpf_map_type type) {
  switch (type) {
    case BPF_MAP_TYPE_PROG_ARRAY:
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
    case BPF_MAP_TYPE_CGROUP_ARRAY:
    case BPF_MAP_TYPE_ARRAY_OF_MAPS:
    case BPF_MAP_TYPE_HASH_OF_MAPS:
    case BPF_MAP_TYPE_SOCKMAP:
    case BPF_MAP_TYPE_SOCKHASH:
    case BPF_MAP_TYPE_XSKMAP:
    case BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
      return true;
    default:
      return false;
  }
}

// Bytes of one kind in a map: its keys, or its values on one CPU.
struct Field {
  const char* name;  // "key", "value"
  uint32_t size;
  uint32_t type_id;  // 0 where BTF does not describe it
  bool section;      // global variables
};

class Layout {
 public:
  explicit Layout(const vm::Map& map)
      : types(map.btf != nullptr ? map.btf->parsed() : nullptr),
        key(field("key", map.spec().key_size, map.spec().btf_key_type_id)),
        value(field("value", map.spec().value_size, map.spec().btf_value_type_id)),
        stride((map.spec().value_size + 7) / 8 * 8),
        cpus(is_percpu(map.spec().type) ? map.possible_cpus() : 0) {}

  const btf* types;
  Field key;
  Field value;
  uint32_t stride;  // bytes from one CPU's value to the next
  uint32_t cpus;    // 0 for maps that have one value for all

 private:
  static bool is_percpu(bpf_map_type type) {
    return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
           type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
  }

  Field field(const char* name, uint32_t size, uint32_t type_id) const {
    const bool described = types != nullptr && type_id != 0 &&
                           btf__resolve_size(types, type_id) == static_cast<int64_t>(size);
    if (!described) return {name, size, 0, false};
    return {name, size, type_id, btf_is_datasec(btf__type_by_id(types, type_id))};
  }
};

// Turns entries into bytes, all of them before the first goes into the map.
class EntryParser {
 public:
  EntryParser(vm::Map& map) : map_(map), layout_(map) {}

  // What is wrong with the entry, empty if nothing is.
  std::string add(const JsonValue& entry) {
    if (!entry.is(Kind::object)) return entry.described() + " is not an object with key and value";
    const JsonValue* key = nullptr;
    const JsonValue* value = nullptr;
    const JsonValue* values = nullptr;
    for (size_t i = 0; i < entry.items.size(); ++i) {
      const std::string& name = entry.names[i];
      if (name == "formatted") continue;
      if (name == "elements")
        return "this is the dump of a whole map; keep only the list under \"elements\"";
      const JsonValue** place = name == "key"      ? &key
                                : name == "value"  ? &value
                                : name == "values" ? &values
                                                   : nullptr;
      if (place == nullptr) return unknown_field(name, "key, value, values and formatted");
      if (*place != nullptr) return "it has two fields named " + name;
      *place = &entry.items[i];
    }
    ++count_;
    const size_t key_at = keys_.size();
    keys_.resize(key_at + layout_.key.size);
    std::string problem = put_key(key, std::span(keys_).subspan(key_at));
    if (!problem.empty()) return problem;

    const size_t value_at = values_.size();
    values_.resize(value_at + map_.user_value_size());
    const std::span<uint8_t> stored = std::span(values_).subspan(value_at);
    if (layout_.value.section) map_.user_lookup(&keys_[key_at], stored.data(), 0);
    if (value != nullptr && values != nullptr) return "it has both value and values";
    if (value != nullptr) return put_value(*value, stored);
    if (values != nullptr) return put_values(*values, stored);
    return "it has no value";
  }

  size_t count() const { return count_; }
  std::span<const uint8_t> key(size_t index) const {
    return std::span(keys_).subspan(index * layout_.key.size, layout_.key.size);
  }
  std::span<const uint8_t> value(size_t index) const {
    return std::span(values_).subspan(index * map_.user_value_size(), map_.user_value_size());
  }

 private:
  static std::string unknown_field(const std::string& name, std::string_view known) {
    return fmt::format("unknown field {}; known are {}", json_quote(name.substr(0, 40)), known);
  }

  std::string put_key(const JsonValue* key, std::span<uint8_t> out) {
    if (key != nullptr) return put(*key, layout_.key, out);
    // bpftool's output by type leaves out the key of a data section, which has no type.
    const bool only_one = map_.spec().max_entries == 1 && map_.spec().type == BPF_MAP_TYPE_ARRAY;
    return only_one ? "" : "it has no key";
  }

  std::string put_value(const JsonValue& value, std::span<uint8_t> out) {
    std::string problem = put(value, layout_.value, out.first(layout_.value.size));
    for (uint32_t cpu = 1; problem.empty() && cpu < layout_.cpus; ++cpu)
      std::copy_n(out.begin(), layout_.stride, out.begin() + cpu * size_t{layout_.stride});
    return problem;
  }

  std::string put_values(const JsonValue& values, std::span<uint8_t> out) {
    if (layout_.cpus == 0)
      return fmt::format("it has values for CPUs, but map {} is a {} with one value for all",
                         map_.spec().name, type_name(map_));
    if (!values.is(Kind::list)) return values.described() + " is given for values, not a list";
    std::vector<bool> given(layout_.cpus);
    for (const JsonValue& item : values.items) {
      std::string problem = put_cpu(item, given, out);
      if (!problem.empty()) return problem;
    }
    return "";
  }

  std::string put_cpu(const JsonValue& item, std::vector<bool>& given, std::span<uint8_t> out) {
    if (!item.is(Kind::object)) return item.described() + " in values is not an object";
    const JsonValue* cpu = nullptr;
    const JsonValue* value = nullptr;
    for (size_t i = 0; i < item.items.size(); ++i) {
      const std::string& name = item.names[i];
      if (name != "cpu" && name != "value") return unknown_field(name, "cpu and value");
      (name == "cpu" ? cpu : value) = &item.items[i];
    }
    if (cpu == nullptr || value == nullptr) return "one of its values lacks cpu or value";
    if (!cpu->is(Kind::integer) || cpu->negative || cpu->number >= layout_.cpus)
      return fmt::format("cpu {} does not exist; map {} has values for {} CPUs, from 0",
                         cpu->described(), map_.spec().name, layout_.cpus);
    if (given[cpu->number]) return fmt::format("cpu {} is given twice", cpu->number);
    given[cpu->number] = true;
    std::string problem =
        put(*value, layout_.value, out.subspan(cpu->number * layout_.stride, layout_.value.size));
    return problem.empty() ? "" : fmt::format("cpu {}: {}", cpu->number, problem);
  }

  std::string put(const JsonValue& given, const Field& field, std::span<uint8_t> out) {
    if (encode_bytes(given, out)) return "";
    const bool bytes_meant = given.is(Kind::list) && (field.type_id == 0 || holds_hex_texts(given));
    if (field.type_id != 0 && !(bytes_meant && given.items.size() != out.size())) {
      const auto done = encode_btf(layout_.types, field.type_id, given, out);
      if (done) return "";
      return fmt::format("{}{}: {}", field.name, done.error().path, done.error().text);
    }
    if (given.is(Kind::list)) return wrong_bytes(given, field);
    const bool machine_integer = field.size <= 8 && (field.size & (field.size - 1)) == 0;
    if (machine_integer && (given.is(Kind::integer) || given.is(Kind::text))) {
      const auto done = encode_integer(given, out);
      return done ? "" : fmt::format("{}: {}", field.name, done.error().text);
    }
    return fmt::format("{} is {}; map {} without BTF wants a list of {} bytes, such as \"0x0a\"",
                       field.name, given.described(), map_.spec().name, field.size);
  }

  static bool holds_hex_texts(const JsonValue& list) {
    return !list.items.empty() &&
           std::all_of(list.items.begin(), list.items.end(), [](const JsonValue& item) {
             return item.is(Kind::text) && parse_hex(item.text).has_value();
           });
  }

  std::string wrong_bytes(const JsonValue& list, const Field& field) const {
    if (list.items.size() != field.size)
      return fmt::format("{} has {} bytes, map {} has {}s of {} bytes", field.name,
                         list.items.size(), map_.spec().name, field.name, field.size);
    const auto bad = std::find_if(list.items.begin(), list.items.end(), [](const JsonValue& item) {
      uint8_t byte;
      return !encode_bytes({.kind = Kind::list, .items = {item}}, {&byte, 1});
    });
    return fmt::format("{}: {} is not a byte, which is \"0x00\" to \"0xff\" or 0 to 255",
                       field.name, bad->described());
  }

  vm::Map& map_;
  const Layout layout_;
  size_t count_ = 0;
  Bytes keys_;
  Bytes values_;
};

std::string refusal(const vm::Map& map, int error) {
  const vm::MapSpec& spec = map.spec();
  const bool array = spec.type == BPF_MAP_TYPE_ARRAY || spec.type == BPF_MAP_TYPE_PERCPU_ARRAY;
  if (error == -E2BIG && array)
    return fmt::format("key is out of range, array {} has {} entries from 0", spec.name,
                       spec.max_entries);
  if (error == -E2BIG || error == -ENOSPC)
    return fmt::format("map {} is full at {} entries", spec.name, spec.max_entries);
  if (error == -EINVAL && spec.type == BPF_MAP_TYPE_LPM_TRIE)
    return fmt::format("the prefix length in key is above the {} bits of map {}",
                       (spec.key_size - 4) * 8, spec.name);
  return fmt::format("map {} refused the entry: {}", spec.name, std::strerror(-error));
}

// Writes entries and remembers how to take them back.
class Transaction {
 public:
  explicit Transaction(vm::Map& map) : map_(map) {}

  int write(const uint8_t* key, const uint8_t* value) {
    int error = map_.user_update(key, value, BPF_NOEXIST);
    if (error != -EEXIST) {
      if (error == 0) undo_.push_back({key, {}});
      return error;
    }
    Bytes before(map_.user_value_size());
    error = map_.user_lookup(key, before.data(), 0);
    // An array's slot is always there, even without an entry.
    if (error == -ENOENT) before.clear();
    if (error == 0 || error == -ENOENT) error = map_.user_update(key, value, BPF_ANY);
    if (error == 0) undo_.push_back({key, std::move(before)});
    return error;
  }

  void take_back() {
    for (; !undo_.empty(); undo_.pop_back()) {
      const Step& step = undo_.back();
      if (step.before.empty())
        map_.user_erase(step.key);
      else
        map_.user_update(step.key, step.before.data(), BPF_ANY);
    }
  }

 private:
  struct Step {
    const uint8_t* key;
    Bytes before;  // empty if the key was new
  };
  vm::Map& map_;
  std::vector<Step> undo_;
};

std::string hex_list(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string list = "[";
  list.reserve(bytes.size() * 7 + 2);
  for (const uint8_t byte : bytes) {
    if (list.size() > 1) list += ',';
    list += "\"0x";
    list += kDigits[byte >> 4];
    list += kDigits[byte & 15];
    list += '"';
  }
  return list + "]";
}

using Writer = std::function<bool(std::span<const uint8_t> bytes, std::string& out)>;

// "value" and what follows it, or "values" of all CPUs.
bool append_value(const Layout& layout, std::span<const uint8_t> value, const Writer& write,
                  std::string& out) {
  if (layout.cpus == 0) {
    out += "\"value\":";
    return write(value, out);
  }
  out += "\"values\":[";
  for (uint32_t cpu = 0; cpu < layout.cpus; ++cpu) {
    out += fmt::format("{}{{\"cpu\":{},\"value\":", cpu > 0 ? "," : "", cpu);
    if (!write(value.subspan(size_t{cpu} * layout.stride, layout.value.size), out)) return false;
    out += '}';
  }
  out += ']';
  return true;
}

// ,"formatted":{...}; nothing if the value has no type that bpftool prints.
std::string formatted(const Layout& layout, std::span<const uint8_t> key,
                      std::span<const uint8_t> value) {
  if (layout.value.type_id == 0) return "";
  std::string out = ",\"formatted\":{";
  if (layout.key.type_id != 0) {
    out += "\"key\":";
    if (!format_btf(layout.types, layout.key.type_id, key, out)) return "";
    out += ',';
  }
  const Writer by_type = [&](std::span<const uint8_t> bytes, std::string& text) {
    return format_btf(layout.types, layout.value.type_id, bytes, text);
  };
  return append_value(layout, value, by_type, out) ? out + "}" : "";
}

bool append_bytes(std::span<const uint8_t> bytes, std::string& out) {
  out += hex_list(bytes);
  return true;
}

std::string entry_text(const Layout& layout, std::span<const uint8_t> key,
                       std::span<const uint8_t> value) {
  std::string out = "{\"key\":" + hex_list(key) + ",";
  append_value(layout, value, append_bytes, out);
  return out + formatted(layout, key, value) + "}";
}

}  // namespace

Result<std::string> read_map_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (file == nullptr)
    return fail(ExitCode::bad_input, "{}: The map file can't be opened: {}.", path,
                std::strerror(errno));
  std::string text;
  std::vector<char> chunk(1 << 16);
  while (const size_t count = std::fread(chunk.data(), 1, chunk.size(), file.get()))
    text.append(chunk.data(), count);
  if (std::ferror(file.get()) != 0)
    return fail(ExitCode::bad_input, "{}: The map file can't be read: {}.", path,
                std::strerror(errno));
  return text;
}

Result<void> fill_map(vm::Map& map, const std::string& path) {
  const auto text = read_map_file(path);
  if (!text) return tl::unexpected(text.error());
  return fill_map_from_text(map, *text, path);
}

Result<void> fill_map_from_text(vm::Map& map, std::string_view text, const std::string& path) {
  const vm::MapSpec& spec = map.spec();
  if (holds_objects(spec.type))
    return fail(ExitCode::bad_input,
                "{}: Map {} is a {}, whose values are objects of the kernel that no file can name.",
                path, spec.name, type_name(map));
  if (map.frozen || (spec.flags & BPF_F_RDONLY) != 0)
    return fail(ExitCode::bad_input, "{}: Map {} is read-only for user space.", path, spec.name);

  EntryParser entries(map);
  const auto add = [&](const JsonValue& entry) { return entries.add(entry); };
  if (auto parsed = parse_entries(text, path, add); !parsed) return parsed;

  std::unordered_map<std::string_view, size_t> seen;
  seen.reserve(entries.count());
  for (size_t i = 0; i < entries.count(); ++i) {
    const auto [other, fresh] = seen.emplace(text_of(entries.key(i)), i);
    if (!fresh && text_of(entries.value(i)) != text_of(entries.value(other->second)))
      return fail(ExitCode::bad_input,
                  "{}: entry {}: it has the key of entry {}, but another value.", path, i + 1,
                  other->second + 1);
  }

  Transaction transaction(map);
  for (size_t i = 0; i < entries.count(); ++i) {
    const int error = transaction.write(entries.key(i).data(), entries.value(i).data());
    if (error == 0) continue;
    transaction.take_back();
    return fail(ExitCode::bad_input, "{}: entry {}: {}.", path, i + 1, refusal(map, error));
  }
  return {};
}

Result<std::string> dump_entry(vm::Map& map, std::span<const uint8_t> key) {
  Bytes value(map.user_value_size());
  if (const int error = map.user_lookup(key.data(), value.data(), 0); error != 0)
    return fail(ExitCode::expectation_failed, "Map {} has no entry under key {}: {}.",
                map.spec().name, hex_list(key), std::strerror(-error));
  return entry_text(Layout(map), key, value);
}

Result<std::string> dump_map(vm::Map& map) {
  const Layout layout(map);
  std::string out = "[";
  Bytes key(map.spec().key_size);
  Bytes next(map.spec().key_size);
  Bytes value(map.user_value_size());
  int error = map.next_key(nullptr, next.data());
  // Where programs delete entries meanwhile, the walk starts over, and would not end.
  uint64_t left = map.spec().max_entries;
  for (; error == 0; error = map.next_key(key.data(), next.data())) {
    if (left-- == 0) return out + "]";
    key.swap(next);
    const int missing = map.user_lookup(key.data(), value.data(), 0);
    // An empty slot, or an entry that a program deleted meanwhile.
    if (missing == -ENOENT) continue;
    if (missing != 0)
      return fail(ExitCode::run_time_fault, "Map {} can't be read: {}.", map.spec().name,
                  std::strerror(-missing));
    if (out.size() > 1) out += ',';
    out += entry_text(layout, key, value);
  }
  if (error != -ENOENT)
    return fail(ExitCode::run_time_fault, "The keys of map {} can't be listed: {}.",
                map.spec().name, std::strerror(-error));
  return out + "]";
}

}  // namespace xnic::sim

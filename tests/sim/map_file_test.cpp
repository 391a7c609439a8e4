// Map files against dumps that bpftool made of real maps (data/record_dumps): what was dumped must
// fill a map that dumps the same. Then the sentences of errors, all-or-nothing, and forged input.
#include "sim/map_file.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "vm/btf.h"

namespace xnic::sim {
namespace {

using Bytes = std::vector<uint8_t>;

std::string data_path(const std::string& name) { return XNIC_SOURCE "/tests/sim/data/" + name; }

std::string read_data(const std::string& name) {
  std::ifstream file(data_path(name), std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::shared_ptr<vm::Btf> read_btf() {
  const std::string blob = read_data("dumps.btf");
  return vm::Btf::parse({reinterpret_cast<const uint8_t*>(blob.data()), blob.size()});
}

uint32_t type_id(const vm::Btf& types, std::string_view name) {
  if (name.empty()) return 0;
  for (uint32_t id = 1; id < types.type_count(); ++id)
    if (types.type_name(id) == name) return id;
  ADD_FAILURE() << "no type " << name;
  return 0;
}

std::shared_ptr<vm::Map> make_map(vm::MapSpec spec, std::shared_ptr<const vm::Btf> types = nullptr,
                                  uint32_t cpus = 2) {
  const auto* row = vm::find_map_type(spec.type);
  EXPECT_EQ(row->check(spec), 0);
  auto map = row->create(spec, {.possible_cpus = cpus});
  EXPECT_TRUE(map);
  (*map)->btf = std::move(types);
  return *map;
}

// A map of dumps.bpf.c; "" stands for no type.
struct Recorded {
  const char* name;
  bpf_map_type type;
  uint32_t key_size;
  uint32_t value_size;
  uint32_t max_entries;
  const char* key_type;
  const char* value_type;
};

constexpr Recorded kRecorded[] = {
    {"things", BPF_MAP_TYPE_HASH, 8, 144, 4, "thing_key", "thing"},
    {"pairs", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 2, "__u32", "pair"},
    {"percpu_names", BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 2, "text4", "__s64"},
    {"counters", BPF_MAP_TYPE_ARRAY, 4, 8, 3, "__u32", "__u64"},
    {"names", BPF_MAP_TYPE_HASH, 4, 1, 3, "text4", "__s8"},
    {"protocols", BPF_MAP_TYPE_HASH, 4, 1, 3, "proto", "_Bool"},
    {"prefixes", BPF_MAP_TYPE_LPM_TRIE, 8, 4, 3, "prefix", "__u32"},
    {"dumps_data", BPF_MAP_TYPE_ARRAY, 4, 12, 1, "", ".data"},
    {"raw_hash", BPF_MAP_TYPE_HASH, 4, 6, 4, "", ""},
    {"raw_percpu", BPF_MAP_TYPE_PERCPU_HASH, 3, 4, 4, "", ""},
};

std::shared_ptr<vm::Map> make_recorded(const Recorded& row, std::shared_ptr<vm::Btf> types) {
  vm::MapSpec spec;
  spec.type = row.type;
  spec.key_size = row.key_size;
  spec.value_size = row.value_size;
  spec.max_entries = row.max_entries;
  spec.name = row.name;
  if (row.type == BPF_MAP_TYPE_LPM_TRIE) spec.flags = BPF_F_NO_PREALLOC;
  if (row.value_type[0] == '\0') return make_map(spec);
  spec.btf_key_type_id = type_id(*types, row.key_type);
  spec.btf_value_type_id = type_id(*types, row.value_type);
  return make_map(spec, types);
}

const Recorded& recorded(std::string_view name) {
  for (const Recorded& row : kRecorded)
    if (row.name == name) return row;
  ADD_FAILURE() << name;
  return kRecorded[0];
}

std::shared_ptr<vm::Map> hash_map(uint32_t key_size = 4, uint32_t value_size = 2,
                                  uint32_t max_entries = 3) {
  vm::MapSpec spec;
  spec.type = BPF_MAP_TYPE_HASH;
  spec.key_size = key_size;
  spec.value_size = value_size;
  spec.max_entries = max_entries;
  spec.name = "blocked";
  return make_map(spec);
}

std::string message(const Result<void>& result) { return result ? "" : result.error().message; }

std::string fill(vm::Map& map, std::string_view text) {
  const auto result = fill_map_from_text(map, text, "m.json");
  if (!result) {
    EXPECT_EQ(result.error().code, ExitCode::bad_input);
  }
  return message(result);
}

std::string dump(vm::Map& map) { return dump_map(map).value_or("no dump"); }

Bytes value_of(vm::Map& map, const Bytes& key) {
  Bytes value(map.user_value_size());
  EXPECT_EQ(map.user_lookup(key.data(), value.data(), 0), 0);
  return value;
}

TEST(MapFile, EveryDumpOfBpftoolFillsAMapThatDumpsTheSame) {
  for (const Recorded& row : kRecorded) {
    const auto map = make_recorded(row, read_btf());
    const std::string name = std::string("dump_") + row.name + ".json";
    EXPECT_EQ(message(fill_map(*map, data_path(name))), "");
    std::string expected = read_data(name);
    while (expected.ends_with('\n')) expected.pop_back();
    EXPECT_EQ(dump(*map), expected) << name;
  }
}

// Padding between members is not in bpftool's plain output, so raw bytes can't be compared.
std::string without_raw_bytes(const std::string& text) {
  std::string kept;
  constexpr std::string_view kMark = "\"formatted\":";
  for (size_t at = text.find(kMark); at != text.npos; at = text.find(kMark, at)) {
    const size_t end = text.find("\"key\":[\"0x", at);
    kept += text.substr(at, end - at);
    at += kMark.size();
  }
  return kept;
}

TEST(MapFile, PlainOutputByTypeFillsTheSameMap) {
  for (const char* name :
       {"things", "pairs", "percpu_names", "counters", "protocols", "prefixes", "dumps_data"}) {
    const auto map = make_recorded(recorded(name), read_btf());
    EXPECT_EQ(message(fill_map(*map, data_path(std::string("dump_") + name + ".plain"))), "");
    std::string expected = read_data(std::string("dump_") + name + ".json");
    while (expected.ends_with('\n')) expected.pop_back();
    const std::string ours = dump(*map);
    if (std::string_view(name) != "things") {
      EXPECT_EQ(ours, expected);
    }
    EXPECT_FALSE(without_raw_bytes(ours).empty());
    EXPECT_EQ(without_raw_bytes(ours), without_raw_bytes(expected)) << name;
  }
}

// Types whose values are bytes under a key, and not objects, devices or a queue.
bool holds_plain_values(bpf_map_type type) {
  switch (type) {
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_PERCPU_ARRAY:
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_LRU_HASH:
    case BPF_MAP_TYPE_LRU_PERCPU_HASH:
    case BPF_MAP_TYPE_LPM_TRIE:
      return true;
    default:
      return false;
  }
}

TEST(MapFile, EveryMapTypeDumpsWhatItWasFilledWith) {
  std::mt19937 random(7);
  for (const vm::MapType& row : vm::map_types()) {
    if (!holds_plain_values(row.type)) continue;
    const bool array = row.type == BPF_MAP_TYPE_ARRAY || row.type == BPF_MAP_TYPE_PERCPU_ARRAY;
    for (const uint32_t value_size : {1u, 7u, 8u, 13u}) {
      vm::MapSpec spec;
      spec.type = row.type;
      spec.key_size = array ? 4 : 6;
      spec.value_size = value_size;
      spec.max_entries = 9;
      if (row.type == BPF_MAP_TYPE_LPM_TRIE) spec.flags = BPF_F_NO_PREALLOC;
      const auto first = make_map(spec), second = make_map(spec);
      for (uint32_t i = 0; i < 9; ++i) {
        Bytes key(spec.key_size);
        std::memcpy(key.data(), &i, sizeof(i));
        if (!array) key[4] = static_cast<uint8_t>(random());
        Bytes value(first->user_value_size());
        for (size_t at = 0; at < value.size(); ++at)
          if (at % ((value_size + 7) / 8 * 8) < value_size)
            value[at] = static_cast<uint8_t>(random());
        ASSERT_EQ(first->user_update(key.data(), value.data(), BPF_ANY), 0) << row.name;
        ASSERT_EQ(value_of(*first, key), value);
      }
      const std::string text = dump(*first);
      EXPECT_EQ(fill(*second, text), "") << row.name;
      EXPECT_EQ(dump(*second), text) << row.name;
      Bytes key(spec.key_size);
      for (int step = first->next_key(nullptr, key.data()); step == 0;) {
        EXPECT_EQ(value_of(*first, key), value_of(*second, key)) << row.name;
        Bytes next(spec.key_size);
        step = first->next_key(key.data(), next.data());
        key = next;
      }
    }
  }
}

TEST(MapFile, BytesMayBeNumbersAndIntegersAreLittleEndian) {
  const auto map = hash_map();
  EXPECT_EQ(fill(*map, R"([{"key":[10,0,"0x0",66],"value":["0xff",1]},
                           {"key":16909060,"value":-2},
                           {"key":"0xa0b0c0d","value":65535}])"),
            "");
  EXPECT_EQ(value_of(*map, {10, 0, 0, 66}), (Bytes{0xff, 1}));
  EXPECT_EQ(value_of(*map, {4, 3, 2, 1}), (Bytes{0xfe, 0xff}));
  EXPECT_EQ(value_of(*map, {0xd, 0xc, 0xb, 0xa}), (Bytes{0xff, 0xff}));
}

// Queues and stacks have no keys to count entries by, and are not filled by files.
TEST(MapFile, TellsOfMapsWithoutKeys) {
  for (const bpf_map_type type : {BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK}) {
    vm::MapSpec spec;
    spec.type = type;
    spec.value_size = 2;
    spec.max_entries = 4;
    const auto map = make_map(spec);
    EXPECT_TRUE(fill_map_from_text(*map, "[]", "empty.json"));
    EXPECT_FALSE(fill_map_from_text(*map, R"([{"key": [], "value": [7, 8]}])", "one.json"));
    Bytes value(2);
    EXPECT_NE(map->pop(value.data()), 0) << "nothing was put in";
  }
}

TEST(MapFile, TheListMayBeTheElementsOfAnObject) {
  const auto map = hash_map();
  EXPECT_EQ(fill(*map, R"({"id":3,"owner":["a",{"elements":[1]}],
                           "elements":[{"key":1,"value":2}],"frozen":0})"),
            "");
  EXPECT_EQ(value_of(*map, {1, 0, 0, 0}), (Bytes{2, 0}));
}

TEST(MapFile, OneValueGoesToAllCpusAndUnnamedCpusGetZeros) {
  vm::MapSpec spec;
  spec.type = BPF_MAP_TYPE_PERCPU_HASH;
  spec.key_size = 1;
  spec.value_size = 2;
  spec.max_entries = 4;
  spec.name = "stats";
  const auto map = make_map(spec, nullptr, 3);
  EXPECT_EQ(fill(*map, R"([{"key":1,"value":[1,2]},
                           {"key":2,"values":[{"cpu":2,"value":[3,4]}]}])"),
            "");
  EXPECT_EQ(value_of(*map, {1}),
            (Bytes{1, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(value_of(*map, {2}),
            (Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(fill(*map, R"([{"key":1,"values":[{"cpu":3,"value":[1,2]}]}])"),
            "m.json: entry 1: cpu 3 does not exist; map stats has values for 3 CPUs, from 0.");
  EXPECT_EQ(fill(*map, R"([{"key":1,"values":[{"cpu":0,"value":1},{"cpu":0,"value":1}]}])"),
            "m.json: entry 1: cpu 0 is given twice.");
  EXPECT_EQ(fill(*map, R"([{"key":1,"values":[{"cpu":1,"value":[1]}]}])"),
            "m.json: entry 1: cpu 1: value has 1 bytes, map stats has values of 2 bytes.");
}

TEST(MapFile, VariablesThatAreNotNamedKeepTheirValue) {
  const auto map = make_recorded(recorded("dumps_data"), read_btf());
  EXPECT_EQ(fill(*map, R"([{"value":{".data":[{"global_a":1},{"global_b":[2,3]}]}}])"), "");
  EXPECT_EQ(fill(*map, R"([{"value":{"global_a":258}}])"), "");
  EXPECT_EQ(value_of(*map, {0, 0, 0, 0}), (Bytes{2, 1, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0}));
}

// Offsets are those that `bpftool btf dump file dumps.btf` gives for struct thing.
TEST(MapFile, MembersLieWhereBtfPutsThem) {
  const auto map = make_recorded(recorded("things"), read_btf());
  EXPECT_EQ(fill(*map, R"([{"key":{"address":["0x0a","0x00","0x00","0x01"]},
                            "value":{"delta":-1,"name":"eth0","on":true,"proto":"PROTO_NEG",
                                     "y":515,"f1":5,"f2":1,"f3":-1,"c":"A","wide":"WIDE_A"}}])"),
            "");
  Bytes expected(144);
  std::fill_n(&expected[8], 8, 0xff);
  std::memcpy(&expected[16], "eth0", 4);
  expected[27] = 1;
  std::memcpy(&expected[28], "\xfd\xff\xff\xff", 4);
  std::memcpy(&expected[50], "\x03\x02", 2);
  std::memcpy(&expected[56], "\x0d\x00\x1f", 3);
  expected[72] = 'A';
  std::memcpy(&expected[80], "\x90\x78\x56\x34\x12", 5);
  EXPECT_EQ(value_of(*map, {10, 0, 0, 1, 0, 0, 0, 0}), expected);
}

TEST(MapFile, ErrorsOfATypeNameTheMember) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"nope":1})", R"(value: struct thing has no member "nope")"},
      {R"({"in":{"b":32768}})", "value.in.b: 32768 is no signed integer of 16 bits"},
      {R"({"packets":-1})", "value.packets: -1 is no unsigned integer of 64 bits"},
      {R"({"ins":[{"a":1},{"a":256}]})", "value.ins[1].a: 256 is no unsigned integer of 8 bits"},
      {R"({"f1":8})", "value.f1: 8 is no unsigned integer of 3 bits"},
      {R"({"ins":[{"a":1}]})", "value.ins: a list of 1 is given for an array of 2"},
      {R"({"name":"much too long"})",
       R"(value.name: "much too long" is longer than the 8 characters of the array)"},
      {R"({"proto":"PROTO_X"})", R"(value.proto: "PROTO_X" is not an enumerator of enum proto)"},
      {R"({"u":{"word":1,"half":[2,0]}})",
       "value.u.half[0]: it contradicts another member that shares its bytes"},
      {R"({"packets":1.5})", "value.packets: 1.5 is no unsigned integer of 64 bits"},
      {"7", "value: 7 is given for struct thing of 144 bytes"},
      {R"(["0x01"])", "value has 1 bytes, map things has values of 144 bytes"},
  };
  for (const auto& [value, expected] : kCases) {
    const auto map = make_recorded(recorded("things"), read_btf());
    EXPECT_EQ(fill(*map, fmt::format(R"([{{"key":{{}},"value":{}}}])", value)),
              fmt::format("m.json: entry 1: {}.", expected));
    EXPECT_EQ(dump(*map), "[]");
  }
}

TEST(MapFile, ErrorsNameEntryAndFieldAndChangeNothing) {
  const std::string good = R"({"key":1,"value":1},)";
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"key":[1,2,3],"value":1})", "key has 3 bytes, map blocked has keys of 4 bytes"},
      {R"({"key":[1,2,3,256],"value":1})",
       R"(key: 256 is not a byte, which is "0x00" to "0xff" or 0 to 255)"},
      {R"({"key":[1,2,3,"4"],"value":1})",
       R"(key: "4" is not a byte, which is "0x00" to "0xff" or 0 to 255)"},
      {R"({"key":4294967296,"value":1})", "key: 4294967296 is no integer of 32 bits"},
      {R"({"key":1,"value":-32769})", "value: -32769 is no integer of 16 bits"},
      {R"({"key":1})", "it has no value"},
      {R"({"value":1})", "it has no key"},
      {R"({"key":1,"value":1,"valve":1})",
       R"(unknown field "valve"; known are key, value, values and formatted)"},
      {R"({"key":1,"key":1,"value":1})", "it has two fields named key"},
      {R"({"key":1,"values":[]})",
       "it has values for CPUs, but map blocked is a hash with one value for all"},
      {R"({"key":1,"value":{"a":1}})",
       R"(value is an object; map blocked without BTF wants a list of 2 bytes, such as "0x0a")"},
      {"17", "17 is not an object with key and value"},
      {R"({"elements":[]})",
       R"(this is the dump of a whole map; keep only the list under "elements")"},
      {R"({"key":1,"value":2})", "it has the key of entry 1, but another value"},
  };
  for (const auto& [entry, expected] : kCases) {
    const auto map = hash_map();
    EXPECT_EQ(fill(*map, "[" + good + entry + "]"), fmt::format("m.json: entry 2: {}.", expected));
    EXPECT_EQ(dump(*map), "[]") << entry;
  }
}

TEST(MapFile, BadJsonIsNamedWithLineAndColumn) {
  const auto map = hash_map();
  EXPECT_TRUE(fill(*map, "[{\"key\":1,\n  \"value\":}]").starts_with("m.json: line 2, column 11:"));
  EXPECT_NE(fill(*map, "").find("unexpected end of input"), std::string::npos);
  EXPECT_NE(fill(*map, "[\"\xff\"]").find("invalid string"), std::string::npos);
  for (const char* text : {"7", "{}", "\"x\"", R"({"elements":{}})"})
    EXPECT_EQ(fill(*map, text),
              "m.json: Expected a list of map entries, such as bpftool -j map "
              "dump writes.");
  EXPECT_NE(fill(*map, "key: 01 02  value: 03\nFound 1 element\n").find("bpftool -j map dump"),
            std::string::npos);
  EXPECT_EQ(message(fill_map(*map, "/nowhere/m.json")),
            "/nowhere/m.json: The map file can't be opened: No such file or directory.");
  EXPECT_EQ(message(fill_map(*map, "/")), "/: The map file can't be read: Is a directory.");
}

TEST(MapFile, AMapThatIsFullIsLeftAsItWas) {
  const auto map = hash_map();
  ASSERT_EQ(fill(*map, R"([{"key":1,"value":7},{"key":2,"value":8}])"), "");
  const std::string before = dump(*map);
  EXPECT_EQ(fill(*map, R"([{"key":2,"value":9},{"key":3,"value":1},{"key":1,"value":0},
                           {"key":4,"value":1}])"),
            "m.json: entry 4: map blocked is full at 3 entries.");
  EXPECT_EQ(dump(*map), before);
}

TEST(MapFile, KeysOutOfRangeAreRefused) {
  const auto counters = make_recorded(recorded("counters"), read_btf());
  EXPECT_EQ(fill(*counters, R"([{"key":0,"value":5},{"key":3,"value":1}])"),
            "m.json: entry 2: key is out of range, array counters has 3 entries from 0.");
  EXPECT_EQ(value_of(*counters, {0, 0, 0, 0}), Bytes(8));
  const auto prefixes = make_recorded(recorded("prefixes"), read_btf());
  EXPECT_EQ(fill(*prefixes, R"([{"key":{"length":24},"value":1},{"key":{"length":33},"value":1}])"),
            "m.json: entry 2: the prefix length in key is above the 32 bits of map prefixes.");
  EXPECT_EQ(dump(*prefixes), "[]");
}

TEST(MapFile, MapsThatAFileCannotFillAreRefused) {
  vm::MapSpec spec;
  spec.type = BPF_MAP_TYPE_PROG_ARRAY;
  spec.key_size = spec.value_size = 4;
  spec.max_entries = 1;
  spec.name = "calls";
  EXPECT_EQ(fill(*make_map(spec), R"([{"key":0,"value":3}])"),
            "m.json: Map calls is a prog_array, whose values are objects of the kernel that no "
            "file can name.");
  const auto frozen = hash_map();
  frozen->frozen = true;
  EXPECT_EQ(fill(*frozen, "[]"), "m.json: Map blocked is read-only for user space.");
}

TEST(MapFile, NestingWithoutEndIsRefused) {
  const auto map = hash_map();
  for (const char* unit : {"[", "{\"key\":", "[{\"key\":[", "{\"elements\":[", "{\"a\":["}) {
    std::string text = "[";
    for (int i = 0; i < 200'000; ++i) text += unit;
    EXPECT_NE(fill(*map, text).find("nested more than 64 deep"), std::string::npos) << unit;
  }
}

void mutate(std::string& text, std::mt19937& random) {
  constexpr std::string_view kPieces[] = {"[",    "]",     "{",    "}",       "\"", "0x",
                                          "-",    "9",     "e9",   ",",       ":",  "\\",
                                          "null", "\"\":", "\xff", "\"cpu\":"};
  for (size_t count = 1 + random() % 4; count > 0 && !text.empty(); --count) {
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, 1 + random() % 20);
        break;
      case 2:
        text.insert(at, kPieces[random() % std::size(kPieces)]);
        break;
      default:
        text.insert(at, text.substr(random() % text.size(), random() % 40));
    }
  }
}

// Whatever comes in, the answer is a filled map or one sentence and an untouched map.
TEST(MapFile, MutatedFilesAreTakenWholeOrNotAtAll) {
  std::mt19937 random(2026);
  uint32_t refused = 0;
  for (const char* ending : {".json", ".plain"})
    for (const char* name : {"things", "pairs", "percpu_names", "prefixes", "dumps_data"}) {
      const std::string original = read_data(std::string("dump_") + name + ending);
      for (int round = 0; round < 300; ++round) {
        const auto map = make_recorded(recorded(name), read_btf());
        const std::string before = dump(*map);
        std::string text = original;
        mutate(text, random);
        const std::string error = fill(*map, text);
        if (error.empty()) continue;
        ++refused;
        EXPECT_TRUE(error.starts_with("m.json: ") && error.ends_with('.')) << error;
        EXPECT_EQ(error.find('\n'), std::string::npos) << error;
        EXPECT_EQ(dump(*map), before);
      }
    }
  EXPECT_GT(refused, 1000u);
}

TEST(MapFile, ForgedBtfCannotReachOutsideOfTheMap) {
  std::mt19937 random(99);
  const std::string blob = read_data("dumps.btf");
  const auto honest = read_btf();
  uint32_t parsed = 0;
  for (int round = 0; round < 3000; ++round) {
    Bytes forged(blob.begin(), blob.end());
    for (size_t count = 1 + random() % 6; count > 0; --count) {
      const size_t at = 24 + random() % (forged.size() - 24);
      forged[at] = static_cast<uint8_t>(random() % 2 ? random() : random() % 96);
    }
    const auto types = vm::Btf::parse(forged);
    if (types == nullptr) continue;
    ++parsed;
    const Recorded& row = kRecorded[random() % 8];
    const auto pattern = make_recorded(row, honest);
    vm::MapSpec spec = pattern->spec();
    const auto map = make_map(spec, types);
    for (const char* ending : {".json", ".plain"})
      if (std::filesystem::exists(data_path(std::string("dump_") + row.name + ending)))
        fill(*map, read_data(std::string("dump_") + row.name + ending));
    EXPECT_TRUE(dump(*map).ends_with(']'));
  }
  EXPECT_GT(parsed, 500u);
}

}  // namespace
}  // namespace xnic::sim

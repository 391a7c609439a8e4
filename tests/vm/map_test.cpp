// The contract of vm/map.h, for every row of map_types(), and what each type adds to it.
#include "vm/map.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <random>
#include <set>

#include "tests/vm/map_type_printer.h"
#include "vm/maps/unfilled.h"
#include "vm/program.h"
#include "vm/verifier.h"

namespace xnic::vm {
namespace {

using Bytes = std::vector<uint8_t>;

class NoMaps : public MapResolver {
 public:
  std::shared_ptr<Map> map_by_fd(int) override { return nullptr; }
};

std::shared_ptr<Program> trivial_program(bpf_prog_type type, uint32_t id) {
  ProgramSpec spec;
  spec.type = type;
  spec.license = "GPL";
  bpf_insn zero{};
  zero.code = BPF_ALU64 | BPF_MOV | BPF_K;
  bpf_insn exit{};
  exit.code = BPF_JMP | BPF_EXIT;
  spec.instructions = {zero, exit};
  NoMaps maps;
  auto program = Verifier::verify(std::move(spec), {}, maps);
  if (!program) return nullptr;
  (*program)->id = id;
  return *program;
}

// Knows one descriptor: that of a program.
class OneProgram : public ObjectResolver {
 public:
  OneProgram() : fd_(memfd_create("program", MFD_CLOEXEC)) {}
  ~OneProgram() override { close(fd_); }
  std::shared_ptr<const Program> program_by_fd(int fd) override {
    return fd == fd_ ? program : nullptr;
  }
  int fd() const { return fd_; }
  std::shared_ptr<Program> program = trivial_program(BPF_PROG_TYPE_XDP, 77);

 private:
  int fd_;
};

class MapContract : public testing::TestWithParam<MapType> {
 protected:
  static constexpr uint32_t kEntries = 16;
  static constexpr uint32_t kCpus = 3;

  // The first combination of sizes and flags that the type takes.
  static MapSpec good_spec() {
    MapSpec spec;
    spec.type = GetParam().type;
    spec.max_entries = kEntries;
    for (uint32_t flags : {0u, uint32_t{BPF_F_NO_PREALLOC}})
      for (uint32_t key_size : {4u, 8u, 0u})
        for (uint32_t value_size : {12u, 4u, 0u}) {
          spec.flags = flags;
          spec.key_size = key_size;
          spec.value_size = value_size;
          if (GetParam().check(spec) == 0) return spec;
        }
    ADD_FAILURE() << "no spec is good for " << GetParam().name;
    return spec;
  }

  std::shared_ptr<Map> create(const MapSpec& spec, int memory_fd = -1) {
    EXPECT_EQ(GetParam().check(spec), 0);
    auto map = GetParam().create(spec, MapContext{kCpus, &objects_, memory_fd, 42});
    return map ? *map : nullptr;
  }

  // The i-th of the keys that a map of this spec can hold at once.
  static Bytes key(const MapSpec& spec, uint32_t i) {
    Bytes bytes(spec.key_size);
    const uint32_t full = (spec.key_size - 4) * 8;
    if (spec.type == BPF_MAP_TYPE_LPM_TRIE) {
      std::memcpy(bytes.data(), &full, 4);
      std::memcpy(bytes.data() + 4, &i, std::min<size_t>(4, spec.key_size - 4));
    } else {
      std::copy_n(reinterpret_cast<const uint8_t*>(&i), std::min<size_t>(4, bytes.size()),
                  bytes.begin());
    }
    return bytes;
  }

  Bytes value(const Map& map, uint32_t i) const {
    Bytes bytes(map.user_value_size(), static_cast<uint8_t>(i + 1));
    if (map.spec().type == BPF_MAP_TYPE_PROG_ARRAY) {
      const int fd = objects_.fd();
      std::memcpy(bytes.data(), &fd, 4);
    }
    return bytes;
  }

  // A program sees its CPU's value of a user-space value.
  static Bytes slot(const Map& map, const Bytes& user, uint32_t cpu) {
    const size_t stride = user.size() == map.spec().value_size ? 0 : user.size() / kCpus;
    const auto begin = user.begin() + static_cast<ptrdiff_t>(cpu * stride);
    return {begin, begin + map.spec().value_size};
  }

  OneProgram objects_;
};

// Types that hold any value under any key.
class KeyedMapContract : public MapContract {};

std::vector<MapType> keyed_types() {
  std::vector<MapType> types;
  for (const MapType& row : map_types()) {
    if (is_unfilled(row.type)) continue;
    switch (row.type) {
      case BPF_MAP_TYPE_QUEUE:
      case BPF_MAP_TYPE_STACK:
      case BPF_MAP_TYPE_BLOOM_FILTER:  // tests/vm/keyless_map_test.cpp
      case BPF_MAP_TYPE_CPUMAP:
      case BPF_MAP_TYPE_XSKMAP:            // tests/vm/redirect_map_test.cpp
      case BPF_MAP_TYPE_PERF_EVENT_ARRAY:  // tests/vm/events_kernel_test.cpp
      case BPF_MAP_TYPE_ARRAY_OF_MAPS:
      case BPF_MAP_TYPE_HASH_OF_MAPS:  // tests/vm/map_in_map_test.cpp
      case BPF_MAP_TYPE_RINGBUF:       // tests/vm/ringbuf_test.cpp
        break;
      default:
        types.push_back(row);
    }
  }
  return types;
}

TEST_P(MapContract, IsFoundByItsNumberAndNamedOnce) {
  ASSERT_NE(find_map_type(GetParam().type), nullptr);
  EXPECT_EQ(find_map_type(GetParam().type)->name, GetParam().name);
  EXPECT_EQ(std::ranges::count(map_types(), GetParam().name, &MapType::name), 1);
}

TEST_P(MapContract, RefusesASpecWithoutEntriesOrWithUnknownFlagsOrMapExtra) {
  MapSpec spec = good_spec();
  spec.max_entries = 0;
  EXPECT_EQ(GetParam().check(spec), -EINVAL);
  spec = good_spec();
  spec.flags |= 1u << 30;
  EXPECT_EQ(GetParam().check(spec), -EINVAL);
  spec = good_spec();
  spec.flags |= BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
  EXPECT_EQ(GetParam().check(spec), -EINVAL);
  spec = good_spec();
  spec.map_extra = spec.type == BPF_MAP_TYPE_BLOOM_FILTER ? 16 : 1;
  EXPECT_EQ(GetParam().check(spec), -EINVAL);
}

TEST_P(KeyedMapContract, ShowsUserSpaceWhatUserSpaceWrote) {
  const auto map = create(good_spec());
  ASSERT_NE(map, nullptr);
  for (uint32_t i = 0; i < kEntries; ++i)
    ASSERT_EQ(map->user_update(key(map->spec(), i).data(), value(*map, i).data(), BPF_ANY), 0);
  for (uint32_t i = 0; i < kEntries; ++i) {
    Bytes seen(map->user_value_size());
    ASSERT_EQ(map->user_lookup(key(map->spec(), i).data(), seen.data(), 0), 0);
    if (map->spec().type == BPF_MAP_TYPE_PROG_ARRAY) {
      EXPECT_EQ(std::memcmp(seen.data(), &objects_.program->id, 4), 0);
      EXPECT_EQ(map->program_at(i), objects_.program);
    } else {
      EXPECT_EQ(seen, value(*map, i));
      EXPECT_EQ(map->program_at(i), nullptr);
    }
  }
}

TEST_P(MapContract, RefusesLookupFlagsAndNonsenseUpdateFlags) {
  const auto map = create(good_spec());
  ASSERT_NE(map, nullptr);
  const Bytes first = key(map->spec(), 0);
  Bytes bytes = value(*map, 0);
  for (uint64_t flags : {uint64_t{BPF_F_LOCK}, uint64_t{3}, uint64_t{1} << 40}) {
    EXPECT_EQ(map->user_update(first.data(), bytes.data(), flags), -EINVAL) << flags;
    EXPECT_EQ(map->user_lookup(first.data(), bytes.data(), flags), -EINVAL) << flags;
    EXPECT_EQ(map->update(first.data(), bytes.data(), flags, 0), -EINVAL) << flags;
  }
}

TEST_P(KeyedMapContract, KeepsAPointerReadableAndInPlaceWhateverIsDeletedAndInserted) {
  const auto map = create(good_spec());
  ASSERT_NE(map, nullptr);
  if (map->spec().type == BPF_MAP_TYPE_PROG_ARRAY) {
    EXPECT_EQ(map->lookup(key(map->spec(), 0).data(), 0), nullptr);
    return;
  }
  for (uint32_t i = 0; i < kEntries; ++i)
    ASSERT_EQ(map->user_update(key(map->spec(), i).data(), value(*map, i).data(), BPF_ANY), 0);
  uint8_t* pointer = map->lookup(key(map->spec(), 5).data(), 2);
  ASSERT_NE(pointer, nullptr);
  EXPECT_EQ(Bytes(pointer, pointer + map->spec().value_size), slot(*map, value(*map, 5), 2));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(pointer) % 8, 0u);
  for (uint32_t i = 0; i < kEntries; ++i)
    if (i != 5) map->erase(key(map->spec(), i).data());
  for (uint32_t i = 6; i < kEntries; ++i)
    ASSERT_EQ(map->user_update(key(map->spec(), i).data(), value(*map, 99).data(), BPF_ANY), 0);
  EXPECT_EQ(map->lookup(key(map->spec(), 5).data(), 2), pointer);
  EXPECT_EQ(Bytes(pointer, pointer + map->spec().value_size), slot(*map, value(*map, 5), 2));
  map->erase(key(map->spec(), 5).data());
  // Under AddressSanitizer this read is the test.
  volatile uint8_t still_there = pointer[map->spec().value_size - 1];
  static_cast<void>(still_there);
}

TEST_P(KeyedMapContract, GivesEveryKeyOnceAndThenSaysSo) {
  const auto map = create(good_spec());
  ASSERT_NE(map, nullptr);
  std::set<Bytes> expected;
  for (uint32_t i = 0; i < kEntries; ++i) {
    expected.insert(key(map->spec(), i));
    ASSERT_EQ(map->user_update(key(map->spec(), i).data(), value(*map, i).data(), BPF_ANY), 0);
  }
  std::set<Bytes> seen;
  Bytes next(map->spec().key_size);
  const uint8_t* previous = nullptr;
  Bytes held;
  int error = 0;
  uint32_t steps = 0;
  while ((error = map->next_key(previous, next.data())) == 0 && steps++ < 2 * kEntries) {
    EXPECT_TRUE(seen.insert(next).second) << "a key came twice";
    held = next;
    previous = held.data();
  }
  EXPECT_EQ(error, -ENOENT);
  EXPECT_EQ(seen, expected);
}

TEST_P(KeyedMapContract, GivesTheSameOrderForTheSameHistory) {
  const auto one = create(good_spec());
  const auto two = create(good_spec());
  std::mt19937 random(7);
  for (int step = 0; step < 500; ++step) {
    const Bytes k = key(one->spec(), static_cast<uint32_t>(random() % (2 * kEntries)));
    if (random() % 2 != 0) {
      const Bytes v = value(*one, static_cast<uint32_t>(step));
      EXPECT_EQ(one->user_update(k.data(), v.data(), 0), two->user_update(k.data(), v.data(), 0));
    } else {
      EXPECT_EQ(one->erase(k.data()), two->erase(k.data()));
    }
    Bytes a(k.size()), b(k.size());
    ASSERT_EQ(one->next_key(k.data(), a.data()), two->next_key(k.data(), b.data()));
    ASSERT_EQ(a, b);
  }
}

TEST_P(MapContract, AnswersAnySpecWithAMapOrAnError) {
  std::mt19937 random(11);
  const uint32_t sizes[] = {0, 1, 4, 5, 8, 260, 261, 32768, 32769, 4u << 20, 1u << 31, ~0u};
  const auto any = [&] { return sizes[random() % std::size(sizes)]; };
  for (int i = 0; i < 3000; ++i) {
    MapSpec spec = good_spec();
    if (random() % 2 != 0) spec.key_size = any();
    if (random() % 2 != 0) spec.value_size = any();
    if (random() % 2 != 0) spec.max_entries = any();
    if (random() % 4 == 0) spec.flags ^= 1u << (random() % 32);
    const int error = GetParam().check(spec);
    EXPECT_LE(error, 0);
    if (error != 0) continue;
    const auto map = GetParam().create(spec, MapContext{kCpus, &objects_, -1, 1});
    if (!map) {
      EXPECT_LT(map.error(), 0);
    } else {
      const bool own_lists = (spec.flags & BPF_F_NO_COMMON_LRU) != 0;
      EXPECT_EQ((*map)->spec().max_entries,
                own_lists ? (spec.max_entries + kCpus - 1) / kCpus * kCpus : spec.max_entries);
    }
  }
}

// Ring buffers, perf event arrays and maps of maps have tests of their own: user space does not
// read there what it wrote.
bool is_store_of_values(const MapType& row) {
  return !is_unfilled(row.type) && row.type != BPF_MAP_TYPE_RINGBUF &&
         row.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY && row.type != BPF_MAP_TYPE_ARRAY_OF_MAPS &&
         row.type != BPF_MAP_TYPE_HASH_OF_MAPS;
}

std::vector<MapType> stores_of_values() {
  std::vector<MapType> rows;
  std::ranges::copy_if(map_types(), std::back_inserter(rows), is_store_of_values);
  return rows;
}

INSTANTIATE_TEST_SUITE_P(EveryType, MapContract, testing::ValuesIn(stores_of_values()),
                         [](const auto& row) { return std::string(row.param.name); });
INSTANTIATE_TEST_SUITE_P(EveryType, KeyedMapContract, testing::ValuesIn(keyed_types()),
                         [](const auto& row) { return std::string(row.param.name); });

std::shared_ptr<Map> make(bpf_map_type type, uint32_t key_size, uint32_t value_size,
                          uint32_t entries, uint32_t flags = 0, MapContext context = {}) {
  MapSpec spec;
  spec.type = type;
  spec.key_size = key_size;
  spec.value_size = value_size;
  spec.max_entries = entries;
  spec.flags = flags;
  const MapType* row = find_map_type(type);
  EXPECT_EQ(row->check(spec), 0);
  return *row->create(spec, context);
}

const uint8_t* bytes_of(const auto& object) { return reinterpret_cast<const uint8_t*>(&object); }

TEST(MapTable, KnowsNoTypeThatIsNotInIt) {
  EXPECT_EQ(find_map_type(BPF_MAP_TYPE_UNSPEC), nullptr);
  EXPECT_EQ(find_map_type(1000), nullptr);
}

TEST(Array, SharesItsBytesWithWhoeverMapsTheDescriptor) {
  const int fd = memfd_create("values", MFD_CLOEXEC);
  ASSERT_GE(fd, 0);
  const auto map =
      make(BPF_MAP_TYPE_ARRAY, 4, 12, 1000, BPF_F_MMAPABLE, {.possible_cpus = 1, .memory_fd = fd});
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 16384);  // 1000 values of 16 bytes, in whole pages
  auto* view =
      static_cast<uint8_t*>(mmap(nullptr, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  ASSERT_NE(static_cast<void*>(view), MAP_FAILED);
  const uint32_t index = 999;
  const uint8_t value[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  ASSERT_EQ(map->user_update(bytes_of(index), value, BPF_ANY), 0);
  EXPECT_EQ(std::memcmp(view + 999 * 16, value, sizeof(value)), 0);
  view[999 * 16 + 3] = 200;
  EXPECT_EQ(map->lookup(bytes_of(index), 0)[3], 200);
  munmap(view, 16384);
  close(fd);
}

TEST(Array, GivesItsValueForDirectAccessOnlyWhenItHasOneEntry) {
  const auto one = make(BPF_MAP_TYPE_ARRAY, 4, 12, 1);
  const uint32_t index = 0;
  EXPECT_EQ(one->direct_value().data(), one->lookup(bytes_of(index), 0));
  EXPECT_EQ(one->direct_value().size(), 12u);
  EXPECT_TRUE(make(BPF_MAP_TYPE_ARRAY, 4, 12, 2)->direct_value().empty());
  EXPECT_TRUE(make(BPF_MAP_TYPE_HASH, 4, 12, 1)->direct_value().empty());
}

TEST(PercpuMaps, ShowAProgramsUpdateOnItsCpuAlone) {
  for (const auto type : {BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH}) {
    const auto map = make(type, 4, 4, 4, 0, {.possible_cpus = 3});
    const uint32_t key = 1, value = 0xabcd;
    // Leaves dirty memory for the hash to reuse.
    const uint64_t dirty[3] = {~0ull, ~0ull, ~0ull};
    ASSERT_EQ(map->user_update(bytes_of(key), bytes_of(dirty), BPF_ANY), 0);
    const bool hash = map->erase(bytes_of(key)) == 0;
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(value), BPF_ANY, 1), 0);
    uint64_t seen[3];
    ASSERT_EQ(map->user_lookup(bytes_of(key), reinterpret_cast<uint8_t*>(seen), 0), 0);
    const uint64_t others = hash ? 0 : ~0ull;
    EXPECT_EQ(seen[0], others);
    EXPECT_EQ(static_cast<uint32_t>(seen[1]), value);
    EXPECT_EQ(seen[2], others);
    EXPECT_EQ(map->lookup(bytes_of(key), 3), nullptr);
  }
}

TEST(Hash, TakesUpdatesOfItsKeysWhenFullButNoNewKey) {
  const auto map = make(BPF_MAP_TYPE_HASH, 8, 8, 1000);
  for (uint64_t key = 0; key < 1000; ++key)
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(key), BPF_NOEXIST, 0), 0);
  const uint64_t known = 500, unknown = 1000;
  EXPECT_EQ(map->update(bytes_of(unknown), bytes_of(known), BPF_ANY, 0), -E2BIG);
  EXPECT_EQ(map->update(bytes_of(known), bytes_of(unknown), BPF_EXIST, 0), 0);
  ASSERT_EQ(map->erase(bytes_of(known)), 0);
  EXPECT_EQ(map->update(bytes_of(unknown), bytes_of(known), BPF_ANY, 0), 0);
}

TEST(Hash, LeavesTheOldValueBehindAPointerWhenTheKeyIsUpdated) {
  for (const uint32_t flags : {0u, uint32_t{BPF_F_NO_PREALLOC}}) {
    const auto map = make(BPF_MAP_TYPE_HASH, 4, 4, 4, flags);
    const uint32_t key = 1, before = 10, after = 20;
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(before), BPF_ANY, 0), 0);
    const uint8_t* old = map->lookup(bytes_of(key), 0);
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(after), BPF_ANY, 0), 0);
    EXPECT_EQ(std::memcmp(old, &before, 4), 0);
    EXPECT_EQ(std::memcmp(map->lookup(bytes_of(key), 0), &after, 4), 0);
  }
}

TEST(ProgArray, TakesOnlyProgramsOfTheTypeStoredFirst) {
  OneProgram objects;
  const auto map = make(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0, {.objects = &objects});
  const uint32_t index = 2, outside = 4;
  const int fd = objects.fd(), closed = 1 << 20;
  EXPECT_EQ(map->user_update(bytes_of(index), bytes_of(closed), BPF_ANY), -EBADF);
  ASSERT_EQ(map->user_update(bytes_of(index), bytes_of(fd), BPF_ANY), 0);
  EXPECT_EQ(map->program_at(index), objects.program);
  EXPECT_EQ(map->program_at(outside), nullptr);
  EXPECT_EQ(map->erase(bytes_of(outside)), -E2BIG);
  ASSERT_EQ(map->erase(bytes_of(index)), 0);
  EXPECT_EQ(map->erase(bytes_of(index)), -ENOENT);
  objects.program = trivial_program(BPF_PROG_TYPE_SCHED_CLS, 78);
  EXPECT_EQ(map->user_update(bytes_of(index), bytes_of(fd), BPF_ANY), -EINVAL);
}

struct Prefix4 {
  uint32_t length;
  uint8_t address[4];

  // As a number of `length` bits: what the prefix means, without its encoding.
  uint32_t bits() const {
    const uint32_t whole = uint32_t{address[0]} << 24 | uint32_t{address[1]} << 16 |
                           uint32_t{address[2]} << 8 | address[3];
    return length == 0 ? 0 : whole >> (32 - length);
  }
  bool covers(const Prefix4& other) const {
    if (length > other.length) return false;
    Prefix4 cut = other;
    cut.length = length;
    return cut.bits() == bits();
  }
};

TEST(LpmTrie, AgreesWithALinearSearchOverAllPrefixes) {
  std::mt19937 random(3);
  const auto any = [&] {
    // Few different bits, so that prefixes nest.
    Prefix4 prefix{static_cast<uint32_t>(random() % 33), {}};
    for (uint8_t& byte : prefix.address) byte = static_cast<uint8_t>(random() % 4 * 85);
    return prefix;
  };
  const auto map = make(BPF_MAP_TYPE_LPM_TRIE, 8, 4, 300, BPF_F_NO_PREALLOC);
  std::vector<std::pair<Prefix4, uint32_t>> model;
  for (uint32_t step = 0; step < 30000; ++step) {
    const Prefix4 key = any();
    const auto same = std::ranges::find_if(model, [&](const auto& entry) {
      return entry.first.length == key.length && entry.first.bits() == key.bits();
    });
    switch (random() % 4) {
      case 0: {
        const int expected = same == model.end() && model.size() == 300 ? -ENOSPC : 0;
        ASSERT_EQ(map->update(bytes_of(key), bytes_of(step), BPF_ANY, 0), expected);
        if (same != model.end())
          same->second = step;
        else if (expected == 0)
          model.emplace_back(key, step);
        break;
      }
      case 1:
        ASSERT_EQ(map->erase(bytes_of(key)), same == model.end() ? -ENOENT : 0);
        if (same != model.end()) model.erase(same);
        break;
      default: {
        const std::pair<Prefix4, uint32_t>* best = nullptr;
        for (const auto& entry : model)
          if (entry.first.covers(key) &&
              (best == nullptr || entry.first.length > best->first.length))
            best = &entry;
        const uint8_t* found = map->lookup(bytes_of(key), 0);
        ASSERT_EQ(found != nullptr, best != nullptr);
        if (best != nullptr) {
          ASSERT_EQ(std::memcmp(found, &best->second, 4), 0);
        }
      }
    }
  }
}

TEST(LpmTrie, HoldsAHundredThousandPrefixesAndFindsEach) {
  const auto map = make(BPF_MAP_TYPE_LPM_TRIE, 8, 4, 100000, BPF_F_NO_PREALLOC);
  const auto host = [](uint32_t i) {
    const uint32_t mixed = i * 2654435761u;
    Prefix4 prefix{32, {}};
    std::memcpy(prefix.address, &mixed, 4);
    return prefix;
  };
  for (uint32_t i = 0; i < 100000; ++i)
    ASSERT_EQ(map->update(bytes_of(host(i)), bytes_of(i), BPF_NOEXIST, 0), 0);
  for (uint32_t i = 0; i < 100000; ++i)
    ASSERT_EQ(std::memcmp(map->lookup(bytes_of(host(i)), 0), &i, 4), 0);
  for (uint32_t i = 0; i < 100000; ++i) ASSERT_EQ(map->erase(bytes_of(host(i))), 0);
  Prefix4 next;
  EXPECT_EQ(map->next_key(nullptr, reinterpret_cast<uint8_t*>(&next)), -ENOENT);
}

}  // namespace
}  // namespace xnic::vm

// What LRU maps promise on several CPUs, whichever keys they evict. With one CPU they evict what
// the kernel evicts: map_kernel_test.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "vm/map.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kCpus = 4;

const uint8_t* bytes_of(const uint32_t& value) { return reinterpret_cast<const uint8_t*>(&value); }

std::shared_ptr<Map> make(bpf_map_type type, uint32_t entries, uint32_t flags = 0,
                          uint32_t cpus = kCpus) {
  MapSpec spec;
  spec.type = type;
  spec.key_size = spec.value_size = 4;
  spec.max_entries = entries;
  spec.flags = flags;
  const MapType* row = find_map_type(type);
  EXPECT_EQ(row->check(spec), 0);
  return *row->create(spec, MapContext{.possible_cpus = cpus});
}

bool has(Map& map, uint32_t key) {
  std::vector<uint8_t> value(map.user_value_size());
  return map.user_lookup(bytes_of(key), value.data(), 0) == 0;
}

uint32_t size(Map& map) {
  uint32_t count = 0, key = 0;
  const uint8_t* from = nullptr;
  for (uint32_t next = 0; map.next_key(from, reinterpret_cast<uint8_t*>(&next)) == 0; ++count) {
    key = next;
    from = bytes_of(key);
  }
  return count;
}

class LruMap : public testing::TestWithParam<std::pair<bpf_map_type, uint32_t>> {
 protected:
  std::shared_ptr<Map> make_map(uint32_t entries) {
    return make(GetParam().first, entries, GetParam().second);
  }
};

TEST_P(LruMap, TakesEveryNewKeyAndNeverHoldsMoreThanItsEntries) {
  std::mt19937 random(1);
  for (const uint32_t entries : {1u, 4u, 7u, 64u, 1000u}) {
    const auto map = make_map(entries);
    for (uint32_t step = 0; step < 5000; ++step) {
      const auto key = static_cast<uint32_t>(random() % (3 * entries));
      const auto cpu = static_cast<uint32_t>(random() % kCpus);
      if (random() % 8 == 0) {
        map->erase(bytes_of(key));
        continue;
      }
      ASSERT_EQ(map->update(bytes_of(key), bytes_of(step), BPF_ANY, cpu), 0);
      const uint8_t* value = map->lookup(bytes_of(key), cpu);
      ASSERT_NE(value, nullptr) << "the key added last was evicted";
      ASSERT_EQ(std::memcmp(value, &step, 4), 0);
    }
    EXPECT_LE(size(*map), map->spec().max_entries);
    EXPECT_GT(size(*map), 0u);
  }
}

TEST_P(LruMap, KeepsAKeyThatAProgramLooksUpAllTheTime) {
  const auto map = make_map(256);
  const uint32_t used = 1u << 31;
  ASSERT_EQ(map->update(bytes_of(used), bytes_of(used), BPF_ANY, 1), 0);
  for (uint32_t key = 0; key < 10000; ++key) {
    ASSERT_NE(map->lookup(bytes_of(used), 1), nullptr) << "after " << key << " other keys";
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(key), BPF_ANY, 1), 0);
  }
}

TEST_P(LruMap, EvictsAKeyThatOnlyUserSpaceLooksUp) {
  const auto map = make_map(256);
  const uint32_t seen = 1u << 31;
  ASSERT_EQ(map->update(bytes_of(seen), bytes_of(seen), BPF_ANY, 1), 0);
  uint32_t others = 0;
  while (others < 1000 && has(*map, seen)) {
    ASSERT_EQ(map->update(bytes_of(others), bytes_of(others), BPF_ANY, 1), 0);
    ++others;
  }
  EXPECT_LT(others, 1000u);
}

INSTANTIATE_TEST_SUITE_P(
    EveryKind, LruMap,
    testing::Values(std::pair{BPF_MAP_TYPE_LRU_HASH, 0u},
                    std::pair{BPF_MAP_TYPE_LRU_HASH, uint32_t{BPF_F_NO_COMMON_LRU}},
                    std::pair{BPF_MAP_TYPE_LRU_PERCPU_HASH, 0u},
                    std::pair{BPF_MAP_TYPE_LRU_PERCPU_HASH, uint32_t{BPF_F_NO_COMMON_LRU}}),
    [](const auto& row) {
      return std::string(find_map_type(row.param.first)->name) +
             (row.param.second != 0 ? "_own_lists" : "_common_lists");
    });

TEST(LruHash, EvictsABatchOfSixteenAtTheFirstOverflowOf64EntriesOn2Cpus) {
  const auto map = make(BPF_MAP_TYPE_LRU_HASH, 64, 0, 2);
  for (uint32_t key = 0; key < 64; ++key)
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(key), BPF_ANY, 0), 0);
  EXPECT_EQ(size(*map), 64u);
  const uint32_t one_more = 64;
  ASSERT_EQ(map->update(bytes_of(one_more), bytes_of(one_more), BPF_ANY, 0), 0);
  EXPECT_EQ(size(*map), 49u);
}

TEST(LruHash, KeepsTheKeysOfOtherCpusWithListsOfItsOwn) {
  const auto map = make(BPF_MAP_TYPE_LRU_HASH, 14, BPF_F_NO_COMMON_LRU);
  EXPECT_EQ(map->spec().max_entries, 16u);
  for (uint32_t key = 0; key < 4; ++key)
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(key), BPF_ANY, 3), 0);
  for (uint32_t key = 100; key < 1100; ++key)
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(key), BPF_ANY, 0), 0);
  for (uint32_t key = 0; key < 4; ++key) EXPECT_TRUE(has(*map, key)) << key;
}

TEST(LruHash, TakesFreeRoomFromAnotherCpuBeforeItFails) {
  const auto map = make(BPF_MAP_TYPE_LRU_HASH, 4);
  for (uint32_t key = 0; key < 4; ++key)
    ASSERT_EQ(map->update(bytes_of(key), bytes_of(key), BPF_ANY, 0), 0);
  const uint32_t other = 9;
  EXPECT_EQ(map->update(bytes_of(other), bytes_of(other), BPF_ANY, 3), 0);
  EXPECT_TRUE(has(*map, other));
}

TEST(LruHash, ClearsOtherCpusValuesOfANewKey) {
  const auto map = make(BPF_MAP_TYPE_LRU_PERCPU_HASH, 1);
  const uint64_t dirty[kCpus] = {~0ull, ~0ull, ~0ull, ~0ull};
  const uint32_t first = 1, second = 2, value = 5;
  ASSERT_EQ(map->user_update(bytes_of(first), reinterpret_cast<const uint8_t*>(dirty), BPF_ANY), 0);
  ASSERT_EQ(map->update(bytes_of(second), bytes_of(value), BPF_ANY, 2), 0);
  uint64_t seen[kCpus];
  ASSERT_EQ(map->user_lookup(bytes_of(second), reinterpret_cast<uint8_t*>(seen), 0), 0);
  EXPECT_EQ(seen[0], 0u);
  EXPECT_EQ(seen[2], 5u);
  EXPECT_EQ(seen[3], 0u);
}

}  // namespace
}  // namespace xnic::vm

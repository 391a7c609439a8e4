// Maps without keys: queue, stack, bloom filter. What random sequences do there and in the kernel
// is compared in map_kernel_test.cpp.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "vm/map.h"

namespace xnic::vm {
namespace {

std::shared_ptr<Map> make(bpf_map_type type, uint32_t value_size, uint32_t entries,
                          uint64_t map_extra = 0) {
  MapSpec spec;
  spec.type = type;
  spec.value_size = value_size;
  spec.max_entries = entries;
  spec.map_extra = map_extra;
  const MapType* row = find_map_type(type);
  EXPECT_EQ(row->check(spec), 0);
  return *row->create(spec, MapContext{.seed = 5});
}

int push(Map& map, uint32_t value, uint64_t flags = BPF_ANY) {
  return map.push(reinterpret_cast<const uint8_t*>(&value), flags);
}

int peek(Map& map, uint32_t value) { return map.peek(reinterpret_cast<uint8_t*>(&value)); }

std::vector<uint32_t> pop_all(Map& map) {
  std::vector<uint32_t> values;
  uint32_t value = 0;
  while (map.pop(reinterpret_cast<uint8_t*>(&value)) == 0) values.push_back(value);
  EXPECT_EQ(value, 0u) << "an empty one zeroes the value";
  return values;
}

TEST(Queue, GivesTheOldestFirstAndDropsItToMakeRoom) {
  const auto queue = make(BPF_MAP_TYPE_QUEUE, 4, 3);
  for (const uint32_t value : {1u, 2u, 3u}) ASSERT_EQ(push(*queue, value), 0);
  EXPECT_EQ(push(*queue, 4), -E2BIG);
  EXPECT_EQ(push(*queue, 4, BPF_EXIST), 0);
  EXPECT_EQ(push(*queue, 5, BPF_NOEXIST), -EINVAL);
  EXPECT_EQ(pop_all(*queue), (std::vector<uint32_t>{2, 3, 4}));
  ASSERT_EQ(push(*queue, 6), 0);
  EXPECT_EQ(pop_all(*queue), std::vector<uint32_t>{6});
}

TEST(Stack, GivesTheNewestFirstAndDropsTheOldestToMakeRoom) {
  const auto stack = make(BPF_MAP_TYPE_STACK, 4, 3);
  for (const uint32_t value : {1u, 2u, 3u}) ASSERT_EQ(push(*stack, value), 0);
  EXPECT_EQ(push(*stack, 4), -E2BIG);
  EXPECT_EQ(push(*stack, 4, BPF_EXIST), 0);
  EXPECT_EQ(pop_all(*stack), (std::vector<uint32_t>{4, 3, 2}));
}

TEST(Queue, ShowsUserSpaceAPeekAsLookupAndAPopAsLookupAndDelete) {
  const auto queue = make(BPF_MAP_TYPE_QUEUE, 4, 3);
  const uint32_t in = 7;
  uint32_t out = 0;
  auto* room = reinterpret_cast<uint8_t*>(&out);
  ASSERT_EQ(queue->user_update(nullptr, reinterpret_cast<const uint8_t*>(&in), BPF_ANY), 0);
  EXPECT_EQ(queue->user_lookup(nullptr, room, 0), 0);
  EXPECT_EQ(out, 7u);
  EXPECT_EQ(queue->user_lookup_and_delete(nullptr, room, 0), 0);
  EXPECT_EQ(queue->user_lookup(nullptr, room, 0), -ENOENT);
  EXPECT_EQ(queue->lookup(nullptr, 0), nullptr);
  EXPECT_EQ(queue->erase(nullptr), -EINVAL);
}

TEST(BloomFilter, FindsAllThatWasPushedAndLittleElse) {
  for (const uint64_t hashes : {0, 1, 5, 15}) {
    const auto filter = make(BPF_MAP_TYPE_BLOOM_FILTER, 4, 1000, hashes);
    for (uint32_t value = 0; value < 1000; ++value) ASSERT_EQ(push(*filter, value), 0);
    for (uint32_t value = 0; value < 1000; ++value) ASSERT_EQ(peek(*filter, value), 0);
    int wrong = 0;
    for (uint32_t value = 1000; value < 11000; ++value) wrong += peek(*filter, value) == 0;
    // The theory of filters this full: 39 percent with one hash, at most 4 with 5, less with 15.
    EXPECT_LT(wrong, hashes == 1 ? 6500 : 700) << hashes;
    EXPECT_EQ(push(*filter, 1, BPF_EXIST), -EINVAL);
    uint32_t value = 1;
    EXPECT_EQ(filter->pop(reinterpret_cast<uint8_t*>(&value)), -EOPNOTSUPP);
  }
}

TEST(BloomFilter, TakesAnyNumberOfEntries) {
  const auto filter = make(BPF_MAP_TYPE_BLOOM_FILTER, 4, ~0u, 15);
  ASSERT_EQ(push(*filter, 1), 0);
  EXPECT_EQ(peek(*filter, 1), 0);
  EXPECT_EQ(peek(*filter, 2), -ENOENT);
}

}  // namespace
}  // namespace xnic::vm

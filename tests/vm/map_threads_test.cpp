// Maps under several threads at once. What must hold on any schedule: a key that stays in the map
// is found by every lookup, whatever is done to its neighbours; a value that nobody writes keeps
// its bytes; and a map holds as many entries as it was made for, when all is done.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <ostream>
#include <random>
#include <thread>
#include <vector>

#include "vm/map.h"

namespace xnic::vm {
namespace {

struct Kind {
  bpf_map_type type;
  const char* name;
  uint32_t flags;
};
std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }

constexpr uint32_t kStaying = 96;  // keys that are put in first and never leave
constexpr uint32_t kComing = 160;  // keys that come and go
constexpr uint32_t kEntries = kStaying + kComing;
constexpr uint32_t kCpus = 4;
constexpr int kRounds = 20'000;

class MapThreads : public testing::TestWithParam<Kind> {
 protected:
  using Key = std::array<uint8_t, 8>;

  MapThreads() {
    MapSpec spec;
    spec.type = GetParam().type;
    spec.key_size = sizeof(Key);
    spec.value_size = sizeof(uint64_t);
    // An LRU map may evict what it likes where it is full.
    spec.max_entries = is_lru() ? 8 * kEntries : kEntries;
    spec.flags = GetParam().flags;
    MapContext context;
    context.possible_cpus = kCpus;
    map_ = *find_map_type(spec.type)->create(spec, context);
    for (uint32_t i = 0; i < kStaying; ++i) EXPECT_EQ(update(key(i), value_of(i), 0), 0);
  }

  bool is_lru() const { return GetParam().type == BPF_MAP_TYPE_LRU_HASH; }

  // A host route for an LPM trie, four bytes of number for all others.
  Key key(uint32_t number) const {
    Key key{};
    const uint32_t length = 32;
    if (GetParam().type == BPF_MAP_TYPE_LPM_TRIE) {
      std::memcpy(key.data(), &length, sizeof(length));
      const uint32_t address = __builtin_bswap32(number * 37);
      std::memcpy(key.data() + 4, &address, sizeof(address));
    } else {
      std::memcpy(key.data(), &number, sizeof(number));
    }
    return key;
  }
  static uint64_t value_of(uint32_t number) { return number * 0x0101010101010101ull; }

  int update(const Key& key, uint64_t value, uint32_t cpu) {
    return map_->update(key.data(), reinterpret_cast<const uint8_t*>(&value), BPF_ANY, cpu);
  }
  const uint8_t* look_up(const Key& key, uint32_t cpu) {
    const DirectLookup direct = map_->direct_lookup();
    return direct.function(direct.table, key.data(), cpu);
  }

  std::shared_ptr<Map> map_;
};

TEST_P(MapThreads, FindAllThatStaysWhileOthersComeAndGo) {
  std::atomic<bool> done = false;
  std::atomic<uint64_t> missed = 0;
  std::atomic<uint64_t> wrong = 0;
  std::vector<std::thread> threads;
  for (uint32_t cpu = 0; cpu < 2; ++cpu) {
    threads.emplace_back([&, cpu] {
      std::mt19937 random(cpu);
      for (int round = 0; round < kRounds; ++round) {
        const Key other = key(kStaying + random() % kComing);
        if (random() % 2 == 0) {
          update(other, random(), cpu);
        } else {
          map_->erase(other.data());
        }
      }
      if (cpu == 0) done = true;
    });
  }
  for (uint32_t cpu = 2; cpu < kCpus; ++cpu) {
    threads.emplace_back([&, cpu] {
      std::mt19937 random(cpu);
      while (!done) {
        const uint32_t number = random() % kStaying;
        const uint8_t* value = look_up(key(number), 0);
        uint64_t found = 0;
        if (value != nullptr) std::memcpy(&found, value, sizeof(found));
        missed += value == nullptr;
        wrong += value != nullptr && found != value_of(number);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(missed, 0u);
  EXPECT_EQ(wrong, 0u);
}

TEST_P(MapThreads, FindAKeyWhileItsValueIsReplaced) {
  std::atomic<bool> done = false;
  std::atomic<uint64_t> missed = 0;
  std::vector<std::thread> threads;
  for (uint32_t cpu = 0; cpu < 2; ++cpu) {
    threads.emplace_back([&, cpu] {
      std::mt19937 random(cpu);
      for (int round = 0; round < kRounds; ++round) update(key(random() % kStaying), random(), cpu);
      if (cpu == 0) done = true;
    });
    threads.emplace_back([&, cpu] {
      std::mt19937 random(100 + cpu);
      while (!done) missed += look_up(key(random() % kStaying), cpu) == nullptr;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(missed, 0u);
}

TEST_P(MapThreads, HoldAsManyEntriesAsTheMapWasMadeFor) {
  std::vector<std::thread> threads;
  std::atomic<uint32_t> refused = 0;
  for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
    threads.emplace_back([&, cpu] {
      // Twice as many keys as fit, every thread its own.
      for (uint32_t i = cpu; i < 2 * kComing; i += kCpus)
        refused += update(key(kStaying + i), 0, cpu) != 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!is_lru()) EXPECT_EQ(refused, kComing);
  uint32_t entries = 0;
  Key at{};
  for (bool first = true; map_->next_key(first ? nullptr : at.data(), at.data()) == 0; ++entries)
    first = false;
  EXPECT_EQ(entries, is_lru() ? kStaying + 2 * kComing : kEntries);
}

INSTANTIATE_TEST_SUITE_P(
    OfManyKinds, MapThreads,
    testing::Values(Kind{BPF_MAP_TYPE_HASH, "hash", 0},
                    Kind{BPF_MAP_TYPE_HASH, "hash_no_prealloc", BPF_F_NO_PREALLOC},
                    Kind{BPF_MAP_TYPE_PERCPU_HASH, "percpu_hash", 0},
                    Kind{BPF_MAP_TYPE_LRU_HASH, "lru_hash", 0},
                    Kind{BPF_MAP_TYPE_LPM_TRIE, "lpm_trie", BPF_F_NO_PREALLOC}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace xnic::vm

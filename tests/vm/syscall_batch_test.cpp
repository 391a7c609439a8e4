// Batch commands and lookup-and-delete, held against the running kernel: answers, counts, and the
// entries that a whole walk gives.
#include <algorithm>
#include <array>
#include <map>

#include "tests/vm/two_sides.h"

namespace xnic::vm {
namespace {

using test::address_of;
using test::Side;

struct BatchKind {
  bpf_map_type type;
  const char* name;
  uint32_t key_size;
  uint32_t flags;
};
void PrintTo(const BatchKind& kind, std::ostream* out) { *out << kind.name; }

class Batch : public test::TwoKernels, public testing::WithParamInterface<BatchKind> {
 protected:
  static constexpr uint32_t kEntries = 20;

  void SetUp() override {
    TwoKernels::SetUp();
    if (IsSkipped()) return;
    // LRU maps evict the same keys only where both sides add them on the same CPU.
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    for (Side* side : {&ours_, &theirs_}) {
      map_[side] = side->map(GetParam().type, GetParam().key_size, 8, kEntries, GetParam().flags);
      ASSERT_GE(map_[side], 0);
    }
    const bool per_cpu = GetParam().type == BPF_MAP_TYPE_PERCPU_HASH ||
                         GetParam().type == BPF_MAP_TYPE_PERCPU_ARRAY ||
                         GetParam().type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
    value_size_ = per_cpu ? 8 * test::real_possible_cpus() : 8;
    keys_.resize(size_t{GetParam().key_size} * kEntries);
    values_.resize(size_t{value_size_} * kEntries);
    for (uint32_t i = 0; i < kEntries; i++) {
      uint8_t* key = &keys_[size_t{i} * GetParam().key_size];
      if (GetParam().type == BPF_MAP_TYPE_LPM_TRIE) *key = 32, key += 4;
      *key = static_cast<uint8_t>(i);
      for (uint32_t at = 0; at < value_size_; at += 8) {
        values_[size_t{i} * value_size_ + at] = static_cast<uint8_t>(i + 100 + at);
      }
    }
  }

  bpf_attr request(Side& side, uint32_t count) {
    bpf_attr attr{};
    attr.batch.map_fd = static_cast<uint32_t>(map_[&side]);
    attr.batch.keys = address_of(keys_.data());
    attr.batch.values = address_of(values_.data());
    attr.batch.count = count;
    return attr;
  }
  // The answer and the count that comes back, in one number.
  static long with_count(Side& side, uint32_t command, bpf_attr attr) {
    const long answer = side.host.bpf(command, attr);
    return answer * 1000 - static_cast<long>(attr.batch.count);
  }
  void fill() {
    same("fill",
         [&](Side& s) { return with_count(s, BPF_MAP_UPDATE_BATCH, request(s, kEntries)); });
  }

  std::map<Side*, int> map_;
  uint32_t value_size_ = 0;
  test::Bytes keys_;
  test::Bytes values_;
};

TEST_P(Batch, WalksAllEntriesOnceInBatchesOfAnySize) {
  fill();
  for (const uint32_t size : {20u, 21u, 7u, 100u}) {
    for (const uint32_t command : {BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_BATCH}) {
      std::map<test::Bytes, test::Bytes> seen[2];
      const auto walk = [&](Side& s) {
        std::array<uint8_t, 64> position{};
        test::Bytes keys(size_t{size} * GetParam().key_size);
        test::Bytes values(size_t{size} * value_size_);
        auto& entries = seen[s.emulated != nullptr ? 0 : 1];
        long answer = 0;
        for (int turn = 0; answer == 0 && turn < 100; turn++) {
          bpf_attr attr = request(s, size);
          attr.batch.in_batch = turn == 0 ? 0 : address_of(position.data());
          attr.batch.out_batch = address_of(position.data());
          attr.batch.keys = address_of(keys.data());
          attr.batch.values = address_of(values.data());
          answer = s.host.bpf(command, attr);
          if (answer != 0 && answer != -ENOENT) return answer;
          for (uint32_t i = 0; i < attr.batch.count; i++) {
            const auto key = keys.begin() + i * GetParam().key_size;
            const auto value = values.begin() + i * value_size_;
            const bool fresh = entries
                                   .emplace(test::Bytes(key, key + GetParam().key_size),
                                            test::Bytes(value, value + value_size_))
                                   .second;
            if (!fresh) return -1000L;
          }
        }
        return answer;
      };
      same(fmt::format("command {}, batches of {}", command, size), walk);
      EXPECT_EQ(seen[0], seen[1]) << command << " by " << size;
      fill();
    }
  }
}

TEST_P(Batch, StopsWhereAnElementIsRefused) {
  fill();
  same("update again",
       [&](Side& s) { return with_count(s, BPF_MAP_UPDATE_BATCH, request(s, kEntries)); });
  same("delete some", [&](Side& s) { return with_count(s, BPF_MAP_DELETE_BATCH, request(s, 5)); });
  same("delete from the same key again",
       [&](Side& s) { return with_count(s, BPF_MAP_DELETE_BATCH, request(s, 8)); });
  same("delete the rest", [&](Side& s) {
    bpf_attr attr = request(s, kEntries);
    attr.batch.keys = address_of(&keys_[size_t{5} * GetParam().key_size]);
    attr.batch.count = 15;
    return with_count(s, BPF_MAP_DELETE_BATCH, attr);
  });
  same("one key too many", [&](Side& s) {
    test::Bytes keys(size_t{GetParam().key_size} * (kEntries + 5));
    test::Bytes values(size_t{value_size_} * (kEntries + 5));
    for (uint32_t i = 0; i < kEntries + 5; i++) {
      uint8_t* key = &keys[size_t{i} * GetParam().key_size];
      if (GetParam().type == BPF_MAP_TYPE_LPM_TRIE) *key = 32, key += 4;
      *key = static_cast<uint8_t>(i);
    }
    bpf_attr attr = request(s, kEntries + 5);
    attr.batch.keys = address_of(keys.data());
    attr.batch.values = address_of(values.data());
    return with_count(s, BPF_MAP_UPDATE_BATCH, attr);
  });
}

TEST_P(Batch, AnswersOddRequestsAlike) {
  fill();
  std::array<uint8_t, 64> position{};
  using Change = std::function<void(bpf_attr&)>;
  const Change changes[] = {
      [](bpf_attr&) {},
      [](bpf_attr& a) { a.batch.count = 0; },
      [](bpf_attr& a) { a.batch.elem_flags = 1; },
      [](bpf_attr& a) { a.batch.elem_flags = BPF_F_LOCK; },
      [](bpf_attr& a) { a.batch.elem_flags = 1ull << 40; },
      [](bpf_attr& a) { a.batch.flags = 1; },
      [](bpf_attr& a) { a.batch.map_fd = 100000; },
      [](bpf_attr& a) { a.batch.map_fd = 1; },
      [](bpf_attr& a) { a.batch.keys = 0; },
  };
  for (const uint32_t command : {BPF_MAP_LOOKUP_BATCH, BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH,
                                 BPF_MAP_LOOKUP_AND_DELETE_BATCH}) {
    for (size_t i = 0; i < std::size(changes); i++) {
      same(fmt::format("command {}, change {}", command, i), [&](Side& s) {
        test::Bytes values(values_.size());
        test::Bytes keys = keys_;
        bpf_attr attr = request(s, kEntries);
        if (command != BPF_MAP_UPDATE_BATCH) attr.batch.values = address_of(values.data());
        attr.batch.keys = address_of(keys.data());
        attr.batch.out_batch = address_of(position.data());
        changes[i](attr);
        return s.bpf(command, attr);
      });
    }
    fill();
  }
}

TEST_P(Batch, TakesAnEntryAwayAndGivesItsValueAsLinuxDoes) {
  fill();
  for (const uint64_t flags : {0ull, 1ull, 4ull}) {
    for (const int turn : {1, 2}) {
      test::Bytes given[2];
      const long answer = same(fmt::format("flags {}, turn {}", flags, turn), [&](Side& s) {
        test::Bytes& value = given[s.emulated != nullptr ? 0 : 1];
        value.resize(value_size_);
        bpf_attr attr{};
        attr.map_fd = static_cast<uint32_t>(map_[&s]);
        attr.key = address_of(keys_.data());
        attr.value = address_of(value.data());
        attr.flags = flags;
        const long taken = s.bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, attr);
        return taken;
      });
      EXPECT_EQ(given[0], given[1]) << answer;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Maps, Batch,
    testing::Values(BatchKind{BPF_MAP_TYPE_HASH, "hash", 4, 0},
                    BatchKind{BPF_MAP_TYPE_HASH, "hash_no_prealloc", 8, BPF_F_NO_PREALLOC},
                    BatchKind{BPF_MAP_TYPE_PERCPU_HASH, "percpu_hash", 4, 0},
                    BatchKind{BPF_MAP_TYPE_LRU_HASH, "lru_hash", 4, 0},
                    BatchKind{BPF_MAP_TYPE_LRU_HASH, "lru_hash_own_lists", 4, BPF_F_NO_COMMON_LRU},
                    BatchKind{BPF_MAP_TYPE_LRU_PERCPU_HASH, "lru_percpu_hash", 4, 0},
                    BatchKind{BPF_MAP_TYPE_ARRAY, "array", 4, 0},
                    BatchKind{BPF_MAP_TYPE_PERCPU_ARRAY, "percpu_array", 4, 0},
                    BatchKind{BPF_MAP_TYPE_LPM_TRIE, "lpm_trie", 8, BPF_F_NO_PREALLOC}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace xnic::vm

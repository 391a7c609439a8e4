// bpf_spin_lock and bpf_timer in map values, the same bpf(2) on the emulated kernel and the real
// one: which maps may have them, and what user space reads after it wrote.
#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

// BTF with a few value types, by name.
class Types {
 public:
  Types() : btf_(btf__new_empty()) {
    word_ = btf__add_int(btf_, "unsigned int", 4, 0);
    wide_ = btf__add_int(btf_, "unsigned long", 8, 0);
    lock_ = btf__add_struct(btf_, "bpf_spin_lock", 4);
    btf__add_field(btf_, "val", word_, 0, 0);
    timer_ = btf__add_struct(btf_, "bpf_timer", 16);
    btf__add_field(btf_, "__opaque", wide_, 0, 0);
    btf__add_field(btf_, "__opaque2", wide_, 64, 0);
    locked_ = value({{"a", word_, 0}, {"lock", lock_, 4}, {"b", wide_, 8}, {"c", wide_, 16}});
    timed_ = value({{"a", wide_, 0}, {"timer", timer_, 8}});
    both_ = value({{"lock", lock_, 0}, {"a", word_, 4}, {"timer", timer_, 8}});
    plain_ = value({{"a", wide_, 0}, {"b", wide_, 8}, {"c", wide_, 16}});
    // Linux finds no timer where it is not aligned.
    unaligned_ = value({{"timer", timer_, 4}});
    nested_ = value({{"a", wide_, 0},
                     {"inner", value({{"x", word_, 0}, {"l", lock_, 4}}, 8), 8},
                     {"c", wide_, 16}});
  }
  ~Types() { btf__free(btf_); }
  Types(const Types&) = delete;
  Types& operator=(const Types&) = delete;

  Descriptor load(BpfHost& host) const {
    uint32_t size = 0;
    const void* blob = btf__raw_data(btf_, &size);
    bpf_attr attributes{};
    attributes.btf = address_of(blob);
    attributes.btf_size = size;
    return Descriptor(host.bpf(BPF_BTF_LOAD, attributes));
  }

  int word() const { return word_; }
  std::vector<int> values() const { return {locked_, timed_, both_, plain_, unaligned_, nested_}; }

 private:
  struct Member {
    const char* name;
    int type;
    uint32_t offset;
  };
  int value(const std::vector<Member>& members, uint32_t size = 24) {
    const int id = btf__add_struct(btf_, "value", size);
    for (const Member& member : members)
      btf__add_field(btf_, member.name, member.type, member.offset * 8, 0);
    return id;
  }

  btf* btf_;
  int word_, wide_, lock_, timer_;
  int locked_, timed_, both_, plain_, unaligned_, nested_;
};

constexpr bpf_map_type kMapTypes[] = {
    BPF_MAP_TYPE_HASH,        BPF_MAP_TYPE_ARRAY,           BPF_MAP_TYPE_LRU_HASH,
    BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
    BPF_MAP_TYPE_QUEUE,       BPF_MAP_TYPE_BLOOM_FILTER,    BPF_MAP_TYPE_LPM_TRIE,
    BPF_MAP_TYPE_DEVMAP,      BPF_MAP_TYPE_CPUMAP,
};

class ValueFields : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  struct MapRequest {
    bpf_map_type type;
    uint32_t flags;
    int key_type;
    int value_type;
  };
  static Descriptor create(BpfHost& host, int btf, const MapRequest& request) {
    const bool keyless =
        request.type == BPF_MAP_TYPE_QUEUE || request.type == BPF_MAP_TYPE_BLOOM_FILTER;
    bpf_attr attributes{};
    attributes.map_type = request.type;
    attributes.key_size = keyless ? 0 : request.type == BPF_MAP_TYPE_LPM_TRIE ? 8 : 4;
    attributes.value_size =
        request.type == BPF_MAP_TYPE_DEVMAP || request.type == BPF_MAP_TYPE_CPUMAP ? 4 : 24;
    attributes.max_entries = 4;
    attributes.map_flags = request.flags;
    if (request.type == BPF_MAP_TYPE_LPM_TRIE) attributes.map_flags |= BPF_F_NO_PREALLOC;
    attributes.btf_fd = static_cast<uint32_t>(btf);
    attributes.btf_key_type_id = static_cast<uint32_t>(request.key_type);
    attributes.btf_value_type_id = static_cast<uint32_t>(request.value_type);
    return Descriptor(host.bpf(BPF_MAP_CREATE, attributes));
  }

  static long element(BpfHost& host, bpf_cmd command, int map, Bytes& value, uint64_t flags) {
    const uint32_t key = 1;
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(map);
    attributes.key = address_of(&key);
    attributes.value = address_of(value.data());
    attributes.flags = flags;
    return host.bpf(command, attributes);
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_{interpreter_, {.possible_cpus = real_possible_cpus()}};
  EmulatedKernel ours_{kernel_};
  RealKernel theirs_;
  Types types_;
};

TEST_F(ValueFields, AreAllowedInTheMapsAndWithTheFlagsThatLinuxAllows) {
  const Descriptor our_btf = types_.load(ours_);
  const Descriptor their_btf = types_.load(theirs_);
  ASSERT_GE(our_btf.fd(), 0);
  ASSERT_GE(their_btf.fd(), 0);
  int created = 0;
  int refused = 0;
  for (const bpf_map_type type : kMapTypes) {
    for (const int value : types_.values()) {
      for (const uint32_t flags : {0u, uint32_t{BPF_F_RDONLY_PROG}, uint32_t{BPF_F_NO_PREALLOC}}) {
        for (const int key : {0, types_.word()}) {
          const MapRequest request{type, flags, key, value};
          const Descriptor mine = create(ours_, our_btf.fd(), request);
          const Descriptor other = create(theirs_, their_btf.fd(), request);
          EXPECT_EQ(mine.error(), other.error())
              << "map type " << type << " flags " << flags << " key " << key << " value " << value;
          (mine.error() == 0 ? created : refused) += 1;
        }
      }
    }
  }
  EXPECT_GT(created, 20);
  EXPECT_GT(refused, 20);
}

TEST_F(ValueFields, KeepTheirPlaceInUpdatesAndReadAsZero) {
  const Descriptor our_btf = types_.load(ours_);
  const Descriptor their_btf = types_.load(theirs_);
  constexpr uint64_t kFlags[] = {0,
                                 BPF_F_LOCK,
                                 BPF_EXIST,
                                 BPF_EXIST | BPF_F_LOCK,
                                 BPF_NOEXIST,
                                 BPF_NOEXIST | BPF_F_LOCK,
                                 BPF_F_LOCK | 3,
                                 8};
  for (const bpf_map_type type : {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LRU_HASH}) {
    for (const int value_type : types_.values()) {
      const MapRequest request{type, 0, types_.word(), value_type};
      const Descriptor mine = create(ours_, our_btf.fd(), request);
      const Descriptor other = create(theirs_, their_btf.fd(), request);
      if (other.error() != 0) continue;
      ASSERT_EQ(mine.error(), 0);
      uint8_t fill = 0x11;
      for (const uint64_t flags : kFlags) {
        SCOPED_TRACE(testing::Message()
                     << "map type " << type << " value " << value_type << " flags " << flags);
        Bytes written(24, fill++);
        EXPECT_EQ(element(ours_, BPF_MAP_UPDATE_ELEM, mine.fd(), written, flags),
                  element(theirs_, BPF_MAP_UPDATE_ELEM, other.fd(), written, flags));
        for (const uint64_t lookup_flags : {uint64_t{0}, uint64_t{BPF_F_LOCK}}) {
          Bytes seen(24, 0xee), expected(24, 0xee);
          EXPECT_EQ(element(ours_, BPF_MAP_LOOKUP_ELEM, mine.fd(), seen, lookup_flags),
                    element(theirs_, BPF_MAP_LOOKUP_ELEM, other.fd(), expected, lookup_flags));
          EXPECT_EQ(seen, expected);
        }
      }
      for (const uint64_t flags : {uint64_t{BPF_F_LOCK}, uint64_t{0}, uint64_t{0}}) {
        Bytes seen(24, 0xee), expected(24, 0xee);
        EXPECT_EQ(element(ours_, BPF_MAP_LOOKUP_AND_DELETE_ELEM, mine.fd(), seen, flags),
                  element(theirs_, BPF_MAP_LOOKUP_AND_DELETE_ELEM, other.fd(), expected, flags));
        EXPECT_EQ(seen, expected);
      }
    }
  }
}

TEST_F(ValueFields, KeepTheirPlaceInBatches) {
  const Descriptor our_btf = types_.load(ours_);
  const Descriptor their_btf = types_.load(theirs_);
  for (const bpf_map_type type : {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LRU_HASH}) {
    for (const int value_type : types_.values()) {
      const MapRequest request{type, 0, types_.word(), value_type};
      const Descriptor mine = create(ours_, our_btf.fd(), request);
      const Descriptor other = create(theirs_, their_btf.fd(), request);
      if (other.error() != 0) continue;
      ASSERT_EQ(mine.error(), 0);
      // Gives the answer, the count and the bytes of what comes back, in order of the keys.
      const auto ask = [&](BpfHost& host, bpf_cmd command, int map, uint64_t flags) {
        std::array<uint32_t, 4> keys{0, 1, 2, 3};
        Bytes values(24 * 4, static_cast<uint8_t>(0x30 + flags));
        std::array<uint8_t, 8> position{};
        bpf_attr attributes{};
        attributes.batch.map_fd = static_cast<uint32_t>(map);
        attributes.batch.keys = address_of(keys.data());
        attributes.batch.values = address_of(values.data());
        attributes.batch.out_batch = address_of(position.data());
        attributes.batch.count = 4;
        attributes.batch.elem_flags = flags;
        const long answer = host.bpf(command, attributes);
        std::vector<Bytes> seen = {
            Bytes{static_cast<uint8_t>(-answer), static_cast<uint8_t>(attributes.batch.count)}};
        std::map<uint32_t, Bytes> entries;
        for (uint32_t i = 0; i < attributes.batch.count; ++i)
          entries[keys[i]] = Bytes(values.begin() + i * 24, values.begin() + (i + 1) * 24);
        for (const auto& [key, value] : entries) seen.push_back(value);
        return seen;
      };
      for (const uint64_t flags : {uint64_t{0}, uint64_t{BPF_F_LOCK}, uint64_t{1}}) {
        for (const bpf_cmd command :
             {BPF_MAP_UPDATE_BATCH, BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_BATCH,
              BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH, BPF_MAP_LOOKUP_BATCH}) {
          EXPECT_EQ(ask(ours_, command, mine.fd(), flags), ask(theirs_, command, other.fd(), flags))
              << "map type " << type << " value " << value_type << " flags " << flags << " command "
              << command;
        }
      }
    }
  }
}

TEST_F(ValueFields, DecideWhichMapsFitIntoAMapOfMapsAndWhichFreeze) {
  std::vector<std::vector<long>> answers;
  for (BpfHost* host : {static_cast<BpfHost*>(&ours_), static_cast<BpfHost*>(&theirs_)}) {
    const Descriptor btf = types_.load(*host);
    std::vector<Descriptor> inner;
    for (const int value : types_.values()) {
      for (const bpf_map_type type : {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY})
        inner.push_back(create(*host, btf.fd(), {type, 0, types_.word(), value}));
    }
    inner.push_back(host->create_map(BPF_MAP_TYPE_HASH, 4, 24, 4));
    std::vector<long> seen;
    for (const Descriptor& like : inner) {
      bpf_attr attributes{};
      attributes.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS;
      attributes.key_size = attributes.value_size = 4;
      attributes.max_entries = 4;
      attributes.inner_map_fd = static_cast<uint32_t>(like.fd());
      const Descriptor outer(host->bpf(BPF_MAP_CREATE, attributes));
      seen.push_back(outer.error());
      for (const Descriptor& stored : inner) {
        Bytes fd(4);
        const int number = stored.fd();
        std::memcpy(fd.data(), &number, 4);
        seen.push_back(element(*host, BPF_MAP_UPDATE_ELEM, outer.fd(), fd, 0));
      }
    }
    for (const Descriptor& map : inner) {
      bpf_attr attributes{};
      attributes.map_fd = static_cast<uint32_t>(map.fd());
      seen.push_back(host->bpf(BPF_MAP_FREEZE, attributes));
    }
    answers.push_back(seen);
  }
  EXPECT_EQ(answers[0], answers[1]);
}

}  // namespace
}  // namespace xnic::test

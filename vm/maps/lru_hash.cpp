// LRU hash maps, plain and per-CPU: the table of vm/maps/hash_table.h with the lists of
// vm/maps/lru.h. As in Linux, an update takes its element before it looks whether the key is there,
// so an update that fails or replaces may evict, even the key that it is about. User space counts
// as CPU 0, and its lookups leave no mark.
// Lookups take no lock; all that changes the map is done by one thread at a time.
// What it leaves out: as vm/maps/hash.cpp; lists that CPUs change without waiting for each other.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/lru_hash.h"

#include <cstddef>

#include "vm/maps/hashed_map.h"
#include "vm/maps/lru.h"

namespace xnic::vm {
namespace {

constexpr size_t kNodeBytes = (sizeof(LruNode) + 15) & ~size_t{15};

class LruTable : public HashTable, private LruOwner {
 public:
  LruTable(const MapSpec& spec, const MapContext& context, TableMemory memory)
      : HashTable(spec, context, std::move(memory), kNodeBytes),
        lists_(*this, spec.max_entries, context.possible_cpus,
               !(spec.flags & BPF_F_NO_COMMON_LRU)) {}

  HashProbe probe() const override {
    HashProbe probe = HashTable::probe();
    probe.mark_offset =
        static_cast<int32_t>(offsetof(LruNode, referenced)) - static_cast<int32_t>(kNodeBytes);
    return probe;
  }

 protected:
  // One writer at a time, since all share the lists.
  class Writer {
   public:
    explicit Writer(LruTable& table) : lock_(table.lock_) {}

   private:
    std::lock_guard<SpinLock> lock_;
  };
  class Writing {
   public:
    Writing(LruTable& table, uint64_t hash)
        : writer_(table), bucket_(table.bucket_of(hash), true) {}

   private:
    Writer writer_;
    BucketLock bucket_;
  };

  static LruNode* node_of(Element* element) {
    return reinterpret_cast<LruNode*>(reinterpret_cast<uint8_t*>(element) - kNodeBytes);
  }

  // An element for a new value on this CPU; null without memory. Evicts, so that the caller may
  // hold no bucket yet.
  Element* take_node(uint32_t cpu) {
    LruNode* node = lists_.take(cpu);
    return node != nullptr ? element_of(node) : nullptr;
  }
  void give_back(Element* element) { lists_.give_back(node_of(element)); }
  void remove(const Place& place) {
    Element* element = element_in(place);
    unlink(place);
    give_back(element);
  }
  // A program's lookup counts as use.
  static void touch(Element* element) { node_of(element)->mark(); }

 private:
  static Element* element_of(LruNode* node) {
    return reinterpret_cast<Element*>(reinterpret_cast<uint8_t*>(node) + kNodeBytes);
  }

  LruNode* new_node() override {
    Element* element = take();
    return element != nullptr ? node_of(element) : nullptr;
  }
  void fetch(const LruNode* node) override {
    __builtin_prefetch(&first_bucket(element_of(const_cast<LruNode*>(node))));
  }
  void evict(LruNode* node) override {
    Element* element = element_of(node);
    const BucketLock bucket(first_bucket(element), true);
    unlink(place_of(element));
  }

  SpinLock lock_;
  LruLists lists_;
};

class LruHash : public SingleValues<LruTable> {
 public:
  using SingleValues::SingleValues;

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    if (flags > BPF_EXIST || cpu >= possible_cpus_) return -EINVAL;
    const uint64_t hash = hash_of(key);
    __builtin_prefetch(&bucket_of(hash));
    const Writer writer(*this);
    Element* fresh = take_node(cpu);
    if (fresh == nullptr) return -ENOMEM;
    const BucketLock bucket(bucket_of(hash), true);
    const Place place = find_place(key, hash);
    if (const int error = check_flags(place.found(), flags)) {
      give_back(fresh);
      return error;
    }
    write(fresh, key, value);
    if (place.found()) {
      Element* existing = element_in(place);
      replace(place, fresh);
      touch(fresh);
      give_back(existing);
    } else {
      insert(fresh, hash);
    }
    return 0;
  }
};

class LruPercpuHash : public PercpuValues<LruTable> {
 public:
  using PercpuValues::PercpuValues;

 private:
  int store(const uint8_t* key, const Values& values, uint64_t flags) override {
    if (flags > BPF_EXIST) return -EINVAL;
    const uint64_t hash = hash_of(key);
    __builtin_prefetch(&bucket_of(hash));
    const Writer writer(*this);
    Element* fresh = flags != BPF_EXIST ? take_node(values.cpu) : nullptr;
    if (fresh == nullptr && flags != BPF_EXIST) return -ENOMEM;
    const BucketLock bucket(bucket_of(hash), true);
    const Place place = find_place(key, hash);
    const int error = check_flags(place.found(), flags);
    if (error == 0 && !place.found()) {
      write_fresh(fresh, key, values);
      insert(fresh, hash);
      return 0;
    }
    if (error == 0) {
      touch(element_in(place));
      write(element_in(place), values);
    }
    if (fresh != nullptr) give_back(fresh);
    return error;
  }
};

// The spec with the max_entries that the map will have.
MapSpec rounded(MapSpec spec, uint32_t cpus) {
  if (!(spec.flags & BPF_F_NO_COMMON_LRU)) return spec;
  const uint64_t up = (uint64_t{spec.max_entries} + cpus - 1) / cpus * cpus;
  spec.max_entries = static_cast<uint32_t>(up);
  return spec;
}

constexpr uint32_t kLruFlags = kHashFlags | BPF_F_NO_COMMON_LRU;

}  // namespace

int check_lru_hash(const MapSpec& spec) { return check_hash_spec(spec, kLruFlags, true, false); }

int check_lru_percpu_hash(const MapSpec& spec) {
  return check_hash_spec(spec, kLruFlags, true, true);
}

tl::expected<std::shared_ptr<Map>, int> create_lru_hash(const MapSpec& spec,
                                                        const MapContext& context) {
  return create_hash_table<LruHash>(rounded(spec, context.possible_cpus), context, spec.value_size,
                                    kNodeBytes);
}

tl::expected<std::shared_ptr<Map>, int> create_lru_percpu_hash(const MapSpec& spec,
                                                               const MapContext& context) {
  return create_hash_table<LruPercpuHash>(rounded(spec, context.possible_cpus), context,
                                          round_up_8(spec.value_size) * context.possible_cpus,
                                          kNodeBytes);
}

}  // namespace xnic::vm

// LRU hash maps, plain and per-CPU: the table of vm/maps/hash_table.h with the lists of
// vm/maps/lru.h. As in Linux, an update takes its element before it looks whether the key is there,
// so an update that fails or replaces may evict, even the key that it is about. User space counts
// as CPU 0, and its lookups leave no mark.
// What it leaves out: as vm/maps/hash.cpp.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/lru_hash.h"

#include "vm/maps/hash_table.h"
#include "vm/maps/lru.h"

namespace xnic::vm {
namespace {

constexpr size_t kNodeBytes = (sizeof(LruNode) + 15) & ~size_t{15};

class LruTable : public HashTable, private LruOwner {
 public:
  LruTable(const MapSpec& spec, const MapContext& context, uint64_t value_bytes,
           MemoryBlock buckets)
      : HashTable(spec, context, value_bytes, std::move(buckets), kNodeBytes),
        lists_(*this, spec.max_entries, context.possible_cpus,
               !(spec.flags & BPF_F_NO_COMMON_LRU)) {}

 protected:
  static LruNode* node_of(Element* element) {
    return reinterpret_cast<LruNode*>(reinterpret_cast<uint8_t*>(element) - kNodeBytes);
  }

  // An element for a new value on this CPU; null without memory.
  Element* take_node(uint32_t cpu) {
    LruNode* node = lists_.take(cpu);
    return node != nullptr ? element_of(node) : nullptr;
  }
  void give_back(Element* element) override { lists_.give_back(node_of(element)); }

  // A program's lookup counts as use.
  Element* find_for_program(const uint8_t* key) override {
    Element* element = find(key);
    if (element != nullptr) node_of(element)->referenced = true;
    return element;
  }

 private:
  static Element* element_of(LruNode* node) {
    return reinterpret_cast<Element*>(reinterpret_cast<uint8_t*>(node) + kNodeBytes);
  }

  LruNode* new_node() override {
    Element* element = take();
    return element != nullptr ? node_of(element) : nullptr;
  }
  void evict(LruNode* node) override { unlink(element_of(node)); }

  LruLists lists_;
};

class LruHash : public SingleValues<LruTable> {
 public:
  using SingleValues::SingleValues;

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    if (flags > BPF_EXIST || cpu >= possible_cpus_) return -EINVAL;
    const std::lock_guard lock(mutex_);
    Element* fresh = take_node(cpu);
    if (fresh == nullptr) return -ENOMEM;
    Element* existing = find(key);
    if (const int error = check_flags(existing, flags)) {
      give_back(fresh);
      return error;
    }
    if (existing == nullptr) {
      insert(fresh, key);
    } else {
      replace(existing, fresh, key);
      node_of(fresh)->referenced = true;
      give_back(existing);
    }
    write(fresh, value);
    return 0;
  }
};

class LruPercpuHash : public PercpuValues<LruTable> {
 public:
  using PercpuValues::PercpuValues;

 private:
  int store(const uint8_t* key, const Values& values, uint64_t flags) override {
    if (flags > BPF_EXIST) return -EINVAL;
    const std::lock_guard lock(mutex_);
    Element* fresh = flags != BPF_EXIST ? take_node(values.cpu) : nullptr;
    if (fresh == nullptr && flags != BPF_EXIST) return -ENOMEM;
    Element* existing = find(key);
    const int error = check_flags(existing, flags);
    if (error == 0 && existing == nullptr) {
      insert(fresh, key);
      write(fresh, values, true);
      return 0;
    }
    if (error == 0) {
      node_of(existing)->referenced = true;
      write(existing, values, false);
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
  return create_hash_table<LruHash>(rounded(spec, context.possible_cpus), context, spec.value_size);
}

tl::expected<std::shared_ptr<Map>, int> create_lru_percpu_hash(const MapSpec& spec,
                                                               const MapContext& context) {
  return create_hash_table<LruPercpuHash>(rounded(spec, context.possible_cpus), context,
                                          round_up_8(spec.value_size) * context.possible_cpus);
}

}  // namespace xnic::vm

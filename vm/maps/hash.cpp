// Plain and per-CPU hash maps over the table of vm/maps/hash_table.h.
//
// As in the kernel, replacing a value of a plain hash puts the key into another element, so a
// pointer from an earlier lookup goes on showing the old value; a preallocated map keeps one spare
// element for each CPU to do so. Per-CPU values are overwritten in place, and so is a value that
// BPF_F_LOCK updates under its bpf_spin_lock.
//
// What it leaves out: preallocation in the sense of taking the memory early; a value that a program
// writes while user space reads it may come out torn, as in the kernel.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/hash.h"

#include <atomic>
#include <vector>

#include "vm/maps/hashed_map.h"

namespace xnic::vm {
namespace {

// A table in which writers hold the bucket of their key.
class PlainTable : public HashTable {
 public:
  PlainTable(const MapSpec& spec, const MapContext& context, TableMemory memory)
      : HashTable(spec, context, std::move(memory)) {}

 protected:
  // Keeps other writers of this key away as long as it lives.
  class Writing {
   public:
    Writing(PlainTable& table, uint64_t hash) : bucket_(table.bucket_of(hash), false) {}

   private:
    BucketLock bucket_;
  };

  // Counts one more element and takes it, for the caller to fill and insert. -E2BIG where the map
  // is full, -ENOMEM.
  tl::expected<Element*, int> admit() {
    if (!count_in()) return tl::unexpected(-E2BIG);
    Element* element = take();
    if (element != nullptr) return element;
    count_out();
    return tl::unexpected(-ENOMEM);
  }
  void touch(Element*) const {}
  void give_back(Element* element) { give_back_to_pool(element); }
  void remove(const Place& place) {
    Element* element = element_in(place);
    unlink(place);
    count_out();
    give_back(element);
  }
};

class Hash : public SingleValues<PlainTable> {
 public:
  Hash(const MapSpec& spec, const MapContext& context, TableMemory memory)
      : SingleValues(spec, context, std::move(memory)),
        spares_((spec.flags & BPF_F_NO_PREALLOC) ? 0 : context.possible_cpus) {}

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    const bool locked = (flags & BPF_F_LOCK) != 0;
    if (locked && !spec_.fields.has_spin_lock()) return -EINVAL;
    const uint64_t hash = hash_of(key);
    const Writing writing(*this, hash);
    const Place place = find_place(key, hash);
    Element* existing = element_in(place);
    if (const int error = check_flags(place.found(), flags & ~uint64_t{BPF_F_LOCK})) return error;
    if (existing == nullptr) {
      const auto added = admit();
      if (!added) return added.error();
      write(*added, key, value);
      insert(*added, hash);
      return 0;
    }
    if (locked) {
      uint8_t* stored = value_of(existing);
      spec_.fields.copy_locked(stored, value, spec_.value_size, stored);
      return 0;
    }
    std::atomic<Element*>* spare = cpu < spares_.size() ? &spares_[cpu] : nullptr;
    Element* fresh =
        spare != nullptr ? spare->exchange(nullptr, std::memory_order_acquire) : nullptr;
    if (fresh == nullptr) fresh = take();
    if (fresh == nullptr) return -ENOMEM;
    write(fresh, key, value);
    replace(place, fresh);
    if (spare != nullptr) existing = spare->exchange(existing, std::memory_order_release);
    if (existing != nullptr) give_back(existing);
    return 0;
  }

 private:
  // By CPU, filled at the first replacement; empty for maps without preallocation.
  std::vector<std::atomic<Element*>> spares_;
};

class PercpuHash : public PercpuValues<PlainTable> {
 public:
  using PercpuValues::PercpuValues;

 private:
  int store(const uint8_t* key, const Values& values, uint64_t flags) override {
    const uint64_t hash = hash_of(key);
    const Writing writing(*this, hash);
    const Place place = find_place(key, hash);
    if (const int error = check_flags(place.found(), flags)) return error;
    if (place.found()) {
      write(element_in(place), values);
      return 0;
    }
    const auto added = admit();
    if (!added) return added.error();
    write_fresh(*added, key, values);
    insert(*added, hash);
    return 0;
  }
};

}  // namespace

std::optional<HashProbe> hash_probe(const Map& map) {
  const auto* table = dynamic_cast<const HashTable*>(&map);
  return table != nullptr ? std::optional(table->probe()) : std::nullopt;
}

int check_hash(const MapSpec& spec) { return check_hash_spec(spec, kHashFlags, false, false); }

int check_percpu_hash(const MapSpec& spec) {
  return check_hash_spec(spec, kHashFlags, false, true);
}

tl::expected<std::shared_ptr<Map>, int> create_hash(const MapSpec& spec,
                                                    const MapContext& context) {
  return create_hash_table<Hash>(spec, context, spec.value_size);
}

tl::expected<std::shared_ptr<Map>, int> create_percpu_hash(const MapSpec& spec,
                                                           const MapContext& context) {
  return create_hash_table<PercpuHash>(spec, context,
                                       round_up_8(spec.value_size) * context.possible_cpus);
}

}  // namespace xnic::vm

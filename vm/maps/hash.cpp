// Plain and per-CPU hash maps over the table of vm/maps/hash_table.h.
//
// As in the kernel, replacing a value of a plain hash puts the key into another element, so a
// pointer from an earlier lookup goes on showing the old value; a preallocated map keeps one spare
// element for each CPU to do so. Per-CPU values are overwritten in place, and so is a value that
// BPF_F_LOCK updates under its bpf_spin_lock.
//
// What it leaves out: lock-free lookup; preallocation in the sense of taking the memory early.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/hash.h"

#include <vector>

#include "vm/maps/hash_table.h"

namespace xnic::vm {
namespace {

class Hash : public SingleValues<HashTable> {
 public:
  Hash(const MapSpec& spec, const MapContext& context, MemoryBlock buckets)
      : SingleValues(spec, context, std::move(buckets)) {
    if (!(spec.flags & BPF_F_NO_PREALLOC)) spares_.resize(context.possible_cpus);
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    const bool locked = (flags & BPF_F_LOCK) != 0;
    if (locked && !spec_.fields.has_spin_lock()) return -EINVAL;
    const std::lock_guard lock(mutex_);
    Element* existing = find(key);
    if (const int error = check_update(existing, flags & ~uint64_t{BPF_F_LOCK})) return error;
    if (locked && existing != nullptr) {
      uint8_t* stored = value_of(existing);
      spec_.fields.copy_locked(stored, value, spec_.value_size, stored);
      return 0;
    }
    Element** spare = existing != nullptr && cpu < spares_.size() ? &spares_[cpu] : nullptr;
    Element* fresh = spare != nullptr && *spare != nullptr ? *spare : take();
    if (fresh == nullptr) return -ENOMEM;
    if (existing == nullptr) {
      insert(fresh, key);
    } else {
      replace(existing, fresh, key);
      if (spare != nullptr)
        *spare = existing;
      else
        give_back(existing);
    }
    write(fresh, value);
    return 0;
  }

 private:
  // By CPU, filled at the first replacement; empty for maps without preallocation.
  std::vector<Element*> spares_;
};

class PercpuHash : public PercpuValues<HashTable> {
 public:
  using PercpuValues::PercpuValues;

 private:
  int store(const uint8_t* key, const Values& values, uint64_t flags) override {
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (const int error = check_update(element, flags)) return error;
    const bool fresh = element == nullptr;
    if (fresh) {
      element = take();
      if (element == nullptr) return -ENOMEM;
      insert(element, key);
    }
    write(element, values, fresh);
    return 0;
  }
};

}  // namespace

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

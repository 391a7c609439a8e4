#pragma once

#include <cerrno>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "vm/maps/checks.h"
#include "vm/maps/hash_table.h"

// What hash maps are made of besides their table; for vm/maps/hash.cpp and vm/maps/lru_hash.cpp
// alone. A `Table` derives from HashTable and has: class Writing (table, hash), which keeps other
// writers of a key away; touch(element), told of a program's lookup; remove(place).
namespace xnic::vm {

// Over a table, what all maps of hashed keys have in common.
template <class Table>
class HashedMap : public Table {
 public:
  using Table::Table;

  int erase(const uint8_t* key) override {
    const uint64_t hash = this->hash_of(key);
    const typename Table::Writing writing(*this, hash);
    const auto place = this->find_place(key, hash);
    if (!place.found()) return -ENOENT;
    this->remove(place);
    return 0;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    return copy_out(key, value, flags, false);
  }

  int user_lookup_and_delete(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    return copy_out(key, value, flags, true);
  }

 protected:
  // Copies the element's value as user space sees it; `locked` asks for its bpf_spin_lock.
  virtual void read(Element* element, uint8_t* value, bool locked) = 0;

 private:
  int copy_out(const uint8_t* key, uint8_t* value, uint64_t flags, bool then_remove) {
    const bool locked = flags == BPF_F_LOCK && this->spec_.fields.has_spin_lock();
    if (flags != 0 && !locked) return -EINVAL;
    const uint64_t hash = this->hash_of(key);
    const typename Table::Writing writing(*this, hash);
    const auto place = this->find_place(key, hash);
    if (!place.found()) return -ENOENT;
    read(this->element_in(place), value, locked);
    if (then_remove) this->remove(place);
    return 0;
  }
};

// Calls `visit` with the size of a key as a constant where it is one of the common ones, else 0.
template <class Visit>
auto with_key_size(uint32_t bytes, Visit visit) {
  switch (bytes) {
    case 4:
      return visit(std::integral_constant<uint32_t, 4>());
    case 8:
      return visit(std::integral_constant<uint32_t, 8>());
    case 12:
      return visit(std::integral_constant<uint32_t, 12>());
    case 16:
      return visit(std::integral_constant<uint32_t, 16>());
    case 20:
      return visit(std::integral_constant<uint32_t, 20>());
    case 24:
      return visit(std::integral_constant<uint32_t, 24>());
    case 32:
      return visit(std::integral_constant<uint32_t, 32>());
    case 36:
      return visit(std::integral_constant<uint32_t, 36>());
    case 40:
      return visit(std::integral_constant<uint32_t, 40>());
    default:
      return visit(std::integral_constant<uint32_t, 0>());
  }
}

// Over PlainTable or a table made of it: one value for each key.
template <class Table>
class SingleValues : public HashedMap<Table> {
 public:
  using HashedMap<Table>::HashedMap;
  ~SingleValues() override { this->release_all_fields(); }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override { return look_up<0>(this, key, cpu); }

  DirectLookup direct_lookup() override {
    return with_key_size(this->spec_.key_size, [this](auto size) {
      return DirectLookup{.kind = DirectLookup::Kind::function,
                          .function = look_up<size()>,
                          .table = this,
                          .prefetch = prefetch<size()>,
                          .prefetch_entry = prefetch_entry};
    });
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return this->update(key, value, flags, 0);
  }

 protected:
  // Into an element that no key had before. The value may be the program's stale pointer into it.
  void write(Element* element, const uint8_t* key, const uint8_t* value) {
    copy_key(element->key(), key, this->spec_.key_size);
    const ValueFields& fields = this->spec_.fields;
    uint8_t* const stored = this->value_of(element);
    if (fields.empty()) {
      std::memmove(stored, value, this->spec_.value_size);
      return;
    }
    fields.copy(stored, value, this->spec_.value_size);
    // A program's stale pointer may have left something there, and may hold the lock.
    fields.release(stored);
  }

 private:
  void release_fields(Element* element) final {
    this->spec_.fields.release(this->value_of(element));
  }
  template <uint32_t kKeyBytes>
  static uint8_t* look_up(void* table, const uint8_t* key, uint32_t) {
    auto* map = static_cast<SingleValues*>(table);
    Element* element = map->template find<kKeyBytes>(key);
    if (element == nullptr) return nullptr;
    map->touch(element);
    return kKeyBytes != 0 ? element->key() + round_up_8(kKeyBytes) : map->value_of(element);
  }
  template <uint32_t kKeyBytes>
  static uint64_t prefetch(void* table, const uint8_t* key) {
    return static_cast<SingleValues*>(table)->template prefetch_bucket<kKeyBytes>(key);
  }
  static void prefetch_entry(void* table, uint64_t handle) {
    static_cast<SingleValues*>(table)->prefetch_element(handle);
  }

  void read(Element* element, uint8_t* value, bool locked) override {
    uint8_t* stored = this->value_of(element);
    if (locked) {
      this->spec_.fields.copy_locked(value, stored, this->spec_.value_size, stored);
    } else {
      this->spec_.fields.copy(value, stored, this->spec_.value_size);
    }
    this->spec_.fields.zero(value);
  }
};

// The same with a value for each CPU, written in place. A derived class finds or makes the element
// of a store().
template <class Table>
class PercpuValues : public HashedMap<Table> {
 public:
  PercpuValues(const MapSpec& spec, const MapContext& context, TableMemory memory)
      : HashedMap<Table>(spec, context, std::move(memory)), stride_(round_up_8(spec.value_size)) {}
  ~PercpuValues() override { this->release_all_fields(); }

  uint32_t user_value_size() const override {
    return static_cast<uint32_t>(stride_ * this->possible_cpus_);
  }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override { return look_up<0>(this, key, cpu); }

  DirectLookup direct_lookup() override {
    return with_key_size(this->spec_.key_size, [this](auto size) {
      return DirectLookup{
          .kind = DirectLookup::Kind::function, .function = look_up<size()>, .table = this};
    });
  }
  HashProbe probe() const override {
    HashProbe probe = HashedMap<Table>::probe();
    probe.cpu_stride = stride_;
    return probe;
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    if (cpu >= this->possible_cpus_) return -EINVAL;
    return store(key, {value, cpu, false}, flags);
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return store(key, {value, 0, true}, flags);
  }

 protected:
  // The value of one CPU, or those of all, stored from `cpu`.
  struct Values {
    const uint8_t* bytes;
    uint32_t cpu;
    bool all;
  };
  virtual int store(const uint8_t* key, const Values& values, uint64_t flags) = 0;

  // A program's value may be its stale pointer into the element.
  void write(Element* element, const Values& values) {
    const ValueFields& fields = this->spec_.fields;
    const uint8_t* from = values.bytes;
    const auto size = values.all ? static_cast<uint32_t>(stride_) : this->spec_.value_size;
    const uint32_t behind = values.all ? this->possible_cpus_ : values.cpu + 1;
    for (uint32_t cpu = values.cpu; cpu < behind; ++cpu, from += stride_) {
      fields.copy(slot(element, cpu), from, size);
      fields.release(slot(element, cpu));
    }
  }
  // Into an element that no key had before: CPUs that have no value get zeros.
  void write_fresh(Element* element, const uint8_t* key, const Values& values) {
    copy_key(element->key(), key, this->spec_.key_size);
    release_fields(element);
    if (!values.all) {
      const uint32_t size = this->spec_.value_size;
      for (uint32_t other = 0; other < this->possible_cpus_; ++other)
        if (other != values.cpu) std::memset(slot(element, other), 0, stride_);
      std::memset(slot(element, values.cpu) + size, 0, stride_ - size);
    }
    write(element, values);
  }

 private:
  template <uint32_t kKeyBytes>
  static uint8_t* look_up(void* table, const uint8_t* key, uint32_t cpu) {
    auto* map = static_cast<PercpuValues*>(table);
    Element* element = cpu < map->possible_cpus_ ? map->template find<kKeyBytes>(key) : nullptr;
    if (element == nullptr) return nullptr;
    map->touch(element);
    return map->slot(element, cpu);
  }

  void read(Element* element, uint8_t* value, bool) override {
    std::memcpy(value, slot(element, 0), user_value_size());
    for (uint32_t cpu = 0; cpu < this->possible_cpus_; ++cpu) {
      this->spec_.fields.zero(value + cpu * stride_);
    }
  }

  void release_fields(Element* element) final {
    for (uint32_t cpu = 0; cpu < this->possible_cpus_; ++cpu) {
      this->spec_.fields.release(slot(element, cpu));
    }
  }

  uint8_t* slot(Element* element, uint32_t cpu) const {
    return this->value_of(element) + cpu * stride_;
  }

  uint64_t stride_;
};

// What BPF_MAP_CREATE answers to the spec of a hash map: 0 or -errno.
inline int check_hash_spec(const MapSpec& spec, uint32_t allowed, bool lru, bool percpu) {
  // The kernel's struct htab_elem and struct bucket, whose sizes bound an element and a table.
  constexpr uint64_t kElementHeader = 48;
  constexpr uint32_t kMaxBuckets = 1u << 27;
  if (!flags_valid(spec, allowed)) return -EINVAL;
  if (lru && (spec.flags & BPF_F_NO_PREALLOC)) return -kErrorNotSupported;
  // Memory of one node makes no sense where each CPU has its own.
  const bool per_cpu_memory = percpu || (spec.flags & BPF_F_NO_COMMON_LRU);
  if ((spec.flags & BPF_F_NUMA_NODE) && per_cpu_memory) return -EINVAL;
  if (spec.max_entries == 0 || spec.key_size == 0 || spec.value_size == 0) return -EINVAL;
  if (uint64_t{spec.key_size} + spec.value_size >= kKmallocMax - kElementHeader) return -E2BIG;
  if (percpu && round_up_8(spec.value_size) > kPercpuValueMax) return -E2BIG;
  return spec.max_entries > kMaxBuckets ? -E2BIG : 0;
}

// `value_bytes` is what one key needs for its values, `front_bytes` as HashTable has it.
template <class Table>
tl::expected<std::shared_ptr<Map>, int> create_hash_table(const MapSpec& spec,
                                                          const MapContext& context,
                                                          uint64_t value_bytes,
                                                          size_t front_bytes = 0) {
  const bool preallocated = !(spec.flags & BPF_F_NO_PREALLOC);
  if (preallocated && spec.max_entries * (spec.key_size + value_bytes) > kMaxMapBytes)
    return tl::unexpected(-ENOMEM);
  // One for each CPU that is about to replace a value, wherever user space does so too.
  const uint64_t spares = 2ull * context.possible_cpus + 64;
  const size_t bytes =
      front_bytes + sizeof(Element) + round_up_8(spec.key_size) + round_up_8(value_bytes);
  return TableMemory::make(spec.max_entries, bytes, spares)
      .map([&](TableMemory&& memory) -> std::shared_ptr<Map> {
        return std::make_shared<Table>(spec, context, std::move(memory));
      });
}

inline constexpr uint32_t kHashFlags =
    BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED | BPF_F_NUMA_NODE | kAccessFlags;

}  // namespace xnic::vm

// Arrays: one block of values, each at a multiple of round_up(value_size, 8), that never moves.
// A per-CPU array has such a block for each possible CPU.
// Values are read and written without locks, as in the kernel: programs on several CPUs that
// write one value must use atomics, and a user-space copy may be torn.
// What it leaves out: NUMA placement.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/array.h"

#include <cerrno>
#include <climits>
#include <cstring>

#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

namespace xnic::vm {
namespace {

// What update answers before it writes: 0 or -errno.
int check_update(const MapSpec& spec, const uint8_t* key, uint64_t flags) {
  if ((flags & ~uint64_t{BPF_F_LOCK}) > BPF_EXIST) return -EINVAL;
  if (read_index(key) >= spec.max_entries) return -E2BIG;
  if (flags & BPF_NOEXIST) return -EEXIST;
  return (flags & BPF_F_LOCK) && !spec.fields.has_spin_lock() ? -EINVAL : 0;
}

class Array : public Map {
 public:
  Array(const MapSpec& spec, const MapContext& context, MemoryBlock values)
      : Map(spec, context.possible_cpus),
        stride_(round_up_8(spec.value_size)),
        values_(std::move(values)) {}
  ~Array() override {
    if (!spec_.fields.owns_objects()) return;
    for (uint64_t i = 0; i < spec_.max_entries; ++i) {
      spec_.fields.release(values_.data() + i * stride_);
    }
  }

  uint8_t* lookup(const uint8_t* key, uint32_t) override {
    const uint32_t index = read_index(key);
    return index < spec_.max_entries ? values_.data() + index * stride_ : nullptr;
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    if (const int error = check_update(spec_, key, flags)) return error;
    uint8_t* stored = lookup(key, cpu);
    // A program may store a value onto itself.
    if (flags & BPF_F_LOCK) {
      spec_.fields.copy_locked(stored, value, spec_.value_size, stored);
    } else {
      spec_.fields.copy(stored, value, spec_.value_size);
    }
    spec_.fields.release(stored);
    return 0;
  }

  DirectLookup direct_lookup() override {
    return {.kind = DirectLookup::Kind::values,
            .entries = spec_.max_entries,
            .values = values_.data(),
            .stride = stride_};
  }

  int erase(const uint8_t*) override { return -EINVAL; }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    const bool locked = flags == BPF_F_LOCK && spec_.fields.has_spin_lock();
    if (flags != 0 && !locked) return -EINVAL;
    uint8_t* stored = lookup(key, 0);
    if (stored == nullptr) return -ENOENT;
    if (locked) {
      spec_.fields.copy_locked(value, stored, spec_.value_size, stored);
    } else {
      spec_.fields.copy(value, stored, spec_.value_size);
    }
    spec_.fields.zero(value);
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    if ((flags & BPF_F_LOCK) && !spec_.fields.has_spin_lock()) return -EINVAL;
    return update(key, value, flags, 0);
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    return next_index(spec_.max_entries, key, next);
  }

  int check_mmap(uint64_t length, int, uint64_t offset) const override {
    if (!(spec_.flags & BPF_F_MMAPABLE)) return -EINVAL;
    constexpr uint64_t kPage = 4096;
    const uint64_t bytes = (spec_.max_entries * stride_ + kPage - 1) / kPage * kPage;
    return offset > bytes || length > bytes - offset ? -EINVAL : 0;
  }

  bool key_of(const uint8_t* value, uint8_t* key) const override {
    const auto index =
        static_cast<uint32_t>(static_cast<uint64_t>(value - values_.data()) / stride_);
    std::memcpy(key, &index, sizeof(index));
    return true;
  }

  std::span<uint8_t> direct_value() override {
    if (spec_.max_entries != 1) return {};
    return {values_.data(), spec_.value_size};
  }

 private:
  uint64_t stride_;
  MemoryBlock values_;
};

class PercpuArray : public Map {
 public:
  PercpuArray(const MapSpec& spec, const MapContext& context, MemoryBlock values)
      : Map(spec, context.possible_cpus),
        stride_(round_up_8(spec.value_size)),
        values_(std::move(values)) {}

  uint32_t user_value_size() const override {
    return static_cast<uint32_t>(stride_ * possible_cpus_);
  }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override {
    const uint32_t index = read_index(key);
    if (index >= spec_.max_entries || cpu >= possible_cpus_) return nullptr;
    return slot(index, cpu);
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    if (const int error = check_update(spec_, key, flags)) return error;
    if (cpu >= possible_cpus_) return -EINVAL;
    uint8_t* stored = slot(read_index(key), cpu);
    spec_.fields.copy(stored, value, spec_.value_size);
    spec_.fields.release(stored);
    return 0;
  }

  DirectLookup direct_lookup() override {
    return {.kind = DirectLookup::Kind::values,
            .entries = spec_.max_entries,
            .values = values_.data(),
            .stride = stride_,
            .cpu_stride = spec_.max_entries * stride_};
  }

  int erase(const uint8_t*) override { return -EINVAL; }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const uint32_t index = read_index(key);
    if (index >= spec_.max_entries) return -ENOENT;
    for (uint32_t cpu = 0; cpu < possible_cpus_; ++cpu) {
      std::memcpy(value + cpu * stride_, slot(index, cpu), stride_);
      spec_.fields.zero(value + cpu * stride_);
    }
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    if (flags & BPF_F_LOCK) return -EINVAL;
    if (const int error = check_update(spec_, key, flags)) return error;
    // Linux copies the padding too, and shows it again.
    for (uint32_t cpu = 0; cpu < possible_cpus_; ++cpu) {
      uint8_t* stored = slot(read_index(key), cpu);
      spec_.fields.copy(stored, value + cpu * stride_, static_cast<uint32_t>(stride_));
      spec_.fields.release(stored);
    }
    return 0;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    return next_index(spec_.max_entries, key, next);
  }

 private:
  uint8_t* slot(uint32_t index, uint32_t cpu) const {
    return values_.data() + (uint64_t{cpu} * spec_.max_entries + index) * stride_;
  }

  uint64_t stride_;
  MemoryBlock values_;
};

}  // namespace

uint32_t read_index(const uint8_t* key) {
  uint32_t index;
  std::memcpy(&index, key, sizeof(index));
  return index;
}

int next_index(uint32_t max_entries, const uint8_t* key, uint8_t* next) {
  uint32_t index = key != nullptr ? read_index(key) : max_entries;
  if (index == max_entries - 1) return -ENOENT;
  index = index >= max_entries ? 0 : index + 1;
  std::memcpy(next, &index, sizeof(index));
  return 0;
}

int check_array(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NUMA_NODE | BPF_F_MMAPABLE | BPF_F_INNER_MAP | kAccessFlags;
  if (spec.max_entries == 0 || spec.key_size != 4 || spec.value_size == 0 ||
      !flags_valid(spec, kAllowed))
    return -EINVAL;
  return spec.value_size > INT_MAX ? -E2BIG : 0;
}

int check_percpu_array(const MapSpec& spec) {
  if (spec.max_entries == 0 || spec.key_size != 4 || spec.value_size == 0 ||
      !flags_valid(spec, kAccessFlags))
    return -EINVAL;
  return round_up_8(spec.value_size) > kPercpuValueMax ? -E2BIG : 0;
}

tl::expected<std::shared_ptr<Map>, int> create_array(const MapSpec& spec,
                                                     const MapContext& context) {
  const uint64_t bytes = spec.max_entries * round_up_8(spec.value_size);
  const bool shares = (spec.flags & BPF_F_MMAPABLE) && context.memory_fd >= 0;
  return (shares ? MemoryBlock::shared(context.memory_fd, bytes) : MemoryBlock::anonymous(bytes))
      .map([&](MemoryBlock&& values) -> std::shared_ptr<Map> {
        return std::make_shared<Array>(spec, context, std::move(values));
      });
}

tl::expected<std::shared_ptr<Map>, int> create_percpu_array(const MapSpec& spec,
                                                            const MapContext& context) {
  // At most 2^32 entries of 2^15 bytes: the product with 2^16 CPUs still fits.
  const uint64_t per_cpu = spec.max_entries * round_up_8(spec.value_size);
  return MemoryBlock::anonymous(per_cpu * context.possible_cpus)
      .map([&](MemoryBlock&& values) -> std::shared_ptr<Map> {
        return std::make_shared<PercpuArray>(spec, context, std::move(values));
      });
}

}  // namespace xnic::vm

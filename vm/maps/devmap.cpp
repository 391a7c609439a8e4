// Device maps, by index or by any u32. Like Linux they never let programs write, so the map has
// BPF_F_RDONLY_PROG whether it was asked for or not; a hash keeps Linux's order of keys: by bucket,
// in a bucket the last stored first.
// What it leaves out: entries do not go when their interface goes.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/devmap.h"

#include <algorithm>
#include <bit>
#include <map>

#include "vm/maps/program_owner.h"
#include "vm/maps/redirect_map.h"

namespace xnic::vm {
namespace {

MapSpec read_only_to_programs(MapSpec spec) {
  spec.flags |= BPF_F_RDONLY_PROG;
  return spec;
}

// What user space wrote: struct bpf_devmap_val, the program 0 in the smaller size.
struct Target {
  uint32_t ifindex = 0;
  int program_fd = 0;
};

Target read_target(const uint8_t* value, uint32_t size) {
  bpf_devmap_val stored{};
  std::memcpy(&stored, value, size);
  return {stored.ifindex, stored.bpf_prog.fd};
}

// Checks targets and makes entries of them.
class TargetResolver {
 public:
  explicit TargetResolver(ObjectResolver* objects) : objects_(objects) {}

  bool accepts(const Program& program) { return owner_.accepts(program); }

  // 0 or -EINVAL.
  int resolve(const Target& target, RedirectEntry& entry) {
    entry = {.ifindex = target.ifindex};
    if (objects_ == nullptr || !objects_->has_interface(target.ifindex)) return -EINVAL;
    if (target.program_fd <= 0) return 0;
    entry.program = objects_->program_by_fd(target.program_fd);
    const bool fits = entry.program != nullptr && entry.program->type() == BPF_PROG_TYPE_XDP &&
                      entry.program->spec().expected_attach_type == BPF_XDP_DEVMAP &&
                      owner_.accepts(*entry.program);
    return fits ? 0 : -EINVAL;
  }

 private:
  ObjectResolver* objects_;
  ProgramOwner owner_{false};
};

void fill(RedirectSlot& slot, RedirectEntry entry) {
  bpf_devmap_val shown{};
  shown.ifindex = entry.ifindex;
  shown.bpf_prog.id = entry.program != nullptr ? entry.program->id : 0;
  std::memcpy(slot.value, &shown, sizeof(shown));
  slot.entry = std::move(entry);
}

class Devmap : public RedirectArray {
 public:
  Devmap(const MapSpec& spec, const MapContext& context, MemoryBlock places)
      : RedirectArray(read_only_to_programs(spec), context, std::move(places)),
        targets_(context.objects) {}

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    const uint32_t index = read_index(key);
    if (flags > BPF_EXIST) return -EINVAL;
    if (index >= spec_.max_entries) return -E2BIG;
    if (flags == BPF_NOEXIST) return -EEXIST;
    const Target target = read_target(value, spec_.value_size);
    const std::lock_guard lock(mutex_);
    if (target.ifindex == 0) {
      if (target.program_fd > 0) return -EINVAL;
      put(index, nullptr);
      return 0;
    }
    RedirectEntry entry;
    if (const int error = targets_.resolve(target, entry)) return error;
    RedirectSlot* slot = take(index);
    fill(*slot, std::move(entry));
    put(index, slot);
    return 0;
  }

  bool accepts(const Program& program) override { return targets_.accepts(program); }

 private:
  TargetResolver targets_;
};

// Unlike the array, it asks nothing of the programs that use it, only of those in it.
class DevmapHash : public RedirectMap {
 public:
  DevmapHash(const MapSpec& spec, const MapContext& context)
      : RedirectMap(read_only_to_programs(spec), context.possible_cpus),
        mask_(static_cast<uint32_t>(std::bit_ceil(uint64_t{spec.max_entries}) - 1)),
        targets_(context.objects) {}

  int erase(const uint8_t* key) override {
    const std::lock_guard lock(mutex_);
    return remove(read_index(key)) ? 0 : -ENOENT;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    const uint32_t index = read_index(key);
    const Target target = read_target(value, spec_.value_size);
    if (flags > BPF_EXIST || target.ifindex == 0) return -EINVAL;
    const std::lock_guard lock(mutex_);
    const bool exists = find(index) != nullptr;
    if (exists && flags == BPF_NOEXIST) return -EEXIST;
    RedirectEntry entry;
    if (const int error = targets_.resolve(target, entry)) return error;
    if (!exists && count_ == spec_.max_entries) return -E2BIG;
    if (exists) remove(index);
    RedirectSlot* slot = slots_.take(index);
    fill(*slot, std::move(entry));
    std::vector<RedirectSlot*>& bucket = buckets_[index & mask_];
    bucket.insert(bucket.begin(), slot);
    ++count_;
    return 0;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    const std::lock_guard lock(mutex_);
    auto bucket = buckets_.begin();
    size_t place = 0;
    if (key != nullptr && find(read_index(key)) != nullptr) {
      bucket = buckets_.find(read_index(key) & mask_);
      place = static_cast<size_t>(place_in(bucket->second, read_index(key))) + 1;
      if (place == bucket->second.size()) {
        ++bucket;
        place = 0;
      }
    }
    if (bucket == buckets_.end()) return -ENOENT;
    std::memcpy(next, &bucket->second[place]->key, sizeof(uint32_t));
    return 0;
  }

 private:
  static ptrdiff_t place_in(const std::vector<RedirectSlot*>& bucket, uint32_t key) {
    return std::ranges::find(bucket, key, &RedirectSlot::key) - bucket.begin();
  }

  RedirectSlot* find(uint32_t key) const override {
    const auto bucket = buckets_.find(key & mask_);
    if (bucket == buckets_.end()) return nullptr;
    const auto slot = std::ranges::find(bucket->second, key, &RedirectSlot::key);
    return slot != bucket->second.end() ? *slot : nullptr;
  }

  bool remove(uint32_t key) {
    RedirectSlot* slot = find(key);
    if (slot == nullptr) return false;
    const auto bucket = buckets_.find(key & mask_);
    std::erase(bucket->second, slot);
    if (bucket->second.empty()) buckets_.erase(bucket);
    slots_.give_back(slot);
    --count_;
    return true;
  }

  uint32_t mask_;
  TargetResolver targets_;
  // By hash, only those with entries.
  std::map<uint32_t, std::vector<RedirectSlot*>> buckets_;
  uint32_t count_ = 0;
};

}  // namespace

int check_devmap(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;
  constexpr uint32_t kMaxHashEntries = 1u << 31;
  const bool too_big = spec.type == BPF_MAP_TYPE_DEVMAP_HASH && spec.max_entries > kMaxHashEntries;
  if (spec.max_entries == 0 || spec.key_size != 4 ||
      (spec.value_size != 4 && spec.value_size != sizeof(bpf_devmap_val)) ||
      !flags_valid(spec, kAllowed) || too_big)
    return -EINVAL;
  return 0;
}

tl::expected<std::shared_ptr<Map>, int> create_devmap(const MapSpec& spec,
                                                      const MapContext& context) {
  return RedirectArray::memory(spec).map([&](MemoryBlock&& places) -> std::shared_ptr<Map> {
    return std::make_shared<Devmap>(spec, context, std::move(places));
  });
}

tl::expected<std::shared_ptr<Map>, int> create_devmap_hash(const MapSpec& spec,
                                                           const MapContext& context) {
  return std::make_shared<DevmapHash>(spec, context);
}

}  // namespace xnic::vm

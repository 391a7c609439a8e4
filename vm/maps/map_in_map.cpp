// Maps of maps. A program's lookup gives the address of an inner Map, which a helper then takes as
// a map argument; an engine holds what Map::inner_map gives for as long as the run may use it, as
// RCU does in the kernel. The hash variant keeps its keys in an ordinary hash map whose values are
// numbers, and the inner maps by number, so that both hashes answer alike.
// Test: tests/vm/map_in_map_test.cpp, against the kernel.
#include "vm/maps/map_in_map.h"

#include <fcntl.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vm/maps/array.h"
#include "vm/maps/checks.h"
#include "vm/maps/hash.h"

namespace xnic::vm {
namespace {

class MapInMap : public Map {
 public:
  MapInMap(const MapSpec& spec, const MapContext& context, const MapSpec& inner)
      : Map(spec, context.possible_cpus), objects_(context.objects), inner_(inner) {}

  const MapSpec* inner_spec() const override { return &inner_; }

  uint8_t* lookup(const uint8_t* key, uint32_t) override {
    return std::bit_cast<uint8_t*>(inner_map(key).get());
  }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EINVAL; }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const std::shared_ptr<Map> inner = inner_map(key);
    if (inner == nullptr) return -ENOENT;
    std::memcpy(value, &inner->id, sizeof inner->id);
    return 0;
  }

 protected:
  // The map of a descriptor in `value`, if it may be stored here.
  tl::expected<std::shared_ptr<Map>, int> candidate(const uint8_t* value) const {
    int fd;
    std::memcpy(&fd, value, sizeof fd);
    if (fcntl(fd, F_GETFD) < 0) return tl::unexpected(-EBADF);
    std::shared_ptr<Map> map = objects_ != nullptr ? objects_->map_by_fd(fd) : nullptr;
    if (map == nullptr || !fits(map->spec())) return tl::unexpected(-EINVAL);
    return map;
  }

 private:
  bool fits(const MapSpec& spec) const {
    const bool any_size = spec.type != BPF_MAP_TYPE_ARRAY || (inner_.flags & BPF_F_INNER_MAP) != 0;
    return spec.type == inner_.type && spec.key_size == inner_.key_size &&
           spec.value_size == inner_.value_size && spec.flags == inner_.flags &&
           spec.fields == inner_.fields && (any_size || spec.max_entries == inner_.max_entries);
  }

  ObjectResolver* objects_;
  MapSpec inner_;
};

class ArrayOfMaps : public MapInMap {
 public:
  ArrayOfMaps(const MapSpec& spec, const MapContext& context, const MapSpec& inner)
      : MapInMap(spec, context, inner), slots_(spec.max_entries) {}

  std::shared_ptr<Map> inner_map(const uint8_t* key) const override {
    const uint32_t index = read_index(key);
    const std::lock_guard lock(mutex_);
    return index < slots_.size() ? slots_[index] : nullptr;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    if (flags != BPF_ANY) return -EINVAL;
    const uint32_t index = read_index(key);
    if (index >= slots_.size()) return -E2BIG;
    auto map = candidate(value);
    if (!map) return map.error();
    const std::lock_guard lock(mutex_);
    slots_[index].swap(*map);
    return 0;
  }

  int erase(const uint8_t* key) override {
    const uint32_t index = read_index(key);
    if (index >= slots_.size()) return -E2BIG;
    const std::lock_guard lock(mutex_);
    return std::exchange(slots_[index], nullptr) != nullptr ? 0 : -ENOENT;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    return next_index(spec_.max_entries, key, next);
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Map>> slots_;
};

class HashOfMaps : public MapInMap {
 public:
  HashOfMaps(const MapSpec& spec, const MapContext& context, const MapSpec& inner,
             std::shared_ptr<Map> numbers)
      : MapInMap(spec, context, inner), numbers_(std::move(numbers)) {}

  std::shared_ptr<Map> inner_map(const uint8_t* key) const override {
    const std::lock_guard lock(mutex_);
    const auto number = number_of(key);
    return number == 0 ? nullptr : maps_.at(number);
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    auto map = candidate(value);
    if (!map) return map.error();
    const std::lock_guard lock(mutex_);
    const uint64_t before = number_of(key);
    const uint64_t number = ++last_number_;
    const int error = numbers_->user_update(key, reinterpret_cast<const uint8_t*>(&number), flags);
    if (error != 0) return error;
    maps_.emplace(number, std::move(*map));
    maps_.erase(before);
    return 0;
  }

  int erase(const uint8_t* key) override {
    const std::lock_guard lock(mutex_);
    const uint64_t before = number_of(key);
    const int error = numbers_->erase(key);
    if (error == 0) maps_.erase(before);
    return error;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    const std::lock_guard lock(mutex_);
    return numbers_->next_key(key, next);
  }

 private:
  // 0 for a key that is not there.
  uint64_t number_of(const uint8_t* key) const {
    uint64_t number = 0;
    if (const uint8_t* found = numbers_->lookup(key, 0); found != nullptr) {
      std::memcpy(&number, found, sizeof number);
    }
    return number;
  }

  mutable std::mutex mutex_;
  std::shared_ptr<Map> numbers_;
  std::unordered_map<uint64_t, std::shared_ptr<Map>> maps_;
  uint64_t last_number_ = 0;
};

// What all inner maps must be like.
tl::expected<MapSpec, int> inner_spec_of(const MapSpec& spec, const MapContext& context) {
  if (fcntl(spec.inner_map_fd, F_GETFD) < 0) return tl::unexpected(-EBADF);
  const auto map =
      context.objects != nullptr ? context.objects->map_by_fd(spec.inner_map_fd) : nullptr;
  if (map == nullptr || holds_maps(map->spec())) return tl::unexpected(-EINVAL);
  if (map->spec().type == BPF_MAP_TYPE_PROG_ARRAY) return tl::unexpected(-kErrorNotSupported);
  return map->spec();
}

}  // namespace

int check_array_of_maps(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;
  if (spec.max_entries == 0 || spec.key_size != 4 || spec.value_size != 4 ||
      !flags_valid(spec, kAllowed)) {
    return -EINVAL;
  }
  return 0;
}

int check_hash_of_maps(const MapSpec& spec) {
  return spec.value_size == sizeof(uint32_t) ? check_hash(spec) : -EINVAL;
}

tl::expected<std::shared_ptr<Map>, int> create_array_of_maps(const MapSpec& spec,
                                                             const MapContext& context) try {
  const auto inner = inner_spec_of(spec, context);
  if (!inner) return tl::unexpected(inner.error());
  // Unlike values, slots are touched at once.
  constexpr uint64_t kMaxBytes = 1ull << 30;
  if (spec.max_entries * sizeof(std::shared_ptr<Map>) > kMaxBytes) return tl::unexpected(-ENOMEM);
  return std::make_shared<ArrayOfMaps>(spec, context, *inner);
} catch (const std::bad_alloc&) {
  return tl::unexpected(-ENOMEM);
}

tl::expected<std::shared_ptr<Map>, int> create_hash_of_maps(const MapSpec& spec,
                                                            const MapContext& context) {
  const auto inner = inner_spec_of(spec, context);
  if (!inner) return tl::unexpected(inner.error());
  MapSpec numbers = spec;
  numbers.type = BPF_MAP_TYPE_HASH;
  numbers.value_size = sizeof(uint64_t);
  return create_hash(numbers, context)
      .map([&](std::shared_ptr<Map>&& made) -> std::shared_ptr<Map> {
        return std::make_shared<HashOfMaps>(spec, context, *inner, std::move(made));
      });
}

}  // namespace xnic::vm

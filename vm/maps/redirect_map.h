#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "vm/map.h"
#include "vm/maps/array.h"
#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

// What the maps that redirects go through have in common; for their files alone.
namespace xnic::vm {

// One entry. Programs read `value` in place, so an entry is never moved and, once given back,
// stays readable until the map dies.
struct RedirectSlot {
  uint32_t key = 0;
  alignas(8) uint8_t value[8] = {};
  RedirectEntry entry;
};

class RedirectSlots {
 public:
  RedirectSlot* take(uint32_t key) {
    RedirectSlot* slot = nullptr;
    if (free_.empty()) {
      slot = &slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slot->key = key;
    return slot;
  }
  void give_back(RedirectSlot* slot) {
    slot->entry = {};
    free_.push_back(slot);
  }
  void release_programs() {
    for (RedirectSlot& slot : slots_) slot.entry.program = nullptr;
  }

 private:
  std::deque<RedirectSlot> slots_;
  std::vector<RedirectSlot*> free_;
};

// A map of slots by some u32, which user space fills and programs only read.
class RedirectMap : public Map {
 public:
  using Map::Map;

  uint8_t* lookup(const uint8_t* key, uint32_t) override {
    const std::lock_guard lock(mutex_);
    RedirectSlot* slot = find(read_index(key));
    return slot != nullptr ? slot->value : nullptr;
  }

  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EINVAL; }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const uint8_t* stored = lookup(key, 0);
    if (stored == nullptr) return -ENOENT;
    std::memcpy(value, stored, spec_.value_size);
    return 0;
  }

  std::optional<RedirectEntry> redirect_entry(uint32_t key) override {
    const std::lock_guard lock(mutex_);
    const RedirectSlot* slot = find(key);
    if (slot == nullptr) return std::nullopt;
    return slot->entry;
  }

  void release_programs() override {
    const std::lock_guard lock(mutex_);
    slots_.release_programs();
  }

 protected:
  // Null where there is no entry. The caller holds the mutex.
  virtual RedirectSlot* find(uint32_t key) const = 0;

  std::mutex mutex_;
  RedirectSlots slots_;
};

// One with max_entries places, by index: devmap, cpumap, xskmap.
class RedirectArray : public RedirectMap {
 public:
  RedirectArray(const MapSpec& spec, const MapContext& context, MemoryBlock places)
      : RedirectMap(spec, context.possible_cpus),
        place_block_(std::move(places)),
        places_(reinterpret_cast<RedirectSlot**>(place_block_.data())) {}

  // Zeroed memory for the places of a map, as its constructor wants it.
  static tl::expected<MemoryBlock, int> memory(const MapSpec& spec) {
    return MemoryBlock::anonymous(uint64_t{spec.max_entries} * sizeof(RedirectSlot*));
  }

  int erase(const uint8_t* key) override {
    const uint32_t index = read_index(key);
    if (index >= spec_.max_entries) return -EINVAL;
    const std::lock_guard lock(mutex_);
    put(index, nullptr);
    return 0;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    return next_index(spec_.max_entries, key, next);
  }

 protected:
  RedirectSlot* find(uint32_t index) const override {
    return index < spec_.max_entries ? places_[index] : nullptr;
  }
  RedirectSlot* take(uint32_t index) { return slots_.take(index); }
  // What was there is given back. The slot may be null.
  void put(uint32_t index, RedirectSlot* slot) {
    RedirectSlot* old = std::exchange(places_[index], slot);
    if (old != nullptr) slots_.give_back(old);
  }

 private:
  MemoryBlock place_block_;
  RedirectSlot** places_;
};

}  // namespace xnic::vm

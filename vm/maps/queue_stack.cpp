// Queues and stacks: a ring of values, oldest first; they differ in which end pop and peek take.
// What it leaves out: NUMA placement.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/queue_stack.h"

#include <cerrno>
#include <cstring>
#include <mutex>

#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

namespace xnic::vm {
namespace {

class QueueStack : public Map {
 public:
  QueueStack(const MapSpec& spec, const MapContext& context, MemoryBlock values, bool newest_first)
      : Map(spec, context.possible_cpus), newest_first_(newest_first), values_(std::move(values)) {}

  int push(const uint8_t* value, uint64_t flags) override {
    if (flags != BPF_ANY && flags != BPF_EXIST) return -EINVAL;
    const std::lock_guard lock(mutex_);
    if (count_ == spec_.max_entries) {
      if (flags != BPF_EXIST) return -E2BIG;
      drop_oldest();
    }
    std::memcpy(at(count_++), value, spec_.value_size);
    return 0;
  }

  int pop(uint8_t* value) override { return get(value, true); }
  int peek(uint8_t* value) override { return get(value, false); }

  uint8_t* lookup(const uint8_t*, uint32_t) override { return nullptr; }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EINVAL; }
  int erase(const uint8_t*) override { return -EINVAL; }
  int next_key(const uint8_t*, uint8_t*) override { return -EINVAL; }

  int user_lookup(const uint8_t*, uint8_t* value, uint64_t flags) override {
    return flags != 0 ? -EINVAL : peek(value);
  }
  int user_update(const uint8_t*, const uint8_t* value, uint64_t flags) override {
    return push(value, flags);
  }
  int user_lookup_and_delete(const uint8_t*, uint8_t* value, uint64_t flags) override {
    return flags != 0 ? -EINVAL : pop(value);
  }

  std::vector<std::vector<uint8_t>> contents() override {
    const std::lock_guard lock(mutex_);
    std::vector<std::vector<uint8_t>> values;
    for (uint32_t age = 0; age < count_; ++age)
      values.emplace_back(at(age), at(age) + spec_.value_size);
    return values;
  }
  int restore_contents(std::span<const std::vector<uint8_t>> values) override {
    for (const std::vector<uint8_t>& value : values) {
      if (value.size() != spec_.value_size) return -EINVAL;
      if (const int error = push(value.data(), BPF_ANY)) return error;
    }
    return 0;
  }

 private:
  int get(uint8_t* value, bool then_remove) {
    const std::lock_guard lock(mutex_);
    if (count_ == 0) {
      std::memset(value, 0, spec_.value_size);
      return -ENOENT;
    }
    std::memcpy(value, at(newest_first_ ? count_ - 1 : 0), spec_.value_size);
    if (!then_remove) return 0;
    if (newest_first_) {
      --count_;
    } else {
      drop_oldest();
    }
    return 0;
  }

  void drop_oldest() {
    oldest_ = oldest_ + 1 == spec_.max_entries ? 0 : oldest_ + 1;
    --count_;
  }

  // The value that is `age` places younger than the oldest.
  uint8_t* at(uint32_t age) const {
    const uint64_t place = (uint64_t{oldest_} + age) % spec_.max_entries;
    return values_.data() + place * spec_.value_size;
  }

  bool newest_first_;
  MemoryBlock values_;
  std::mutex mutex_;
  uint32_t oldest_ = 0;
  uint32_t count_ = 0;
};

tl::expected<std::shared_ptr<Map>, int> create(const MapSpec& spec, const MapContext& context,
                                               bool newest_first) {
  return MemoryBlock::anonymous(uint64_t{spec.max_entries} * spec.value_size)
      .map([&](MemoryBlock&& values) -> std::shared_ptr<Map> {
        return std::make_shared<QueueStack>(spec, context, std::move(values), newest_first);
      });
}

}  // namespace

int check_queue_stack(const MapSpec& spec) {
  if (spec.max_entries == 0 || spec.key_size != 0 || spec.value_size == 0 ||
      !flags_valid(spec, BPF_F_NUMA_NODE | kAccessFlags))
    return -EINVAL;
  if (spec.value_size > kKmallocMax) return -E2BIG;
  return spec.max_entries >= UINT32_MAX / spec.value_size ? -E2BIG : 0;
}

tl::expected<std::shared_ptr<Map>, int> create_queue(const MapSpec& spec,
                                                     const MapContext& context) {
  return create(spec, context, false);
}

tl::expected<std::shared_ptr<Map>, int> create_stack(const MapSpec& spec,
                                                     const MapContext& context) {
  return create(spec, context, true);
}

}  // namespace xnic::vm

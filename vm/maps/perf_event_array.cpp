// What it leaves out: counters of other kinds with bpf_perf_event_read and _read_value; slots are
// not emptied when the descriptor of the map that filled them is closed (as if made with
// BPF_F_PRESERVE_ELEMS). A slot takes any descriptor of an emulated event, on whatever CPU.
// Test: tests/vm/event_reader_test.cpp, and against the kernel tests/vm/events_kernel_test.cpp.
#include "vm/maps/perf_event_array.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "vm/maps/array.h"
#include "vm/maps/checks.h"

namespace xnic::vm {
PerfEventArray::PerfEventArray(const MapSpec& spec, const MapContext& context)
    : Map(spec, context.possible_cpus), objects_(context.objects), slots_(spec.max_entries) {}

std::shared_ptr<PerfEvent> PerfEventArray::event_at(uint32_t index) const {
  const std::lock_guard lock(mutex_);
  return index < slots_.size() ? slots_[index] : nullptr;
}

void PerfEventArray::store(uint32_t index, std::shared_ptr<PerfEvent> event) {
  const std::lock_guard lock(mutex_);
  slots_[index] = std::move(event);
}

int PerfEventArray::output(uint32_t index, std::span<const std::span<const uint8_t>> parts,
                           uint32_t cpu, uint64_t now_ns) {
  if (index >= spec_.max_entries) return -E2BIG;
  const std::shared_ptr<PerfEvent> event = event_at(index);
  return event == nullptr ? -ENOENT : event->output(parts, cpu, now_ns);
}

int PerfEventArray::update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) { return -EINVAL; }

int PerfEventArray::erase(const uint8_t* key) {
  const uint32_t index = read_index(key);
  if (index >= spec_.max_entries) return -E2BIG;
  const std::lock_guard lock(mutex_);
  return std::exchange(slots_[index], nullptr) != nullptr ? 0 : -ENOENT;
}

int PerfEventArray::user_lookup(const uint8_t*, uint8_t*, uint64_t) { return -kErrorNotSupported; }

int PerfEventArray::user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) {
  if (flags != BPF_ANY) return -EINVAL;
  const uint32_t index = read_index(key);
  if (index >= spec_.max_entries) return -E2BIG;
  int fd;
  std::memcpy(&fd, value, sizeof fd);
  auto event = objects_ != nullptr ? objects_->perf_event_by_fd(fd) : nullptr;
  if (event == nullptr) return -EBADF;
  store(index, std::move(event));
  return 0;
}

int PerfEventArray::next_key(const uint8_t* key, uint8_t* next) {
  return next_index(spec_.max_entries, key, next);
}

int check_perf_event_array(const MapSpec& spec) {
  constexpr uint32_t kAllowed =
      BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_PRESERVE_ELEMS;
  if (spec.max_entries == 0 || spec.key_size != 4 || spec.value_size != 4 ||
      !flags_valid(spec, kAllowed)) {
    return -EINVAL;
  }
  return 0;
}

tl::expected<std::shared_ptr<Map>, int> create_perf_event_array(const MapSpec& spec,
                                                                const MapContext& context) try {
  // Unlike values, slots are touched at once.
  constexpr uint64_t kMaxBytes = 1ull << 30;
  if (spec.max_entries * sizeof(std::shared_ptr<PerfEvent>) > kMaxBytes) {
    return tl::unexpected(-ENOMEM);
  }
  return std::make_shared<PerfEventArray>(spec, context);
} catch (const std::bad_alloc&) {
  return tl::unexpected(-ENOMEM);
}

}  // namespace xnic::vm

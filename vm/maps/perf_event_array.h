#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "vm/map.h"
#include "vm/perf_event.h"

namespace xnic::vm {

// BPF_MAP_TYPE_PERF_EVENT_ARRAY: the perf events that bpf_perf_event_output writes to, by CPU.
// User space stores descriptors of perf_event_open(2) and reads nothing. See MapType for what check
// and create answer.
int check_perf_event_array(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_perf_event_array(const MapSpec& spec,
                                                                const MapContext& context);

class PerfEventArray : public Map {
 public:
  PerfEventArray(const MapSpec& spec, const MapContext& context);

  // The array that a map is; null for every other type.
  static PerfEventArray* of(Map& map) {
    return map.spec().type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ? static_cast<PerfEventArray*>(&map)
                                                            : nullptr;
  }

  // The event in a slot, null if there is none.
  std::shared_ptr<PerfEvent> event_at(uint32_t index) const;
  // Fills a slot that exists.
  void store(uint32_t index, std::shared_ptr<PerfEvent> event);
  // bpf_perf_event_output from `cpu` to slot `index`: -E2BIG outside the array, -ENOENT for an
  // empty slot, and what PerfEvent::output answers.
  int output(uint32_t index, std::span<const std::span<const uint8_t>> parts, uint32_t cpu,
             uint64_t now_ns);

  // Programs reach a slot by bpf_perf_event_output alone.
  uint8_t* lookup(const uint8_t*, uint32_t) override { return nullptr; }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override;
  int erase(const uint8_t* key) override;
  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override;
  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override;
  int next_key(const uint8_t* key, uint8_t* next) override;

 private:
  ObjectResolver* objects_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<PerfEvent>> slots_;
};

}  // namespace xnic::vm

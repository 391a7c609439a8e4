#pragma once

#include <linux/perf_event.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <tl/expected.hpp>

#include "vm/maps/memory.h"
#include "vm/wakeup.h"

namespace xnic::vm {

// One perf event of the only kind that an emulated kernel has: a software event that receives what
// programs on one CPU give bpf_perf_event_output (PERF_COUNT_SW_BPF_OUTPUT). Its samples go to a
// ring that user space maps: a page with the positions (perf_event_mmap_page), then the data.
class PerfEvent {
 public:
  // What perf_event_open(2) answers: an event, -ENOENT for another kind, -EINVAL or -EOPNOTSUPP.
  // `memory_fd` is the memfd of its descriptor, which must outlive the event; with -1 the ring is
  // private memory.
  static tl::expected<std::shared_ptr<PerfEvent>, int> open(const perf_event_attr& attributes,
                                                            int cpu, int memory_fd);

  // Makes the ring, as mmap of `bytes` does: one page and a power of two of data pages. -EINVAL
  // for any other size, or if there is already a ring of another size.
  int map_ring(uint64_t bytes);
  // PERF_EVENT_IOC_ENABLE and _DISABLE.
  void enable(bool on) { enabled_ = on; }

  // One sample, made of parts one after another, as the kernel answers: 0; -EOPNOTSUPP if the event
  // is of another CPU or disabled; -ENOSPC without a ring or room in it (the next sample that fits
  // is preceded by a record that says how many were lost); -E2BIG for what no record can hold.
  int output(std::span<const std::span<const uint8_t>> parts, uint32_t cpu, uint64_t now_ns);

  // Takes all records off the ring, as a reader in user space would. `sample` gets the bytes of a
  // sample (with the up to 7 bytes that pad it), `lost` the number of samples that found no room.
  void consume(const std::function<void(std::span<const uint8_t>)>& sample,
               const std::function<void(uint64_t)>& lost);

  int cpu() const { return cpu_; }
  Wakeup& wakeup() { return wakeup_; }

  uint32_t id = 0;  // given by the Kernel

 private:
  PerfEvent(const perf_event_attr& attributes, int cpu, int memory_fd)
      : attributes_(attributes),
        cpu_(cpu),
        memory_fd_(memory_fd),
        enabled_(attributes.disabled == 0) {}
  void put(const void* bytes, uint64_t size);
  void wake_if_due();

  const perf_event_attr attributes_;
  const int cpu_;
  const int memory_fd_;
  std::atomic<bool> enabled_;
  std::mutex mutex_;
  std::unique_ptr<MemoryBlock> ring_;
  uint64_t data_bytes_ = 0;
  uint64_t head_ = 0;          // position behind the last record, while one is written
  uint64_t lost_ = 0;          // samples since the last one that fitted
  uint64_t half_ = 0;          // position of the last wake-up for data half read
  uint32_t until_wakeup_ = 0;  // samples since the last wake-up
  Wakeup wakeup_;
};

}  // namespace xnic::vm

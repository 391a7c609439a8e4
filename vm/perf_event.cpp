// Perf events as receivers of bpf_perf_event_output, with the records of perf_event_open(2). The
// ring is sized when it is mapped.
// What it leaves out: every other event; sample_type beyond PERF_SAMPLE_RAW, _TIME and _CPU; rings
// mapped without PROT_WRITE, which Linux overwrites, fill up like the others; write_backward,
// paused output, sample_id_all. Linux damages its ring with a sample above 64 KiB; here it is
// -E2BIG.
// Test: tests/vm/event_reader_test.cpp and tests/vm/events_kernel_test.cpp.
#include "vm/perf_event.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

namespace xnic::vm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kKnownSamples = PERF_SAMPLE_RAW | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU;
constexpr int kMaxCpu = 8192;

struct LostRecord {
  perf_event_header header;
  uint64_t id;
  uint64_t lost;
};
struct CpuField {
  uint32_t cpu;
  uint32_t reserved;
};

uint64_t& field(uint8_t* page, size_t offset) { return *std::bit_cast<uint64_t*>(page + offset); }
uint64_t load_field(uint8_t* page, size_t offset) {
  return std::atomic_ref(field(page, offset)).load(std::memory_order_acquire);
}
void store_field(uint8_t* page, size_t offset, uint64_t value) {
  std::atomic_ref(field(page, offset)).store(value, std::memory_order_release);
}

constexpr size_t kHead = offsetof(perf_event_mmap_page, data_head);
constexpr size_t kTail = offsetof(perf_event_mmap_page, data_tail);

}  // namespace

tl::expected<std::shared_ptr<PerfEvent>, int> PerfEvent::open(const perf_event_attr& attributes,
                                                              int cpu, int memory_fd) {
  if (attributes.type != PERF_TYPE_SOFTWARE || attributes.config != PERF_COUNT_SW_BPF_OUTPUT) {
    return tl::unexpected(-ENOENT);
  }
  if (cpu < 0 || cpu >= kMaxCpu) return tl::unexpected(-EINVAL);
  if ((attributes.sample_type & ~kKnownSamples) != 0) return tl::unexpected(-EOPNOTSUPP);
  return std::shared_ptr<PerfEvent>(new PerfEvent(attributes, cpu, memory_fd));
}

int PerfEvent::map_ring(uint64_t bytes) {
  if (bytes < kPage || bytes % kPage != 0) return -EINVAL;
  const uint64_t data = bytes - kPage;
  if (data != 0 && !std::has_single_bit(data)) return -EINVAL;
  const std::lock_guard lock(mutex_);
  if (ring_ != nullptr) return data == data_bytes_ ? 0 : -EINVAL;
  auto block =
      memory_fd_ < 0 ? MemoryBlock::anonymous(bytes) : MemoryBlock::shared(memory_fd_, bytes);
  if (!block) return block.error();
  ring_ = std::make_unique<MemoryBlock>(std::move(*block));
  data_bytes_ = data;
  field(ring_->data(), offsetof(perf_event_mmap_page, data_offset)) = kPage;
  field(ring_->data(), offsetof(perf_event_mmap_page, data_size)) = data;
  return 0;
}

void PerfEvent::put(const void* bytes, uint64_t size) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  uint8_t* data = ring_->data() + kPage;
  const uint64_t start = head_ & (data_bytes_ - 1);
  const uint64_t straight = std::min(size, data_bytes_ - start);
  std::copy_n(from, straight, data + start);
  std::copy_n(from + straight, size - straight, data);
  head_ += size;
}

// Readers wake after wakeup_events samples, and in any case when half of the ring has filled.
void PerfEvent::wake_if_due() {
  bool due = false;
  const uint64_t asked = attributes_.watermark != 0 ? attributes_.wakeup_watermark : 0;
  const uint64_t watermark = asked != 0 ? std::min(asked, data_bytes_) : data_bytes_ / 2;
  if (head_ - half_ > watermark) {
    half_ += watermark;
    due = true;
  }
  if (attributes_.watermark == 0 && attributes_.wakeup_events != 0 &&
      ++until_wakeup_ >= attributes_.wakeup_events) {
    until_wakeup_ = 0;
    due = true;
  }
  if (due) wakeup_.notify();
}

int PerfEvent::output(std::span<const std::span<const uint8_t>> parts, uint32_t cpu,
                      uint64_t now_ns) {
  if (!enabled_ || static_cast<int>(cpu) != cpu_) return -EOPNOTSUPP;
  const std::lock_guard lock(mutex_);
  if (ring_ == nullptr || data_bytes_ == 0) return -ENOSPC;

  uint64_t raw = 0;
  for (const auto& part : parts) raw += part.size();
  // The size field counts the padding too, so that the next record is aligned.
  const uint64_t padded = round_up_8(raw + sizeof(uint32_t)) - sizeof(uint32_t);
  const bool has_raw = (attributes_.sample_type & PERF_SAMPLE_RAW) != 0;
  const bool has_time = (attributes_.sample_type & PERF_SAMPLE_TIME) != 0;
  const bool has_cpu = (attributes_.sample_type & PERF_SAMPLE_CPU) != 0;
  const uint64_t size = sizeof(perf_event_header) + (has_time ? sizeof now_ns : 0) +
                        (has_cpu ? sizeof(CpuField) : 0) +
                        (has_raw ? sizeof(uint32_t) + padded : 0);
  if (size > UINT16_MAX) return -E2BIG;

  const uint64_t wanted = size + (lost_ != 0 ? sizeof(LostRecord) : 0);
  const uint64_t used = head_ - load_field(ring_->data(), kTail);
  if (used >= data_bytes_ || wanted > data_bytes_ - 1 - used) {
    ++lost_;
    return -ENOSPC;
  }
  if (lost_ != 0) {
    const LostRecord record{{PERF_RECORD_LOST, 0, sizeof(LostRecord)}, id, lost_};
    put(&record, sizeof record);
    lost_ = 0;
  }
  const perf_event_header header{PERF_RECORD_SAMPLE, PERF_RECORD_MISC_KERNEL,
                                 static_cast<uint16_t>(size)};
  put(&header, sizeof header);
  if (has_time) put(&now_ns, sizeof now_ns);
  if (has_cpu) {
    const CpuField on{cpu, 0};
    put(&on, sizeof on);
  }
  if (has_raw) {
    const auto raw_size = static_cast<uint32_t>(padded);
    put(&raw_size, sizeof raw_size);
    for (const auto& part : parts) put(part.data(), part.size());
    // As in the kernel, padding shows what was there before.
    head_ += padded - raw;
  }
  store_field(ring_->data(), kHead, head_);
  wake_if_due();
  return 0;
}

void PerfEvent::consume(const std::function<void(std::span<const uint8_t>)>& sample,
                        const std::function<void(uint64_t)>& lost) {
  const std::lock_guard lock(mutex_);
  if (ring_ == nullptr || data_bytes_ == 0) return;
  const uint8_t* data = ring_->data() + kPage;
  const auto copy = [&](uint64_t position, void* to, uint64_t size) {
    const uint64_t start = position & (data_bytes_ - 1);
    const uint64_t straight = std::min(size, data_bytes_ - start);
    std::memcpy(to, data + start, straight);
    std::memcpy(static_cast<uint8_t*>(to) + straight, data, size - straight);
  };
  uint64_t tail = load_field(ring_->data(), kTail);
  std::vector<uint8_t> bytes;
  while (tail < head_) {
    perf_event_header header;
    copy(tail, &header, sizeof header);
    if (header.type == PERF_RECORD_LOST) {
      LostRecord record;
      copy(tail, &record, sizeof record);
      lost(record.lost);
    } else if ((attributes_.sample_type & PERF_SAMPLE_RAW) != 0) {
      const bool has_time = (attributes_.sample_type & PERF_SAMPLE_TIME) != 0;
      const bool has_cpu = (attributes_.sample_type & PERF_SAMPLE_CPU) != 0;
      const uint64_t at = tail + sizeof header + (has_time ? sizeof(uint64_t) : 0) +
                          (has_cpu ? sizeof(CpuField) : 0);
      uint32_t size = 0;
      copy(at, &size, sizeof size);
      bytes.resize(size);
      copy(at + sizeof size, bytes.data(), size);
      sample(bytes);
    }
    tail += header.size;
    store_field(ring_->data(), kTail, tail);
  }
}

}  // namespace xnic::vm

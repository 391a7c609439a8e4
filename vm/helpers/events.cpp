// Records for user space, by ring buffer and by perf event.
// The dynptr forms of the ring buffer's helpers are in vm/helpers/dynptr.cpp.
// Test: tests/vm/events_kernel_test.cpp, against the kernel.
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include "vm/helpers/rows.h"
#include "vm/maps/perf_event_array.h"
#include "vm/maps/ringbuf.h"

namespace xnic::vm {
namespace {

RingBuffer& ring_at(uint64_t address) { return *RingBuffer::of(*std::bit_cast<Map*>(address)); }

std::span<const uint8_t> bytes_at(uint64_t address, uint64_t size) {
  return {std::bit_cast<const uint8_t*>(address), size};
}

void tell(const Invocation& run, Map& map) {
  if (run.environment.record) run.environment.record(map, run.environment);
}

void commit(const Invocation& run, uint64_t record, uint64_t flags, bool discard) {
  auto* bytes = std::bit_cast<uint8_t*>(record);
  RingBuffer& ring = RingBuffer::of_record(bytes);
  ring.commit(bytes, flags, discard);
  tell(run, ring);
}

uint64_t ringbuf_output(Invocation& run, uint64_t map, uint64_t data, uint64_t size, uint64_t flags,
                        uint64_t) {
  RingBuffer& ring = ring_at(map);
  const int error = ring.output(bytes_at(data, size), flags);
  if (error == 0) tell(run, ring);
  return result(error);
}

uint64_t ringbuf_reserve(Invocation&, uint64_t map, uint64_t size, uint64_t flags, uint64_t,
                         uint64_t) {
  return flags != 0 ? 0 : std::bit_cast<uint64_t>(ring_at(map).reserve(size));
}

uint64_t ringbuf_submit(Invocation& run, uint64_t record, uint64_t flags, uint64_t, uint64_t,
                        uint64_t) {
  commit(run, record, flags, false);
  return 0;
}

uint64_t ringbuf_discard(Invocation& run, uint64_t record, uint64_t flags, uint64_t, uint64_t,
                         uint64_t) {
  commit(run, record, flags, true);
  return 0;
}

uint64_t ringbuf_query(Invocation&, uint64_t map, uint64_t flags, uint64_t, uint64_t, uint64_t) {
  return ring_at(map).query(flags);
}

uint64_t packet_event_output(Invocation& run, uint64_t, uint64_t map, uint64_t flags, uint64_t data,
                             uint64_t size) {
  constexpr uint32_t kLengthShift = 32;
  if ((flags & ~uint64_t{BPF_F_CTXLEN_MASK | BPF_F_INDEX_MASK}) != 0) return result(-EINVAL);
  const uint64_t length = (flags & BPF_F_CTXLEN_MASK) >> kLengthShift;
  if (length > run.packet.length()) return result(-EFAULT);
  PerfEventArray& array = *PerfEventArray::of(*std::bit_cast<Map*>(map));
  const uint64_t linear = std::min<uint64_t>(length, run.packet.linear_length());
  const std::array parts = {bytes_at(data, size), run.packet.linear().first(linear),
                            run.packet.fragments().first(length - linear)};
  const uint64_t index = flags & BPF_F_INDEX_MASK;
  const uint32_t cpu = run.environment.cpu;
  const int error = array.output(index == BPF_F_CURRENT_CPU ? cpu : static_cast<uint32_t>(index),
                                 parts, cpu, run.environment.now_ns);
  if (error == 0) tell(run, array);
  return result(error);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(perf_event_output,
                kAnyType & ~(kFlowDissector | kSkReuseport | kNetfilter | kStructOps), R::integer,
                {A::context, A::map, A::any, A::memory_read, A::size_or_zero}, packet_event_output,
                kGplOnly),
    XNIC_HELPER(ringbuf_output, kAnyType, R::integer,
                {A::map, A::memory_read, A::size_or_zero, A::any}, ringbuf_output),
    XNIC_HELPER(ringbuf_reserve, kAnyType, R::record_or_null, {A::map, A::any, A::any},
                ringbuf_reserve),
    XNIC_HELPER(ringbuf_submit, kAnyType, R::none, {A::record, A::any}, ringbuf_submit),
    XNIC_HELPER(ringbuf_discard, kAnyType, R::none, {A::record, A::any}, ringbuf_discard),
    XNIC_HELPER(ringbuf_query, kAnyType, R::integer, {A::map, A::any}, ringbuf_query),
};

}  // namespace

std::span<const Helper> event_helpers() { return kRows; }

}  // namespace xnic::vm

// Dynptrs: made of a map's value or of a ring buffer record; read, written, looked into. What
// kernel functions add is in vm/kfuncs/dynptr.cpp. Test: tests/vm/verifier/dynptrs_test.cpp and
// tests/bpf/dynptrs, against Linux.
#include "vm/dynptr.h"

#include <array>
#include <cerrno>

#include "vm/helpers/rows.h"
#include "vm/maps/ringbuf.h"

namespace xnic::vm {

int make_dynptr(uint64_t address, DynptrKind kind, uint64_t data, uint32_t size, int error) {
  if (error == 0 && size > Dynptr::kMaxSize) error = -E2BIG;
  Dynptr made;
  if (error == 0) {
    made.data = data;
    made.size = size & Dynptr::kMaxSize;
    made.kind = static_cast<uint32_t>(kind) & 0x7f;
  }
  made.put(address);
  return error;
}

namespace {

uint64_t from_mem(Invocation&, uint64_t data, uint64_t size, uint64_t flags, uint64_t at,
                  uint64_t) {
  const auto bytes = static_cast<uint32_t>(size);
  const int error = bytes > Dynptr::kMaxSize ? -E2BIG : flags != 0 ? -EINVAL : 0;
  return result(make_dynptr(at, DynptrKind::local, data, bytes, error));
}

// The helper that reads or writes the bytes of a packet of this kind.
uint64_t on_packet(Invocation& run, const Dynptr& dynptr, uint32_t offset, uint64_t memory,
                   uint64_t size, uint64_t flags, bool write) {
  const bool skb = dynptr.is_of(DynptrKind::skb);
  const uint32_t id = write ? (skb ? BPF_FUNC_skb_store_bytes : BPF_FUNC_xdp_store_bytes)
                            : (skb ? BPF_FUNC_skb_load_bytes : BPF_FUNC_xdp_load_bytes);
  return find_helper(id)->function(run, dynptr.data, dynptr.offset + offset, memory, size, flags);
}

uint64_t read(Invocation& run, uint64_t to, uint64_t size, uint64_t from, uint64_t offset,
              uint64_t flags) {
  const Dynptr dynptr = Dynptr::at(from);
  const auto first = static_cast<uint32_t>(offset);
  const auto count = static_cast<uint32_t>(size);
  if (dynptr.is_null() || flags != 0) return result(-EINVAL);
  if (!dynptr.holds(first, count)) return result(-E2BIG);
  if (dynptr.is_of_packet()) return on_packet(run, dynptr, first, to, count, 0, false);
  std::memmove(memory_at(to), bytes_at(dynptr.data + dynptr.offset + first), count);
  return 0;
}

uint64_t write(Invocation& run, uint64_t to, uint64_t offset, uint64_t from, uint64_t size,
               uint64_t flags) {
  const Dynptr dynptr = Dynptr::at(to);
  const auto first = static_cast<uint32_t>(offset);
  const auto count = static_cast<uint32_t>(size);
  if (dynptr.is_null() || dynptr.read_only != 0) return result(-EINVAL);
  if (!dynptr.holds(first, count)) return result(-E2BIG);
  if (flags != 0 && !dynptr.is_of(DynptrKind::skb)) return result(-EINVAL);
  if (dynptr.is_of_packet()) return on_packet(run, dynptr, first, from, count, flags, true);
  std::memmove(memory_at(dynptr.data + dynptr.offset + first), bytes_at(from), count);
  return 0;
}

uint64_t data(Invocation&, uint64_t at, uint64_t offset, uint64_t size, uint64_t, uint64_t) {
  const Dynptr dynptr = Dynptr::at(at);
  const auto first = static_cast<uint32_t>(offset);
  if (dynptr.is_null() || dynptr.read_only != 0 || dynptr.is_of_packet()) return 0;
  if (!dynptr.holds(first, static_cast<uint32_t>(size))) return 0;
  return dynptr.data + dynptr.offset + first;
}

uint64_t ringbuf_reserve(Invocation&, uint64_t map, uint64_t size, uint64_t flags, uint64_t at,
                         uint64_t) {
  const auto bytes = static_cast<uint32_t>(size);
  int error = flags != 0 ? -EINVAL : bytes > Dynptr::kMaxSize ? -E2BIG : 0;
  uint8_t* record = error == 0 ? RingBuffer::of(map_at(map))->reserve(bytes) : nullptr;
  if (error == 0 && record == nullptr) error = -EINVAL;
  return result(
      make_dynptr(at, DynptrKind::ringbuf, std::bit_cast<uint64_t>(record), bytes, error));
}

// Gives the record to the ring, if there is one.
uint64_t end_record(Invocation& run, uint64_t at, uint64_t flags, uint32_t helper) {
  const Dynptr dynptr = Dynptr::at(at);
  if (dynptr.is_null()) return 0;
  find_helper(helper)->function(run, dynptr.data, flags, 0, 0, 0);
  Dynptr{}.put(at);
  return 0;
}

uint64_t ringbuf_submit(Invocation& run, uint64_t at, uint64_t flags, uint64_t, uint64_t,
                        uint64_t) {
  return end_record(run, at, flags, BPF_FUNC_ringbuf_submit);
}

uint64_t ringbuf_discard(Invocation& run, uint64_t at, uint64_t flags, uint64_t, uint64_t,
                         uint64_t) {
  return end_record(run, at, flags, BPF_FUNC_ringbuf_discard);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(dynptr_from_mem, kAnyType, R::integer,
                {A::memory_write, A::size_or_zero, A::any, A::new_local_dynptr}, from_mem),
    XNIC_HELPER(dynptr_read, kAnyType, R::integer,
                {A::memory_write, A::size_or_zero, A::dynptr, A::any, A::any}, read),
    XNIC_HELPER(dynptr_write, kAnyType, R::integer,
                {A::dynptr, A::any, A::memory_read, A::size_or_zero, A::any}, write),
    XNIC_HELPER(dynptr_data, kAnyType, R::slice_or_null, {A::dynptr, A::any, A::slice_size}, data),
    XNIC_HELPER(ringbuf_reserve_dynptr, kAnyType, R::integer,
                {A::map, A::any, A::any, A::new_ringbuf_dynptr}, ringbuf_reserve),
    XNIC_HELPER(ringbuf_submit_dynptr, kAnyType, R::none, {A::ended_ringbuf_dynptr, A::any},
                ringbuf_submit),
    XNIC_HELPER(ringbuf_discard_dynptr, kAnyType, R::none, {A::ended_ringbuf_dynptr, A::any},
                ringbuf_discard),
};

}  // namespace

std::span<const Helper> dynptr_helpers() { return kRows; }

}  // namespace xnic::vm

// Dynptrs of packets, and what can be done with dynptrs of any kind beside what helpers do.
// Bytes of fragments are always copied to the program's buffer; Linux gives a pointer to those that
// lie in one fragment. Test: tests/bpf/dynptrs, compared with Linux.
#include "vm/dynptr.h"

#include <array>
#include <cerrno>

#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

uint64_t of_packet(const Invocation& run, DynptrKind kind, uint64_t flags, uint64_t at) {
  return int_result(make_dynptr(at, kind, std::bit_cast<uint64_t>(&run.packet), run.packet.length(),
                                flags != 0 ? -EINVAL : 0));
}

// bpf_dynptr_from_skb(context, flags, dynptr).
uint64_t from_skb(Invocation& run, uint64_t, uint64_t flags, uint64_t at, uint64_t, uint64_t) {
  return of_packet(run, DynptrKind::skb, flags, at);
}

// The same for programs that may not write to the packet.
uint64_t from_skb_read_only(Invocation& run, uint64_t, uint64_t flags, uint64_t at, uint64_t,
                            uint64_t) {
  const uint64_t error = of_packet(run, DynptrKind::skb, flags, at);
  Dynptr dynptr = Dynptr::at(at);
  dynptr.read_only = 1;
  dynptr.put(at);
  return error;
}

// bpf_dynptr_from_xdp(context, flags, dynptr).
uint64_t from_xdp(Invocation& run, uint64_t, uint64_t flags, uint64_t at, uint64_t, uint64_t) {
  return of_packet(run, DynptrKind::xdp, flags, at);
}

// bpf_dynptr_slice(dynptr, offset, buffer or NULL, size): where the bytes lie, or the buffer with a
// copy of them.
uint64_t slice(Invocation& run, uint64_t of, uint64_t offset, uint64_t buffer, uint64_t size,
               uint64_t) {
  const Dynptr dynptr = Dynptr::at(of);
  const auto count = static_cast<uint32_t>(size);
  if (dynptr.is_null() || !dynptr.holds(static_cast<uint32_t>(offset), count)) return 0;
  const uint32_t first = dynptr.offset + static_cast<uint32_t>(offset);
  if (!dynptr.is_of_packet()) return dynptr.data + first;
  const Packet& packet = run.packet;
  if (uint64_t{first} + count <= packet.linear_length()) {
    return std::bit_cast<uint64_t>(packet.data() + first);
  }
  if (buffer == 0 || !packet.read(first, {memory_at(buffer), count})) return 0;
  return buffer;
}

uint64_t writable_slice(Invocation& run, uint64_t of, uint64_t offset, uint64_t buffer,
                        uint64_t size, uint64_t) {
  return Dynptr::at(of).read_only != 0 ? 0 : slice(run, of, offset, buffer, size, 0);
}

// bpf_dynptr_adjust(dynptr, start, end): forgets the bytes before and behind.
uint64_t adjust(Invocation&, uint64_t at, uint64_t first, uint64_t behind, uint64_t, uint64_t) {
  Dynptr dynptr = Dynptr::at(at);
  const auto start = static_cast<uint32_t>(first);
  const auto end = static_cast<uint32_t>(behind);
  if (dynptr.is_null() || start > end) return int_result(-EINVAL);
  if (end > dynptr.size) return int_result(-ERANGE);
  dynptr.offset += start;
  dynptr.size = (end - start) & Dynptr::kMaxSize;
  dynptr.put(at);
  return 0;
}

uint64_t is_null(Invocation&, uint64_t at, uint64_t, uint64_t, uint64_t, uint64_t) {
  return Dynptr::at(at).is_null() ? 1 : 0;
}

uint64_t is_read_only(Invocation&, uint64_t at, uint64_t, uint64_t, uint64_t, uint64_t) {
  const Dynptr dynptr = Dynptr::at(at);
  return dynptr.is_null() ? 0 : dynptr.read_only;
}

uint64_t size(Invocation&, uint64_t at, uint64_t, uint64_t, uint64_t, uint64_t) {
  const Dynptr dynptr = Dynptr::at(at);
  return dynptr.is_null() ? int_result(-EINVAL) : dynptr.size;
}

uint64_t clone(Invocation&, uint64_t of, uint64_t at, uint64_t, uint64_t, uint64_t) {
  const Dynptr dynptr = Dynptr::at(of);
  dynptr.put(at);
  return dynptr.is_null() ? int_result(-EINVAL) : 0;
}

using A = Argument;
using R = Returns;
// Types that may write to packets.
constexpr uint32_t kWriters = kXdp | kTc | kLwtXmit | kStream | kMessage;
constexpr std::array kRows = {
    Kfunc{kfunc_row("bpf_dynptr_from_skb", kTc | kLwtXmit | kStream, R::integer,
                    {A::context, A::any, A::new_skb_dynptr}, from_skb)},
    Kfunc{kfunc_row("bpf_dynptr_from_skb", kSocketFilter | kCgroupSkb | kLwt, R::integer,
                    {A::context, A::any, A::new_skb_dynptr}, from_skb_read_only)},
    Kfunc{kfunc_row("bpf_dynptr_from_xdp", kXdp, R::integer,
                    {A::context, A::any, A::new_xdp_dynptr}, from_xdp)},
    Kfunc{kfunc_row("bpf_dynptr_slice", kAnyType, R::read_only_slice_or_null,
                    {A::dynptr, A::any, A::buffer_or_null, A::slice_size}, slice)},
    Kfunc{kfunc_row("bpf_dynptr_slice_rdwr", kWriters, R::slice_or_null,
                    {A::dynptr, A::any, A::buffer_or_null, A::slice_size}, writable_slice)},
    Kfunc{
        kfunc_row("bpf_dynptr_adjust", kAnyType, R::integer, {A::dynptr, A::any, A::any}, adjust)},
    Kfunc{kfunc_row("bpf_dynptr_is_null", kAnyType, R::integer, {A::dynptr}, is_null)},
    Kfunc{kfunc_row("bpf_dynptr_is_rdonly", kAnyType, R::integer, {A::dynptr}, is_read_only)},
    Kfunc{kfunc_row("bpf_dynptr_size", kAnyType, R::integer, {A::dynptr}, size)},
    Kfunc{
        kfunc_row("bpf_dynptr_clone", kAnyType, R::integer, {A::dynptr, A::cloned_dynptr}, clone)},
};

}  // namespace

std::span<const Kfunc> dynptr_kfuncs() { return kRows; }

}  // namespace xnic::vm

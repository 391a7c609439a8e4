// Helpers that read and write the bytes of an XDP packet where they lie, in the linear area or in
// fragments. BPF_PROG_TEST_RUN makes fragments for every program, so that these helpers reach them
// whether or not it was loaded with BPF_F_XDP_HAS_FRAGS.
// Test: tests/bpf/xdp_bytes, compared with Linux.
#include <cerrno>

#include "vm/helpers/rows.h"

namespace xnic::vm {
namespace {

// 0 or -errno.
int objection(const Packet& packet, uint32_t offset, uint32_t size) {
  if (offset > UINT16_MAX || size > UINT16_MAX) return -EFAULT;
  return offset + size > packet.length() ? -EINVAL : 0;
}

uint64_t xdp_load_bytes(Invocation& run, uint64_t, uint64_t offset, uint64_t to, uint64_t size,
                        uint64_t) {
  const auto from = static_cast<uint32_t>(offset);
  const auto length = static_cast<uint32_t>(size);
  const int error = objection(run.packet, from, length);
  if (error == 0) run.packet.read(from, {memory_at(to), length});
  return result(error);
}

uint64_t xdp_store_bytes(Invocation& run, uint64_t, uint64_t offset, uint64_t from, uint64_t size,
                         uint64_t) {
  const auto to = static_cast<uint32_t>(offset);
  const auto length = static_cast<uint32_t>(size);
  const int error = objection(run.packet, to, length);
  if (error == 0) run.packet.write(to, bytes_at(from, length));
  return result(error);
}

uint64_t xdp_get_buff_len(Invocation& run, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return run.packet.length();
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(xdp_load_bytes, kXdp, R::integer, {A::context, A::any, A::memory_write, A::size},
                xdp_load_bytes),
    XNIC_HELPER(xdp_store_bytes, kXdp, R::integer, {A::context, A::any, A::memory_read, A::size},
                xdp_store_bytes),
    XNIC_HELPER(xdp_get_buff_len, kXdp, R::integer, {A::context}, xdp_get_buff_len),
};

}  // namespace

std::span<const Helper> xdp_byte_helpers() { return kRows; }

}  // namespace xnic::vm

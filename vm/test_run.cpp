// BPF_PROG_TEST_RUN, with the sizes, contexts and errors of Linux (net/bpf/test_run.c was read for
// its behaviour). Live frames that pass or are sent go nowhere and are counted in the Kernel; each
// is a fresh copy, where Linux uses a page again as the frame before left it. Left out: programs of
// other types.
// Test: tests/vm/test_run_test.cpp, tests/vm/syscall_program_test.cpp, and the kernel comparison.
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>

#include "vm/checksum.h"
#include "vm/program_type.h"
#include "vm/syscall.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxFragments = 17;
constexpr uint32_t kSkbHeadroom = 64;
constexpr uint32_t kMaxSkbData = kFrameSize - kSkbHeadroom - kSharedInfoSize;
constexpr uint32_t kMaxLegacyGsoSize = 65536;
constexpr uint32_t kMaxGsoSegments = 65535;
constexpr uint32_t kMaxLiveBatch = 256;
// Linux keeps two contexts and a frame in front of each live frame's data.
constexpr uint32_t kLivePageHead = 112;

template <class T>
T* user_pointer(uint64_t address) {
  return std::bit_cast<T*>(address);
}

// Copies the caller's context in; absent if the caller neither gives nor wants one.
template <class Context>
int copy_context_in(const bpf_attr& attr, std::optional<Context>& context) {
  const auto* in = user_pointer<const uint8_t>(attr.test.ctx_in);
  if (in == nullptr && attr.test.ctx_out == 0) return 0;
  context.emplace();
  if (in == nullptr) return 0;
  const uint32_t size = attr.test.ctx_size_in;
  if (size > sizeof(Context) &&
      std::any_of(in + sizeof(Context), in + size, [](uint8_t byte) { return byte != 0; })) {
    return -E2BIG;
  }
  std::memcpy(&*context, in, std::min<size_t>(size, sizeof(Context)));
  return 0;
}

template <class Context>
int copy_context_out(bpf_attr& attr, const std::optional<Context>& context) {
  if (!context || attr.test.ctx_out == 0) return 0;
  const size_t size = std::min<size_t>(sizeof(Context), attr.test.ctx_size_out);
  const bool cut = attr.test.ctx_size_out < sizeof(Context);
  std::memcpy(user_pointer<void>(attr.test.ctx_out), &*context, size);
  attr.test.ctx_size_out = sizeof(Context);
  return cut ? -ENOSPC : 0;
}

// Data out: metadata, linear part, fragments.
int finish(bpf_attr& attr, const Packet& packet, uint32_t code, uint32_t duration) {
  const std::span<const uint8_t> fragments = packet.fragments();
  const std::span<const uint8_t> linear{packet.data_meta(), packet.data_end()};
  const auto size = static_cast<uint32_t>(linear.size() + fragments.size());
  uint32_t copy = size;
  int error = 0;
  if (attr.test.data_size_out != 0 && copy > attr.test.data_size_out) {
    copy = attr.test.data_size_out;
    error = -ENOSPC;
  }
  if (auto* out = user_pointer<uint8_t>(attr.test.data_out); out != nullptr) {
    if (copy < fragments.size()) return -ENOSPC;
    const size_t head = copy - fragments.size();
    std::copy_n(linear.begin(), head, out);
    std::copy(fragments.begin(), fragments.end(), out + head);
  }
  attr.test.data_size_out = size;
  attr.test.retval = code;
  attr.test.duration = duration;
  return error;
}

// Runs the program `repeat` times on the same packet. Gives r0 of the last run and the mean wall
// time of a run in nanoseconds; -EFAULT if the interpreter stopped the program.
int run_repeatedly(Kernel& kernel, const Program& program, Packet& packet, uint32_t repeat,
                   uint32_t& code, uint32_t& duration) {
  repeat = std::max(repeat, 1u);
  const bool counts = kernel.stats_enabled();
  const auto start = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < repeat; i++) {
    Invocation invocation(packet, kernel.environment());
    code = static_cast<uint32_t>(program.code().run(invocation));
    if (invocation.fault) return -EFAULT;
  }
  kernel.timers().run_until(kernel.environment().now_ns, kernel.environment());
  const auto spent = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::steady_clock::now() - start);
  duration = static_cast<uint32_t>(spent.count() / repeat);
  if (counts) {
    program.count_run(spent, repeat);
  }
  return 0;
}

// Sends `repeat` copies of the packet through the program, for good.
int run_live(Kernel& kernel, const Program& program, std::span<const uint8_t> data,
             uint32_t metadata, uint32_t repeat, uint32_t& duration) {
  repeat = std::max(repeat, 1u);
  uint64_t spent = 0;
  for (uint32_t i = 0; i < repeat; i++) {
    Packet packet;
    packet.assign(data, {.metadata = metadata, .linear = kLinearSize});
    packet.ingress_ifindex = packet.ifindex = kLoopbackIfindex;
    uint32_t code = 0;
    uint32_t took = 0;
    const int error = run_repeatedly(kernel, program, packet, 1, code, took);
    if (error != 0) return error;
    spent += took;
    kernel.live_frames.frames++;
    kernel.live_frames.verdicts[find_program_type(BPF_PROG_TYPE_XDP)->verdict_name(code)]++;
  }
  duration = static_cast<uint32_t>(spent / repeat);
  return 0;
}

long run_xdp(Kernel& kernel, const Program& program, bpf_attr& attr) {
  const uint32_t made_for = program.spec().expected_attach_type;
  if (made_for == BPF_XDP_DEVMAP || made_for == BPF_XDP_CPUMAP) return -EINVAL;
  if ((attr.test.flags & ~BPF_F_TEST_XDP_LIVE_FRAMES) != 0) return -EINVAL;
  if (program.spec().ifindex != 0) return -EINVAL;
  const bool live = attr.test.flags != 0;
  if (live && attr.test.batch_size > kMaxLiveBatch) return -E2BIG;
  if (!live && attr.test.batch_size != 0) return -EINVAL;
  std::optional<xdp_md> context;
  if (const int error = copy_context_in(attr, context); error != 0) return error;

  const uint32_t size = attr.test.data_size_in;
  uint32_t metadata = 0;
  uint32_t linear = kLinearSize;
  uint32_t ifindex = kLoopbackIfindex;
  if (context) {
    if (context->data_meta != 0 || context->data_end > size || context->data > context->data_end) {
      return -EINVAL;
    }
    if (live && (attr.test.data_out != 0 || attr.test.ctx_out != 0)) return -EINVAL;
    metadata = context->data;
    if (metadata % 4 != 0 || metadata > kHeadroom - kXdpFrameSize) return -EINVAL;
    linear = std::min(context->data_end - metadata, kLinearSize);
    if (context->egress_ifindex != 0) return -EINVAL;
    if (context->ingress_ifindex == 0 && context->rx_queue_index != 0) return -EINVAL;
    if (context->ingress_ifindex != 0) {
      const Interface* device = kernel.network().by_index(context->ingress_ifindex);
      if (device == nullptr) return -ENODEV;
      if (context->rx_queue_index >= device->queues) return -EINVAL;
      ifindex = device->ifindex;
    }
  }
  // A live frame has no fragments.
  const uint32_t whole = context ? context->data_end : kLinearSize;
  if (live && size > std::min(whole, kLinearSize - kLivePageHead + metadata)) return -EINVAL;
  if (size - metadata < kEthernetHeader) return -EINVAL;
  if (size > metadata + linear + kMaxFragments * kFragmentSize) return -ENOMEM;
  const auto* data = user_pointer<const uint8_t>(attr.test.data_in);
  if (data == nullptr) return -EFAULT;

  Packet packet;
  packet.assign({data, size}, {.metadata = metadata, .linear = linear});
  packet.ingress_ifindex = packet.ifindex = ifindex;
  if (context) packet.rx_queue_index = context->rx_queue_index;
  uint32_t code = 0;
  uint32_t duration = 0;
  const int failed =
      live ? run_live(kernel, program, {data, size}, metadata, attr.test.repeat, duration)
           : run_repeatedly(kernel, program, packet, attr.test.repeat, code, duration);
  if (failed != 0) return failed;
  if (context) {
    context->data = packet.metadata_length();
    context->data_end = packet.metadata_length() + packet.linear_length();
  }
  const int error = finish(attr, packet, code, duration);
  return error != 0 ? error : copy_context_out(attr, context);
}

bool all_zero(const __sk_buff& context, size_t from, size_t to) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&context);
  return std::all_of(bytes + from, bytes + to, [](uint8_t byte) { return byte == 0; });
}

// Only these fields may be set by the caller.
bool context_is_valid(const __sk_buff& c) {
#define XNIC_END_OF(field) (offsetof(__sk_buff, field) + sizeof(c.field))
  return all_zero(c, 0, offsetof(__sk_buff, mark)) &&
         all_zero(c, XNIC_END_OF(mark), offsetof(__sk_buff, priority)) &&
         all_zero(c, XNIC_END_OF(ifindex), offsetof(__sk_buff, cb)) &&
         all_zero(c, XNIC_END_OF(cb), offsetof(__sk_buff, tstamp)) &&
         all_zero(c, XNIC_END_OF(gso_segs), offsetof(__sk_buff, gso_size)) &&
         all_zero(c, XNIC_END_OF(gso_size), offsetof(__sk_buff, hwtstamp)) &&
         all_zero(c, XNIC_END_OF(hwtstamp), sizeof(__sk_buff));
#undef XNIC_END_OF
}

int fields_from_context(Packet& packet, const __sk_buff& context) {
  if (!context_is_valid(context)) return -EINVAL;
  SkbFields& skb = packet.skb;
  skb.mark = context.mark;
  skb.priority = context.priority;
  packet.ingress_ifindex = context.ingress_ifindex;
  skb.tstamp = context.tstamp;
  std::copy(std::begin(context.cb), std::end(context.cb), skb.cb);
  if (context.wire_len != 0) {
    if (context.wire_len < packet.length() || context.wire_len > kMaxLegacyGsoSize) return -EINVAL;
    skb.wire_len = context.wire_len;
  }
  if (context.gso_segs > kMaxGsoSegments) return -EINVAL;
  skb.gso_segs = context.gso_segs;
  skb.gso_size = static_cast<uint16_t>(context.gso_size);
  skb.hwtstamp = context.hwtstamp;
  return 0;
}

void fields_to_context(const Packet& packet, __sk_buff& context) {
  const SkbFields& skb = packet.skb;
  context.mark = skb.mark;
  context.priority = skb.priority;
  context.ingress_ifindex = packet.ingress_ifindex;
  context.ifindex = packet.ifindex;
  context.tstamp = skb.tstamp;
  std::copy(std::begin(skb.cb), std::end(skb.cb), context.cb);
  context.wire_len = skb.wire_len;
  context.gso_segs = skb.gso_segs;
  context.hwtstamp = skb.hwtstamp;
}

long run_skb(Kernel& kernel, const Program& program, bpf_attr& attr) {
  if ((attr.test.flags & ~uapi::kChecksumComplete) != 0 || attr.test.cpu != 0 ||
      attr.test.batch_size != 0) {
    return -EINVAL;
  }
  const uint32_t size = attr.test.data_size_in;
  if (size < kEthernetHeader || size > kMaxSkbData) return -EINVAL;
  const auto* data = user_pointer<const uint8_t>(attr.test.data_in);
  if (data == nullptr) return -EFAULT;
  std::optional<__sk_buff> context;
  if (const int error = copy_context_in(attr, context); error != 0) return error;
  const uint32_t ifindex = context && context->ifindex != 0 ? context->ifindex : kLoopbackIfindex;
  const Interface* device = kernel.network().by_index(ifindex);
  if (device == nullptr) return -ENODEV;

  Packet packet;
  packet.assign({data, size}, {.headroom = kSkbHeadroom});
  packet.ifindex = ifindex;
  packet.classify_ethernet(device->mac);
  const uint32_t payload = size - kEthernetHeader;
  if (packet.skb.protocol == __builtin_bswap16(ETH_P_IP) && payload < sizeof(iphdr)) return -EINVAL;
  if (packet.skb.protocol == __builtin_bswap16(ETH_P_IPV6) && payload < sizeof(ipv6hdr)) {
    return -EINVAL;
  }
  // A socket sees what follows the link layer.
  const bool has_link_layer = program.type() != BPF_PROG_TYPE_SOCKET_FILTER;
  if (!has_link_layer) packet.pull(kEthernetHeader);
  if (context) {
    packet.skb.wire_len = packet.length();
    if (const int error = fields_from_context(packet, *context); error != 0) return error;
  }
  if (attr.test.flags != 0) {
    packet.skb.checksum_state = ChecksumState::complete;
    packet.skb.checksum = packet.network_sum();
  }
  uint32_t code = 0;
  uint32_t duration = 0;
  if (const int error = run_repeatedly(kernel, program, packet, attr.test.repeat, code, duration);
      error != 0) {
    return error;
  }
  if (!has_link_layer) {
    packet.push(kEthernetHeader);
    std::fill_n(packet.data(), kEthernetHeader, uint8_t{0});
  }
  // Linux stops with a bug where the program cut off what is to be summed.
  const int64_t network = packet.network_offset();
  if (attr.test.flags != 0 && (network < 0 || network > packet.length())) {
    return -EFAULT;
  }
  if (attr.test.flags != 0 &&
      checksum_of(packet.network_sum()) != checksum_of(packet.skb.checksum)) {
    return -EBADMSG;
  }
  if (context) fields_to_context(packet, *context);
  const int error = finish(attr, packet, code, duration);
  return error != 0 ? error : copy_context_out(attr, context);
}

}  // namespace

long test_run(Kernel& kernel, bpf_attr& attr) {
  // Sizes and addresses come in pairs.
  if ((attr.test.ctx_size_in != 0) != (attr.test.ctx_in != 0) ||
      (attr.test.ctx_size_out != 0) != (attr.test.ctx_out != 0)) {
    return -EINVAL;
  }
  const std::shared_ptr<Program> program =
      kernel.programs.by_fd(static_cast<int>(attr.test.prog_fd));
  if (program == nullptr) {
    return file_id(static_cast<int>(attr.test.prog_fd)) == FileId{} ? -EBADF : -EINVAL;
  }
  switch (program->type()) {
    case BPF_PROG_TYPE_XDP:
      return run_xdp(kernel, *program, attr);
    case BPF_PROG_TYPE_SOCKET_FILTER:
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
      return run_skb(kernel, *program, attr);
    default:
      return -kErrorNotSupported;
  }
}

}  // namespace xnic::vm

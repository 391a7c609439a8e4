// SYN cookies without a socket (bpf_tcp_raw_*): what of a connection is in its SYN goes into the
// sequence number that answers it (D. J. Bernstein; net/ipv4/syncookies.c), the sender's address
// and port, the minute and the maximum segment size, so that the ACK that follows tells whether
// there was such an answer. Nobody attacks an emulated machine: its secret is always the same.
// Test: tests/bpf/syncookies, compared with Linux.
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <span>

#include "vm/helpers/rows.h"
#include "vm/invocation.h"

namespace xnic::vm {
namespace {

constexpr uint64_t kNanosecondsPerMinute = 60'000'000'000;
constexpr uint32_t kMostAge = 2;  // minutes that a cookie lasts
constexpr uint32_t kMinuteShift = 24;
constexpr uint32_t kSizeMask = (1u << kMinuteShift) - 1;
constexpr uint16_t kDefaultSizeV4 = 536;
constexpr uint16_t kDefaultSizeV6 = 1280 - sizeof(ip6_hdr) - sizeof(tcphdr);

// The sizes that a cookie can tell.
constexpr std::array<uint16_t, 4> kSizesV4 = {536, 1300, 1440, 1460};
constexpr std::array<uint16_t, 4> kSizesV6 = {1280 - 60, 1480 - 60, 1500 - 60, 9000 - 60};

// SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein) of whole 64-bit words.
uint64_t siphash(std::span<const uint64_t> words, uint64_t key) {
  constexpr uint64_t kSecret = 0x786e69632073796e;
  std::array<uint64_t, 4> v = {key ^ 0x736f6d6570736575, kSecret ^ 0x646f72616e646f6d,
                               key ^ 0x6c7967656e657261, kSecret ^ 0x7465646279746573};
  const auto rounds = [&v](int count) {
    for (int i = 0; i < count; ++i) {
      v[0] += v[1];
      v[2] += v[3];
      v[1] = std::rotl(v[1], 13) ^ v[0];
      v[3] = std::rotl(v[3], 16) ^ v[2];
      v[0] = std::rotl(v[0], 32);
      v[2] += v[1];
      v[0] += v[3];
      v[1] = std::rotl(v[1], 17) ^ v[2];
      v[3] = std::rotl(v[3], 21) ^ v[0];
      v[2] = std::rotl(v[2], 32);
    }
  };
  const auto take = [&](uint64_t word) {
    v[3] ^= word;
    rounds(2);
    v[0] ^= word;
  };
  for (const uint64_t word : words) take(word);
  take(uint64_t{words.size() * sizeof(uint64_t)} << 56);
  v[2] ^= 0xff;
  rounds(4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

// A connection as its packets towards the machine tell it.
struct Connection {
  std::array<uint64_t, 4> addresses{};  // both
  tcphdr tcp{};
  std::span<const uint16_t, 4> sizes;
};

Connection connection_v4(uint64_t ip, uint64_t tcp, uint64_t bytes = sizeof(tcphdr)) {
  Connection c{.sizes = kSizesV4};
  std::memcpy(c.addresses.data(), bytes_at(ip) + offsetof(iphdr, saddr), 8);
  std::memcpy(&c.tcp, bytes_at(tcp), std::min(bytes, sizeof(c.tcp)));
  return c;
}

Connection connection_v6(uint64_t ip, uint64_t tcp, uint64_t bytes = sizeof(tcphdr)) {
  Connection c{.sizes = kSizesV6};
  std::memcpy(c.addresses.data(), bytes_at(ip) + offsetof(ip6_hdr, ip6_src), 32);
  std::memcpy(&c.tcp, bytes_at(tcp), std::min(bytes, sizeof(c.tcp)));
  return c;
}

uint32_t hash(const Connection& c, uint32_t minute, uint64_t key) {
  const uint64_t ports = (uint64_t{c.tcp.source} << 16) | c.tcp.dest;
  const std::array words = {c.addresses[0], c.addresses[1], c.addresses[2], c.addresses[3],
                            (uint64_t{minute} << 32) | ports};
  return static_cast<uint32_t>(siphash(words, key));
}

uint32_t minute_of(const Invocation& run) {
  return static_cast<uint32_t>(run.environment.now_ns / kNanosecondsPerMinute);
}

// The option of a SYN that says the maximum segment size; 0 where there is none.
uint16_t segment_size(std::span<const uint8_t> options) {
  uint16_t size = 0;
  while (!options.empty() && options[0] != TCPOPT_EOL) {
    if (options[0] == TCPOPT_NOP) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) break;
    if (options[0] == TCPOPT_MAXSEG && options[1] == TCPOLEN_MAXSEG) {
      const auto told = static_cast<uint16_t>((options[2] << 8) | options[3]);
      if (told != 0) size = told;
    }
    options = options.subspan(options[1]);
  }
  return size;
}

// The cookie, and above it the size that it tells.
uint64_t make(const Invocation& run, const Connection& c, uint64_t tcp, uint64_t bytes,
              uint16_t default_size) {
  if (bytes < sizeof(tcphdr) || bytes != c.tcp.doff * 4u) return result(-EINVAL);
  const uint16_t told = segment_size(bytes_at(tcp, bytes).subspan(sizeof(tcphdr)));
  const uint16_t wanted = told != 0 ? told : default_size;
  uint32_t index = 3;
  while (index > 0 && c.sizes[index] > wanted) --index;
  const uint32_t minute = minute_of(run);
  const uint32_t secret = (hash(c, minute, 1) + index) & kSizeMask;
  const uint32_t cookie = hash(c, 0, 0) + ntohl(c.tcp.seq) + (minute << kMinuteShift) + secret;
  return cookie | (uint64_t{c.sizes[index]} << 32);
}

uint64_t check(const Invocation& run, const Connection& c) {
  const uint32_t cookie = ntohl(c.tcp.ack_seq) - 1 - hash(c, 0, 0) - (ntohl(c.tcp.seq) - 1);
  const uint32_t minute = minute_of(run);
  const uint32_t age = (minute - (cookie >> kMinuteShift)) & (UINT32_MAX >> kMinuteShift);
  if (age >= kMostAge) return result(-EACCES);
  const uint32_t index = (cookie - hash(c, minute - age, 1)) & kSizeMask;
  return index < c.sizes.size() ? 0 : result(-EACCES);
}

uint64_t make_v4(Invocation& run, uint64_t ip, uint64_t tcp, uint64_t bytes, uint64_t, uint64_t) {
  return make(run, connection_v4(ip, tcp, bytes), tcp, bytes, kDefaultSizeV4);
}

uint64_t make_v6(Invocation& run, uint64_t ip, uint64_t tcp, uint64_t bytes, uint64_t, uint64_t) {
  return make(run, connection_v6(ip, tcp, bytes), tcp, bytes, kDefaultSizeV6);
}

uint64_t check_v4(Invocation& run, uint64_t ip, uint64_t tcp, uint64_t, uint64_t, uint64_t) {
  return check(run, connection_v4(ip, tcp));
}

uint64_t check_v6(Invocation& run, uint64_t ip, uint64_t tcp, uint64_t, uint64_t, uint64_t) {
  return check(run, connection_v6(ip, tcp));
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(tcp_raw_gen_syncookie_ipv4, kXdp | kTc, R::integer,
                {A::read_20, A::memory_read, A::size_or_zero}, make_v4, kGplOnly),
    XNIC_HELPER(tcp_raw_gen_syncookie_ipv6, kXdp | kTc, R::integer,
                {A::read_40, A::memory_read, A::size_or_zero}, make_v6, kGplOnly),
    XNIC_HELPER(tcp_raw_check_syncookie_ipv4, kXdp | kTc, R::integer, {A::read_20, A::read_20},
                check_v4, kGplOnly),
    XNIC_HELPER(tcp_raw_check_syncookie_ipv6, kXdp | kTc, R::integer, {A::read_40, A::read_20},
                check_v6, kGplOnly),
};

}  // namespace

std::span<const Helper> syncookie_helpers() { return kRows; }

}  // namespace xnic::vm

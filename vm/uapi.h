#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <cstring>

// What the emulated kernel's linux/bpf.h says beyond the one that xnic is built with (Debian 12
// has Linux 6.1's). Values and offsets are kernel ABI.
namespace xnic::vm::uapi {

inline constexpr uint32_t kTcxIngress = 46;  // enum bpf_attach_type
inline constexpr uint32_t kTcxEgress = 47;
inline constexpr uint32_t kLinkTypeTcx = 11;  // enum bpf_link_type
inline constexpr uint32_t kBefore = 1u << 3;  // flags of an attach point with several programs
inline constexpr uint32_t kAfter = 1u << 4;
inline constexpr uint32_t kId = 1u << 5;
inline constexpr uint32_t kLink = 1u << 13;
inline constexpr uint32_t kPathFd = 1u << 14;
inline constexpr uint64_t kIpv6Checksum = 1u << 7;  // BPF_F_IPV6 of bpf_l4_csum_replace
inline constexpr uint64_t kDecapIpv4 = 1u << 7;     // BPF_F_ADJ_ROOM_DECAP_L3_*
inline constexpr uint64_t kDecapIpv6 = 1u << 8;
inline constexpr uint32_t kChecksumComplete = 1u << 2;  // flag of BPF_PROG_TEST_RUN

inline constexpr uint32_t kCgrpStorageGet = 210;  // enum bpf_func_id
inline constexpr uint32_t kCgrpStorageDelete = 211;

inline constexpr uint32_t kDeviceBoundOnly = 1u << 6;  // flag of BPF_PROG_LOAD

inline constexpr uint32_t kTimerAbsolute = 1u << 0;  // flags of bpf_timer_start
inline constexpr uint32_t kTimerPinned = 1u << 1;
inline constexpr uint32_t kNoTunnelKey = 1u << 4;       // flag of bpf_skb_set_tunnel_key
inline constexpr uint32_t kTunnelFlags = 1u << 4;       // flag of bpf_skb_get_tunnel_key
inline constexpr uint32_t kFibSkipNeighbour = 1u << 2;  // flags of bpf_fib_lookup
inline constexpr uint32_t kFibTable = 1u << 3;
inline constexpr uint32_t kFibSource = 1u << 4;
inline constexpr uint32_t kFibMark = 1u << 5;
inline constexpr int kFibNoSource = 9;  // its answer

// Where a field lies in union bpf_attr.
inline constexpr size_t kObjPathFd = 16;             // u32, BPF_OBJ_PIN and BPF_OBJ_GET
inline constexpr size_t kAttachRelativeFd = 20;      // u32, BPF_PROG_ATTACH and DETACH
inline constexpr size_t kAttachRevision = 24;        // u64
inline constexpr size_t kLinkCreateRelativeFd = 16;  // u32, BPF_LINK_CREATE at tcx
inline constexpr size_t kLinkCreateRevision = 24;    // u64
inline constexpr size_t kLinkCreateEnd = 60;
inline constexpr size_t kQueryLinkIds = 40;          // u64, BPF_PROG_QUERY
inline constexpr size_t kQueryLinkAttachFlags = 48;  // u64
inline constexpr size_t kQueryRevision = 56;         // u64

template <class T>
T read(const bpf_attr& attr, size_t offset) {
  T value;
  std::memcpy(&value, reinterpret_cast<const uint8_t*>(&attr) + offset, sizeof value);
  return value;
}

template <class T>
void write(bpf_attr& attr, size_t offset, T value) {
  std::memcpy(reinterpret_cast<uint8_t*>(&attr) + offset, &value, sizeof value);
}

}  // namespace xnic::vm::uapi

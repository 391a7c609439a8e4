#pragma once

#include <linux/bpf.h>
#include <linux/filter.h>

#include <algorithm>
#include <cstdint>

#include "vm/isa.h"
#include "vm/packet.h"

namespace xnic::vm {

// The legacy packet loads, BPF_LD_ABS and BPF_LD_IND: r0 = the bytes at an offset, in host order.
// Offsets from SKF_LL_OFF on count from the Ethernet header, from SKF_NET_OFF on from the network
// header. Ancillary data (SKF_AD_OFF) belongs to
// classic BPF: to eBPF it is an offset out of bounds. False where the bytes are not there, which
// ends the function with 0. Test: tests/bpf/packet_loads, compared with Linux.
inline bool load_packet(const Packet& packet, const bpf_insn& insn, uint64_t* r) {
  const Opcode& op = opcode(insn);
  const uint64_t base = op.source_register ? r[insn.src_reg] : 0;
  int64_t offset = static_cast<int32_t>(base + static_cast<uint64_t>(insn.imm));
  if (offset < 0) {
    if (offset >= SKF_NET_OFF) {
      offset += packet.network_offset() - SKF_NET_OFF;
    } else if (offset >= SKF_LL_OFF) {
      offset += packet.mac_offset() - SKF_LL_OFF;
    } else {
      return false;
    }
  }
  const uint32_t width = op.width;
  if (offset < std::min(packet.mac_offset(), 0) || offset + width > packet.length()) return false;
  const auto linear = static_cast<int64_t>(packet.linear_length());
  uint64_t value = 0;
  for (int64_t at = offset; at < offset + width; ++at) {
    const uint8_t byte =
        at < linear ? packet.data()[at] : packet.fragments()[static_cast<size_t>(at - linear)];
    value = value << 8 | byte;
  }
  r[0] = value;
  return true;
}

}  // namespace xnic::vm

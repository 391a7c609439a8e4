// The Ethernet MAC: how long frames occupy the wire, and which ones it refuses.
// It leaves out pause frames, FEC and PCS latency, and jabber limits other than the MTU; a frame
// cut by the capture's snap length occupies the wire with the bytes that the capture holds.
// Test: tests/nic/mac_test.cpp.
#include "nic/mac.h"

#include "vm/packet.h"

namespace xnic::nic {

bool has_vlan_tag(std::span<const uint8_t> head) {
  if (head.size() < vm::kEthernetHeader) return false;
  const uint32_t type = static_cast<uint32_t>(head[12]) << 8 | head[13];
  return type == 0x8100 || type == 0x88a8;
}

}  // namespace xnic::nic

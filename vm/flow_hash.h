#pragma once

#include <cstdint>

#include "vm/packet.h"

namespace xnic::vm {

// The hash of a packet's flow, for a packet that came without: the same for both directions, never
// 0. Linux draws a secret for its own when it boots, so that no two agree on the number; this is
// FNV-1a over the addresses, ports and protocol.
uint32_t flow_hash(const Packet& packet);

}  // namespace xnic::vm

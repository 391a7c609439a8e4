#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <memory>

#include "vm/attach_point.h"
#include "vm/network.h"

namespace xnic::vm {

// A program attached to a device for as long as someone holds the link (bpf_link of Linux).
struct Link {
  uint32_t id = 0;    // given by the Kernel
  uint32_t type = 0;  // BPF_LINK_TYPE_XDP, uapi::kLinkTypeTcx
  std::shared_ptr<const Program> program;
  uint32_t ifindex = 0;  // of the device; 0 once it is detached
  uint32_t attach_type = 0;
  uint32_t flags = 0;  // XDP_FLAGS_*
};

// Where a program that bpf(2) attaches to a device can sit.
enum class XdpMode : uint8_t { generic, native, offload };

// A network device of the emulated machine as bpf(2) sees it: what is attached where. What a
// replay runs is attached by its own words (vm/hook.h); this is the record for links and queries.
struct NetDevice {
  uint32_t ifindex = 0;
  bool native_xdp = false;
  std::array<Attached, 3> xdp{};  // by XdpMode
  AttachPoint tcx_ingress{};
  AttachPoint tcx_egress{};
};

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <memory>

#include "vm/hook.h"
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

// A network device of the emulated machine, with what is attached to it.
struct NetDevice {
  uint32_t ifindex = 0;
  bool native_xdp = false;
  Hooks hooks = make_hooks();

  Hook& hook(HookPoint point) { return hooks[static_cast<size_t>(point)]; }
};

}  // namespace xnic::vm

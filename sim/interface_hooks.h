#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/outcome.h"
#include "vm/kernel.h"

namespace xnic::sim {

// The hooks of a machine's interfaces: references to what a kernel or a test owns, which must
// outlive this.
class InterfaceHooks {
 public:
  struct Entry {
    uint32_t ifindex;
    std::string name;
    Hooks* hooks;
  };

  // A machine whose only interface with hooks is nic0.
  InterfaceHooks(Hooks& nic0)  // NOLINT(google-explicit-constructor): the hooks are the machine's
      : entries_{{vm::kNicIfindex, "nic0", &nic0}} {}
  // All interfaces of the kernel's network.
  explicit InterfaceHooks(vm::Kernel& kernel) {
    for (const vm::Interface& interface : kernel.network().interfaces) {
      vm::NetDevice* device = kernel.device(interface.ifindex);
      entries_.push_back({interface.ifindex, interface.name, &device->hooks});
    }
  }

  explicit InterfaceHooks(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  // Null for an interface without hooks.
  Hooks* of(uint32_t ifindex) const {
    for (const Entry& entry : entries_) {
      if (entry.ifindex == ifindex) return entry.hooks;
    }
    return nullptr;
  }
  // Whether some program sees the hash that the NIC gives a packet: __sk_buff has it, and XDP
  // programs that are bound to the device may ask for it.
  bool see_rss_hashes() const {
    const auto sees = [](const vm::Attached& one) {
      return one.program != nullptr &&
             (one.program->type() != BPF_PROG_TYPE_XDP || one.program->spec().ifindex != 0);
    };
    return std::ranges::any_of(entries_, [&](const Entry& entry) {
      return std::ranges::any_of(*entry.hooks, [&](vm::Hook& hook) {
        return sees(hook.single()) || std::ranges::any_of(hook.tcx().attached(), sees);
      });
    });
  }
  // By index.
  std::span<const Entry> all() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace xnic::sim

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/outcome.h"
#include "vm/kernel.h"
#include "vm/loader.h"
#include "vm/result.h"

namespace xnic::sim {

// What the user wants to run: one object whose section names say where, and explicit attachments.
struct AttachRequest {
  std::optional<std::string> object;  // path
  std::string program;                // picks one of `object`'s programs; empty: by section
  std::vector<std::string> attach;    // "[nic0/]HOOK=OBJECT[:PROGRAM]"
  std::string btf;                    // types of the kernel for CO-RE; empty: the emulated one's
};

// Objects loaded into a kernel, each file once, and their programs at the hooks.
struct Attachments {
  std::vector<std::unique_ptr<vm::Object>> objects;
  Hooks hooks = {vm::Hook(vm::HookPoint::xdp_offload), vm::Hook(vm::HookPoint::xdp_native),
                 vm::Hook(vm::HookPoint::xdp_generic), vm::Hook(vm::HookPoint::tc_ingress),
                 vm::Hook(vm::HookPoint::tc_egress)};
  // The whole C name of the program at each hook; empty where nothing is attached.
  std::array<std::string, vm::kHookPoints> names;

  const std::string& name_at(vm::HookPoint hook) const { return names[static_cast<size_t>(hook)]; }
};

// Errors: usage for a bad attachment or two programs for one hook, and the loader's.
Result<Attachments> attach_programs(vm::Kernel& kernel, const AttachRequest& request);

// The maps called `name` in the objects, each once. Error (usage) where there is none: lists the
// names that there are.
Result<std::vector<vm::Map*>> find_maps(const Attachments& attachments, const std::string& name);

}  // namespace xnic::sim

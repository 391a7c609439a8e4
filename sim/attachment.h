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

// Objects loaded into a kernel, each file once, and the hooks of its nic0 with their programs.
struct Attachments {
  std::vector<std::unique_ptr<vm::Object>> objects;
  Hooks* hooks = nullptr;  // the kernel's

  // The whole C name of a program of the objects; of another, what bpf(2) keeps of it.
  const std::string& name_of(const vm::Program& program) const;
};

// Errors: usage for a bad attachment or two programs for one hook, and the loader's.
Result<Attachments> attach_programs(vm::Kernel& kernel, const AttachRequest& request);

// The maps called `name` in the objects, each once. Error (usage) where there is none: lists the
// names that there are.
Result<std::vector<vm::Map*>> find_maps(const Attachments& attachments, const std::string& name);

}  // namespace xnic::sim

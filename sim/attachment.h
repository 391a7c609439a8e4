#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/interface_hooks.h"
#include "vm/kernel.h"
#include "vm/loader.h"
#include "vm/result.h"

namespace xnic::sim {

// What the user wants to run: one object whose section names say where, and explicit attachments.
struct AttachRequest {
  std::optional<std::string> object;   // path
  std::string program;                 // picks one of `object`'s programs; empty: by section
  std::vector<std::string> attach;     // "[INTERFACE/]HOOK=OBJECT[:PROGRAM][,OPTION]..."
  std::string btf;                     // types of the kernel for CO-RE; empty: the emulated one's
  bool replaces = false;               // programs that are there make room
  std::vector<vm::LoadedMap> keeps{};  // ObjectOptions::keeps
  bool tried = false;                  // ObjectOptions::tried
};

// Objects loaded into a kernel, each file once, and the hooks of its interfaces with their
// programs.
struct Attachments {
  explicit Attachments(vm::Kernel& kernel) : hooks(kernel) {}

  std::vector<std::unique_ptr<vm::Object>> objects;
  InterfaceHooks hooks;

  // The whole C name of a program of the objects; of another, what bpf(2) keeps of it.
  const std::string& name_of(const vm::Program& program) const;
};

// Programs without an interface go to the one of index kNicIfindex. Options are for tc: the program
// is a classifier, not of direct action (`classifier`); class of the filter (`classid=1:10`, in
// hexadecimal as tc has it); what follows a match of a classifier (`action=ok`, `drop`, `pipe`,
// `continue`, `trap`). Errors: usage for a bad attachment or two programs for one hook,
// program_rejected for one that the interface's MTU excludes, and the loader's.
Result<Attachments> attach_programs(vm::Kernel& kernel, const AttachRequest& request);

// The maps called `name` in the objects, each once. Error (usage) where there is none: lists the
// names that there are, and the option that asked.
Result<std::vector<vm::Map*>> find_maps(const Attachments& attachments, const std::string& name,
                                        std::string_view option = "--map");

}  // namespace xnic::sim

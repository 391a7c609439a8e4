#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nic/port.h"
#include "sim/attachment.h"
#include "sim/commands/line_arguments.h"
#include "sim/run.h"
#include "vm/kernel.h"
#include "vm/result.h"

namespace xnic::sim {

// A port of the command line: "[INTERFACE=]NAME".
struct PortWord {
  std::string interface;  // empty: where none is named
  std::string name;
};
PortWord parse_port_word(const std::string& text);

// The emulated machine whose interfaces are ports, with the programs of the command line.
struct LineMachine {
  // `ports` in the order of the words. Errors: usage, those of files, program_rejected.
  static Result<std::unique_ptr<LineMachine>> make(const LineArguments& arguments,
                                                   const std::vector<PortWord>& words,
                                                   const std::vector<nic::Port*>& ports,
                                                   uint32_t threads);

  // What its threads run by.
  Result<RunOptions> run_options(const LineArguments& arguments, uint32_t threads) const;
  // Puts other programs where they attach, all or none; those of an object alone, without a place,
  // at all ports. Nobody may read the hooks meanwhile.
  Result<void> replace_programs(AttachRequest request);
  const std::string& interface_name(size_t port) const;
  // Of all objects that were loaded, of the same name that of the last.
  std::vector<vm::LoadedMap> maps() const;

  std::unique_ptr<vm::Engine> engine;
  std::optional<vm::Kernel> kernel;
  std::optional<Attachments> attachments;
  std::vector<uint32_t> interfaces;  // of the ports
  std::string btf;                   // AttachRequest::btf
};

}  // namespace xnic::sim

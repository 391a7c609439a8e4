#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vm/helper.h"
#include "vm/interpreter_memory.h"
#include "vm/invocation.h"
#include "vm/program.h"
#include "vm/program_type.h"

namespace xnic::vm {

// What one run of the interpreter calls: helpers and kfuncs, with every argument checked first, and
// what they hand out until the run ends. All references must outlive it.
class RunCalls {
 public:
  RunCalls(const ProgramType& type, Invocation& invocation, RunMemory& memory, Callbacks& callbacks)
      : type_(type), invocation_(invocation), memory_(memory), callbacks_(callbacks) {}

  // Performs the call at instruction `index` with r1 to r5 and leaves r0 in r[0]. False
  // after a fault, which the invocation then has.
  bool call(const Program& program, uint32_t index, uint64_t* r);
  // The map at this address, if the program names it or this run has found it in another map.
  const Map* find_map(const Program& program, uint64_t address) const;
  // Ends what the program should have ended itself, at instruction `index`; a fault, unless there
  // is one already.
  void clean_up(const Program& program, uint32_t index);

 private:
  // A sentence on what is wrong with an argument; empty if nothing is.
  std::string check_argument(const Helper& helper, uint32_t number, const uint64_t* r,
                             const Map*& map);
  std::string check_dynptr(const Helper& helper, uint32_t number, uint64_t address);
  // Whether the address is that of such a field of a map value or object.
  std::string check_field(const Helper& helper, uint32_t number, uint64_t address,
                          SpecialField::Kind kind);
  // Whether it is the start of an object.
  std::string check_object(const Helper& helper, uint32_t number, uint64_t address, bool counted);
  // Keeps an inner map for the rest of the run; gives its address, 0 for null.
  uint64_t hold(std::shared_ptr<Map> map);
  void discard_open_records(uint32_t index);
  void release_lock(uint32_t index);
  void fault(uint32_t index, std::string_view what);

  const ProgramType& type_;
  Invocation& invocation_;
  RunMemory& memory_;
  Callbacks& callbacks_;
  const Program* program_ = nullptr;              // that of the present call
  std::vector<std::shared_ptr<Map>> inner_maps_;  // found in maps of maps, alive until the end
};

}  // namespace xnic::vm

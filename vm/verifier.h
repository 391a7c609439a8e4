#pragma once

#include <memory>
#include <span>
#include <string>

#include "vm/program.h"

namespace xnic::vm {

// Finds a live map by the descriptor that a program's instructions name; null if it is none.
class MapResolver {
 public:
  virtual ~MapResolver() = default;
  virtual std::shared_ptr<Map> map_by_fd(int fd) = 0;
};

struct Rejection {
  int error = 0;        // -errno, as BPF_PROG_LOAD returns it
  std::string message;  // one line for the verifier log
};

// Makes Programs. What it checks today is structure: known opcodes and registers, jump targets
// inside their function and not into the middle of ld_imm64, no fall-through at the end, access
// sizes, division and shift immediates, helpers that exist for the program type and its license,
// maps that exist, call depth and stack budget of the call graph. What a value may be is left to
// the interpreter's checks (vm/interpreter.h). Rejections answer -errno as Linux does.
// Linux checks the fields of an instruction only where its analysis reaches it; here, everywhere.
// Test: tests/vm/verifier_test.cpp.
class Verifier {
 public:
  static tl::expected<std::shared_ptr<Program>, Rejection> verify(ProgramSpec spec,
                                                                  std::span<const int> fd_array,
                                                                  MapResolver& maps);
};

}  // namespace xnic::vm

#pragma once

#include <memory>
#include <span>
#include <string>

#include "vm/program.h"
#include "vm/rejection.h"

namespace xnic::vm {

class Btf;

// Finds a live map by the descriptor that a program's instructions name; null if it is none.
class MapResolver {
 public:
  virtual ~MapResolver() = default;
  virtual std::shared_ptr<Map> map_by_fd(int fd) = 0;
};

struct VerifierOptions {
  const Btf* kernel_types = nullptr;  // that ids in the program are of; null: kernel_types()
  // Whether what registers and memory may hold is followed along every path (vm/verifier/); if
  // not, only the structure is checked.
  bool values = false;
  uint32_t log_level = 0;      // as bpf(2) has it
  uint32_t possible_cpus = 0;  // 0: not known
};

// Makes Programs. Always checked is structure: known opcodes, jump targets inside their function
// and not into the middle of ld_imm64, no fall-through at the end, reachability, maps that exist.
// With VerifierOptions::values, vm/verifier/analysis.h then follows every path as Linux does, and
// looks only at instructions that a path reaches. Without, the form of all instructions, helpers,
// call depth and constant stack accesses are checked here, and what a value may be is left to the
// interpreter's checks (vm/interpreter.h). Rejections answer -errno as Linux does.
// Test: tests/vm/verifier_test.cpp.
class Verifier {
 public:
  static tl::expected<std::shared_ptr<Program>, Rejection> verify(
      ProgramSpec spec, std::span<const int> fd_array, MapResolver& maps,
      const VerifierOptions& options = {});
};

}  // namespace xnic::vm

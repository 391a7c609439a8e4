#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vm/program.h"
#include "vm/verifier/log.h"
#include "vm/verifier/state.h"

namespace xnic::vm {
class Btf;
}

namespace xnic::vm::verifier {

struct Options {
  const Btf* kernel_types = nullptr;  // that ids in the program are of; null: kernel_types()
  uint32_t log_level = 0;             // as bpf(2) has it
  uint32_t possible_cpus = 0;         // 0: not known
  // What the states of paths and the notes on the stack may take; a program that needs more is
  // refused. Linux leaves that to the limits of the process.
  size_t most_bytes = size_t{2} << 30;
  // Only this path, of a finding: it is not looked whether it may end earlier, and `observe` gets
  // the state before each of its instructions. A path with loops may come out otherwise.
  std::span<const uint32_t> along = {};
  std::function<void(const State&, uint32_t index)> observe = {};
};

struct Finding {
  Verdict refusal;
  uint32_t index = 0;  // the instruction that is refused; of a program that is, and UINT32_MAX
                       // where no single one is
  std::vector<uint32_t> path;    // the instructions that lead there, it is the last; or empty
  std::unique_ptr<State> state;  // before the instruction; null where no single one is refused
  VerifierStatistics statistics;
  std::string log;
  Proof proof;
};

// Follows every path of a program that has passed the structural checks of vm/verifier.cpp, with
// what is known of each register and stack slot, and ends paths that can bring nothing new. This
// is abstract interpretation in the steps of kernel/bpf/verifier.c, so that verdicts agree: as for
// a privileged program, which may leak pointers. Left out: dynptrs, other iterators than
// bpf_iter_num, kptrs, arenas. A program may be larger in branches than Linux likes: 131,072 paths
// may wait, where Linux has 8,192, as far as memory allows.
// Test: tests/vm/verifier/analysis_test.cpp, and the comparison of verdicts in tests/verdicts.
Finding analyse(const ProgramSpec& spec, std::span<const Subprogram> subprograms,
                std::span<const std::shared_ptr<Map>> maps, bool gpl_compatible, Options options);

}  // namespace xnic::vm::verifier

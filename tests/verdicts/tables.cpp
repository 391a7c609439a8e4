// The kernel's old-style tables of programs (tools/testing/selftests/bpf/verifier/*.c), on both
// kernels: their own driver, test_verifier.c, is linked in as run_tables() and run once over the
// kernel of this machine and once over the emulated one, whose bpf(2) calls land in ours. Printed
// is every row whose outcome differs, and how many agree; an outcome counts the words of a
// rejection and a result of a run, too. Built where XNIC_SELFTESTS names the folder of a kernel's
// selftests/bpf. Exit code 77 without permission to load programs.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"
#include "vm/syscall.h"

// What the driver asks of other files of the selftests: here there is neither a module for tests
// nor a need for rewritten instructions or flags.
extern "C" {
int run_tables(int argc, char** argv);
bool is_jit_enabled() { return true; }
int testing_prog_flags() { return 0; }
int load_bpf_testmod(bool) { return 0; }
int unload_bpf_testmod(bool) { return 0; }
int get_xlated_program(int, bpf_insn**, uint32_t*) { return -1; }
}

namespace xnic::test {
namespace {

// "#12/p name" and what came of it: "OK", "FAIL", "SKIP".
using Outcomes = std::map<std::string, std::string>;

Outcomes outcomes_of(FILE* in) {
  static constexpr std::string_view kWords[] = {" OK", " FAIL", " SKIP"};
  Outcomes outcomes;
  std::string* failed = nullptr;
  char* line = nullptr;
  size_t room = 0;
  while (getline(&line, &room, in) > 0) {
    std::string_view text(line);
    while (text.ends_with('\n')) text.remove_suffix(1);
    // Why the row before failed.
    if (failed != nullptr && !text.starts_with("verification time"))
      *failed += fmt::format(": {}", text);
    failed = nullptr;
    if (!text.starts_with('#')) continue;
    for (const std::string_view word : kWords) {
      const size_t at = text.rfind(word);
      if (at == std::string_view::npos) continue;
      // What the driver says between a row's name and its outcome.
      const size_t name_end = std::min(at, text.find(" Did not run the program"));
      std::string& outcome = outcomes[std::string(text.substr(0, name_end))];
      outcome = word.substr(1);
      if (outcome == "FAIL") failed = &outcome;
      break;
    }
  }
  std::free(line);
  return outcomes;
}

// In a process of its own, whose output is read.
Outcomes run_in(vm::Kernel* kernel) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    dup2(ends[1], STDOUT_FILENO);
    std::optional<vm::KernelScope> scope;
    if (kernel != nullptr) scope.emplace(*kernel);
    std::string name = "tables";
    char* arguments[] = {name.data(), nullptr};
    run_tables(1, arguments);
    std::fflush(stdout);
    _exit(0);
  }
  close(ends[1]);
  FILE* in = fdopen(ends[0], "r");
  Outcomes outcomes = outcomes_of(in);
  std::fclose(in);
  waitpid(child, nullptr, 0);
  return outcomes;
}

}  // namespace

int main() {
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    fmt::print(stderr, "{}\n", why);
    return 77;
  }
  const Outcomes linux_says = run_in(nullptr);
  vm::Interpreter interpreter;
  vm::Kernel kernel(interpreter, {.possible_cpus = real_possible_cpus(), .seed = 1});
  Outcomes we_say = run_in(&kernel);
  size_t agree = 0;
  for (const auto& [row, theirs] : linux_says) {
    const std::string& ours = we_say[row];
    if (ours == theirs) {
      ++agree;
    } else {
      fmt::print("{}\tLinux: {}\twe: {}\n", row, theirs, ours.empty() ? "nothing" : ours);
    }
  }
  fmt::print("{} of {} rows have the same outcome\n", agree, linux_says.size());
  return 0;
}

}  // namespace xnic::test

int main() { return xnic::test::main(); }

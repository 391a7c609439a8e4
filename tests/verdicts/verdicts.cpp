// Holds the verifier's verdicts against the kernel's:
//   xnic_verdicts [--effort] [--logs FOLDER] OBJECT...
// loads each program of each object, alone, into the kernel of this machine and into the emulated
// one, and prints where they disagree, and how often they agree by program type and by kind of
// object (the part of its name before the first underscore). A program whose source tells what it
// returns (__retval) is run on both, if its type is run here (else: not-run). With --effort,
// programs of which the two verifiers looked at a different number of instructions are listed, too;
// --logs keeps both logs at level 2. Exit code 1 if a program is accepted that Linux rejects, or
// one returns something else; 77 without permission to load programs.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "tests/support/bpf_host.h"
#include "tests/verdicts/judge.h"
#include "vm/interpreter.h"
#include "vm/kernel_face.h"

namespace xnic::test {
namespace {

std::string_view verdict_on(const Answer& linux_says, const Answer& we_say) {
  if (!linux_says.judged) return "unjudged";
  if (we_say.accepted != linux_says.accepted) {
    if (we_say.accepted) return "UNSAFE";
    return we_say.judged ? "strict" : "unsupported";
  }
  return we_say.accepted ? "accept" : "reject";
}

std::string words(const Answer& answer) {
  return answer.accepted
             ? fmt::format("accepts ({} insns, {} states)", answer.instructions, answer.states)
             : answer.reason;
}

struct Wishes {
  bool effort = false;
  std::string logs;
};

// What it returns, with the types that programs are run with.
std::optional<uint32_t> run_here(const std::string& path, size_t index, vm::Interpreter& engine) {
  vm::Kernel kernel(engine, {.possible_cpus = real_possible_cpus(), .seed = 1});
  // Linux's clock has been running.
  kernel.environment().now_ns = 1'000'000'000;
  return judge({path, index, true, ""}, &kernel).returns;
}

// One line for each program: the class of its verdicts, type, object, name, both reasons.
void compare(const std::string& path, const Wishes& wishes, FILE* out) {
  vm::Interpreter interpreter;
  static const std::shared_ptr<const vm::Btf> types =
      vm::read_kernel_types("/sys/kernel/btf/vmlinux");
  const std::vector<Listed> programs = programs_of(path);
  for (size_t i = 0; i < programs.size(); ++i) {
    const Listed& program = programs[i];
    const bool run = program.returns.has_value();
    const auto log = [&](std::string_view whose) {
      return wishes.logs.empty() ? std::string()
                                 : fmt::format("{}/{}.{}", wishes.logs, program.name, whose);
    };
    const Answer linux_says = judge({path, i, run, log("linux")}, nullptr);
    vm::Kernel kernel(interpreter,
                      {.possible_cpus = real_possible_cpus(), .seed = 1, .types = types});
    Answer we_say = judge({path, i, false, log("xnic")}, &kernel);
    if (run && we_say.accepted) we_say.returns = run_here(path, i, interpreter);
    const auto tell = [&](std::string_view what, const std::string& theirs,
                          const std::string& ours) {
      fmt::print(out, "{}\t{}\t{}\t{}\tLinux: {}\twe: {}\n", what, program.type,
                 std::filesystem::path(path).filename().string(), program.name, theirs, ours);
      std::fflush(out);
    };
    const std::string_view verdict = verdict_on(linux_says, we_say);
    tell(verdict, words(linux_says), words(we_say));
    if (verdict != "accept") continue;
    if (wishes.effort && linux_says.instructions != we_say.instructions) {
      tell("effort", words(linux_says), words(we_say));
    }
    if (!linux_says.returns.has_value()) continue;
    const std::string_view result = !we_say.returns                        ? "not-run"
                                    : linux_says.returns == we_say.returns ? "same-result"
                                                                           : "RESULT";
    tell(result, std::to_string(*linux_says.returns),
         we_say.returns ? std::to_string(*we_say.returns) : "does not run such programs");
  }
}

using Counts = std::map<std::string, int, std::less<>>;  // by verdict

// Of the programs that both kernels could judge or that only Linux could, how many got the same.
void print_agreement(std::string_view title, const std::map<std::string, Counts>& groups) {
  fmt::print("\n{:32} {:>7} {:>7} {:>7} {:>12} {:>7} {:>10}\n", title, "accept", "reject", "strict",
             "unsupported", "UNSAFE", "agreement");
  for (const auto& [name, counts] : groups) {
    const auto of = [&](std::string_view verdict) {
      const auto found = counts.find(verdict);
      return found == counts.end() ? 0 : found->second;
    };
    const int agree = of("accept") + of("reject");
    const int all = agree + of("strict") + of("unsupported") + of("UNSAFE");
    if (all == 0) continue;
    fmt::print("{:32} {:7} {:7} {:7} {:12} {:7} {:9.1f}%\n", name, of("accept"), of("reject"),
               of("strict"), of("unsupported"), of("UNSAFE"), 100.0 * agree / all);
  }
}

class Tally {
 public:
  // A line of compare(); printed unless it tells of agreement.
  void take(const std::string& line) {
    const size_t first = line.find('\t');
    const size_t second = line.find('\t', first + 1);
    const size_t third = line.find('\t', second + 1);
    const std::string verdict = line.substr(0, first);
    const std::string object = line.substr(second + 1, third - second - 1);
    ++all_["all"][verdict];
    ++by_type_[line.substr(first + 1, second - first - 1)][verdict];
    ++by_kind_[object.substr(0, object.find_first_of("_."))][verdict];
    if (verdict != "accept" && verdict != "reject" && verdict != "same-result") {
      fmt::print("{}", line);
    }
  }
  void crashed(const std::string& object) {
    ++all_["all"]["CRASH"];
    fmt::print("CRASH\t{}\n", object);
  }
  bool is_bad() {
    const Counts& counts = all_["all"];
    return counts.contains("UNSAFE") || counts.contains("RESULT") || counts.contains("CRASH");
  }
  void print() {
    print_agreement("kind of object", by_kind_);
    print_agreement("program type", by_type_);
    print_agreement("", all_);
    fmt::print("\n");
    for (const auto& [verdict, count] : all_["all"]) fmt::print("{} {}\n", verdict, count);
  }

 private:
  std::map<std::string, Counts> all_;
  std::map<std::string, Counts> by_type_;
  std::map<std::string, Counts> by_kind_;
};

}  // namespace

int main(int argc, char** argv) {
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    fmt::print(stderr, "{}\n", why);
    return 77;
  }
  keep_libbpf_words();
  Tally tally;
  Wishes wishes;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--effort") {
      wishes.effort = true;
      continue;
    }
    if (std::string_view(argv[i]) == "--logs" && i + 1 < argc) {
      wishes.logs = argv[++i];
      continue;
    }
    int ends[2];
    if (pipe(ends) != 0) return 4;
    // An object of its own process: should one bring us down, the others are still compared.
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      FILE* out = fdopen(ends[1], "w");
      compare(argv[i], wishes, out);
      std::fclose(out);
      _exit(0);
    }
    close(ends[1]);
    FILE* in = fdopen(ends[0], "r");
    char* line = nullptr;
    size_t room = 0;
    while (getline(&line, &room, in) > 0) tally.take(line);
    std::fflush(stdout);
    std::free(line);
    std::fclose(in);
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status)) tally.crashed(argv[i]);
  }
  tally.print();
  return tally.is_bad() ? 1 : 0;
}

}  // namespace xnic::test

int main(int argc, char** argv) { return xnic::test::main(argc, argv); }

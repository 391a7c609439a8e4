// Holds the verifier's verdicts against the kernel's:
//   xnic_verdicts OBJECT...
// loads each program of each object, alone, into the kernel of this machine and into the emulated
// one with its values followed, and prints where they disagree and how often they agree. Exit code
// 1 if a program is accepted that Linux rejects, 77 without permission to load programs.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"
#include "vm/syscall.h"

namespace xnic::test {
namespace {

constexpr size_t kLogBytes = 16u << 20;

struct Answer {
  bool accepted = false;
  bool judged = false;  // the verifier has seen it
  std::string reason;   // last lines of the log
};

std::string& libbpf_words() {
  static std::string words;
  return words;
}

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 512> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  if (libbpf_words().size() < 4096) libbpf_words() += line.data();
  return 0;
}

// The lines of a log that say why: the last ones that are no statistics.
std::string reason_of(std::string_view log) {
  std::string reason;
  while (!log.empty()) {
    while (log.ends_with('\n')) log.remove_suffix(1);
    const size_t start = log.rfind('\n') + 1;
    const std::string_view line = log.substr(start);
    if (!line.starts_with("processed ") && !line.starts_with("verification time") &&
        !line.starts_with("stack depth")) {
      reason = std::string(line);
      break;
    }
    log = log.substr(0, start);
  }
  for (char& c : reason) {
    if (c == '\t' || c == '\n') c = ' ';
  }
  return reason;
}

// One program of the object, with the object's maps; ours if there is a kernel.
Answer load(const std::string& path, size_t index, vm::Kernel* kernel) {
  std::optional<vm::KernelScope> scope;
  if (kernel != nullptr) scope.emplace(*kernel);
  static std::vector<char> log(kLogBytes);
  log[0] = 0;
  libbpf_words().clear();
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) return {false, false, "cannot be opened"};
  size_t at = 0;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    bpf_program__set_autoload(program, at == index);
    if (at == index) bpf_program__set_log_buf(program, log.data(), log.size());
    ++at;
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object, map)) != nullptr) {
    bpf_map__set_pin_path(map, nullptr);
    // Programs that do not use a map that does not exist here can be judged without it.
    const bool exists = kernel == nullptr || vm::find_map_type(bpf_map__type(map)) != nullptr;
    if (!exists) bpf_map__set_autocreate(map, false);
  }
  Answer answer;
  answer.accepted = bpf_object__load(object) == 0;
  answer.judged = answer.accepted || log[0] != 0;
  if (!answer.accepted) {
    answer.reason = log[0] != 0 ? reason_of(log.data()) : reason_of(libbpf_words());
  }
  bpf_object__close(object);
  return answer;
}

struct Listed {
  std::string name;
  std::string type;
};

std::vector<Listed> programs_of(const std::string& path) {
  std::vector<Listed> listed;
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) return listed;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    const char* type = libbpf_bpf_prog_type_str(bpf_program__type(program));
    listed.push_back({bpf_program__name(program), type == nullptr ? "?" : type});
  }
  bpf_object__close(object);
  return listed;
}

// One line for each program: the class of its verdicts, type, object, name, both reasons.
void compare(const std::string& path, FILE* out) {
  vm::Interpreter interpreter;
  const std::vector<Listed> programs = programs_of(path);
  for (size_t i = 0; i < programs.size(); ++i) {
    const Answer linux_says = load(path, i, nullptr);
    vm::Kernel kernel(interpreter,
                      {.possible_cpus = real_possible_cpus(), .seed = 1, .verify_values = true});
    const Answer we_say = load(path, i, &kernel);
    const char* verdict = "agree";
    if (!linux_says.judged) {
      verdict = "unjudged";
    } else if (!we_say.judged) {
      verdict = "unsupported";
    } else if (we_say.accepted && !linux_says.accepted) {
      verdict = "UNSAFE";
    } else if (!we_say.accepted && linux_says.accepted) {
      verdict = "strict";
    } else if (!we_say.accepted) {
      verdict = "agree-reject";
    }
    fmt::print(out, "{}\t{}\t{}\t{}\tLinux: {}\twe: {}\n", verdict, programs[i].type,
               std::filesystem::path(path).filename().string(), programs[i].name,
               linux_says.accepted ? "accepts" : linux_says.reason,
               we_say.accepted ? "accepts" : we_say.reason);
    std::fflush(out);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    fmt::print(stderr, "{}\n", why);
    return 77;
  }
  libbpf_set_print(keep_words);
  bool unsafe = false;
  std::map<std::string, int> counts;
  for (int i = 1; i < argc; ++i) {
    int ends[2];
    if (pipe(ends) != 0) return 4;
    // An object of its own process: should one bring us down, the others are still compared.
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      FILE* out = fdopen(ends[1], "w");
      compare(argv[i], out);
      std::fclose(out);
      _exit(0);
    }
    close(ends[1]);
    FILE* in = fdopen(ends[0], "r");
    char* line = nullptr;
    size_t room = 0;
    while (getline(&line, &room, in) > 0) {
      const std::string text(line);
      const std::string verdict = text.substr(0, text.find('\t'));
      ++counts[verdict];
      unsafe = unsafe || verdict == "UNSAFE";
      if (!verdict.starts_with("agree")) fmt::print("{}", text);
    }
    std::fflush(stdout);
    std::free(line);
    std::fclose(in);
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status)) {
      ++counts["CRASH"];
      fmt::print("CRASH\t{}\n", argv[i]);
    }
  }
  for (const auto& [verdict, count] : counts) fmt::print("{} {}\n", verdict, count);
  return unsafe ? 1 : 0;
}

}  // namespace xnic::test

int main(int argc, char** argv) { return xnic::test::main(argc, argv); }

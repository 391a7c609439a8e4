// xnic verify: what the verifier says of each program of an object, and Linux beside it.
// Test: tests/sim/verify_command_test.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/kernel_side.h"
#include "sim/verification.h"

namespace xnic::sim {
namespace {

constexpr int kSchemaVersion = 1;

struct Arguments {
  std::string object;
  std::string program;
  std::string btf;
  std::string against;
  bool log = false;
  bool json = false;
};

void describe(CLI::App& app, Arguments& a) {
  app.add_option("object", a.object, "BPF object")->type_name("OBJECT")->required();
  app.add_option("--program", a.program, "verify this program alone")->type_name("NAME");
  add_btf(app, a.btf);
  app.add_option("--against", a.against,
                 "kernel: ask the kernel of this machine as well, print both verdicts")
      ->check(CLI::IsMember({"kernel"}));
  app.add_flag("--log", a.log, "print the state before each instruction, as the verifier goes");
  app.add_flag("-j,--json", a.json, "print the verdicts as JSON");
}

double milliseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

size_t count(const std::vector<ProgramVerdict>& programs, Verdict verdict) {
  return static_cast<size_t>(std::ranges::count(programs, verdict, &ProgramVerdict::verdict));
}

size_t count_differences(const std::vector<ProgramVerdict>& programs) {
  return static_cast<size_t>(
      std::ranges::count_if(programs, [](const ProgramVerdict& p) { return p.agrees() == false; }));
}

std::string line_of(const ProgramVerdict& p) {
  switch (p.verdict) {
    case Verdict::accepted:
      return fmt::format(
          "accepted: {} instructions processed, {} states, at most {} at a time, "
          "{:.2f} ms",
          p.statistics.instructions, p.statistics.states, p.statistics.peak_states,
          milliseconds(p.statistics.time));
    case Verdict::rejected:
      return fmt::format("rejected: {}", vm::headline_of(*p.rejection));
    case Verdict::left_out:
      return fmt::format("left out: {}", p.why);
  }
  return {};
}

std::string line_of(const LinuxVerdict& verdict) {
  std::string words = verdict.words;
  std::ranges::replace(words, '\n', ' ');
  if (!verdict.judged) return fmt::format("not judged: {}", words);
  if (verdict.accepted) {
    return fmt::format("accepted: {} instructions processed, {:.2f} ms", verdict.instructions,
                       static_cast<double>(verdict.microseconds) / 1000);
  }
  const std::string where =
      verdict.instruction ? fmt::format(" at instruction {}", *verdict.instruction) : "";
  return fmt::format("rejected: {}{}: {}", vm::row_of(verdict.category).title, where, words);
}

std::string indented(const std::string& text) {
  std::string out = "  ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

void print_text(const Arguments& a, const std::vector<ProgramVerdict>& programs) {
  for (const ProgramVerdict& p : programs) {
    if (a.log && !p.log.empty()) fmt::print("log of {}\n{}\n", p.name, p.log);
    if (p.linux_says) {
      fmt::print("{}{}\n  xnic   {}\n  Linux  {}\n", p.name,
                 p.agrees() == false ? " (the verdicts differ)" : "", line_of(p),
                 line_of(*p.linux_says));
    } else {
      fmt::print("{}: {}\n", p.name, line_of(p));
    }
    if (p.rejection) fmt::print("{}\n", indented(vm::words_of(*p.rejection)));
  }
  fmt::print("{} accepted, {} rejected, {} left out", count(programs, Verdict::accepted),
             count(programs, Verdict::rejected), count(programs, Verdict::left_out));
  if (!a.against.empty()) {
    fmt::print(
        "; {} of {} verdicts differ from those of {}", count_differences(programs),
        std::ranges::count_if(programs, [](const auto& p) { return p.agrees().has_value(); }),
        real_kernel_name());
  }
  fmt::print("\n");
}

void print_json(const Arguments& a, const std::vector<ProgramVerdict>& programs) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["version"] = XNIC_VERSION;
  json["object"] = a.object;
  json["against"] = a.against.empty() ? Json(nullptr) : Json(real_kernel_name());
  json["accepted"] = count(programs, Verdict::accepted);
  json["rejected"] = count(programs, Verdict::rejected);
  json["left_out"] = count(programs, Verdict::left_out);
  if (!a.against.empty()) json["differences"] = count_differences(programs);
  json["programs"] = Json::array();
  for (const ProgramVerdict& p : programs) json["programs"].push_back(to_json(p));
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

Result<ExitCode> verify(const Arguments& a) {
  const auto programs = verify_object(
      a.object,
      {.program = a.program, .btf = a.btf, .log = a.log, .against_linux = !a.against.empty()});
  if (!programs) return tl::unexpected(programs.error());
  a.json ? print_json(a, *programs) : print_text(a, *programs);
  if (count(*programs, Verdict::rejected) != 0) return ExitCode::program_rejected;
  return count_differences(*programs) != 0 ? ExitCode::expectation_failed : ExitCode::done;
}

}  // namespace

Result<ExitCode> verify_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Has the verifier judge each program of a BPF object; nothing runs.", "xnic verify");
  describe(app, arguments);
  app.footer(
      "Exit codes: 0 all accepted, 1 Linux rejects what is accepted here, 2 usage, 3 a program is\n"
      "rejected, 4 bad input, 77 the kernel of this machine cannot be asked.");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return verify(arguments);
}

}  // namespace xnic::sim

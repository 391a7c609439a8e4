#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string_view>

#include "sim/commands/command.h"

namespace {

void print_help(std::FILE* to) {
  fmt::print(to,
             "xnic {}: replays captures through XDP and tc programs on an emulated SmartNIC\n\n"
             "usage: xnic COMMAND [OPTIONS]\n\ncommands:\n",
             XNIC_VERSION);
  for (const xnic::sim::Command& command : xnic::sim::commands()) {
    fmt::print(to, "  {:<10} {}\n", command.name, command.summary);
  }
  fmt::print(to, "\nxnic COMMAND --help says more; xnic --version prints the version.\n");
}

int code(xnic::ExitCode exit_code) { return static_cast<int>(exit_code); }

}  // namespace

int main(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "--version" || word == "-V") {
    fmt::print("xnic {}\n", XNIC_VERSION);
    return code(xnic::ExitCode::done);
  }
  if (word == "--help" || word == "-h" || word == "help") {
    print_help(stdout);
    return code(xnic::ExitCode::done);
  }
  const auto rows = xnic::sim::commands();
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [word](const xnic::sim::Command& c) { return c.name == word; });
  if (row == rows.end()) {
    if (!word.empty()) fmt::print(stderr, "xnic: there is no command {}\n", word);
    print_help(stderr);
    return code(xnic::ExitCode::usage);
  }
  try {
    const auto done = row->run(argc - 1, argv + 1);
    // What stdout could not take is lost output, and said.
    if (std::fflush(stdout) != 0) {
      fmt::print(stderr, "xnic: the output cannot be written to stdout\n");
      return code(xnic::ExitCode::run_time_fault);
    }
    if (done) return code(*done);
    fmt::print(stderr, "xnic: {}\n", done.error().message);
    return code(done.error().code);
  } catch (const std::exception& error) {
    fmt::print(stderr, "xnic: {}\n", error.what());
    return code(xnic::ExitCode::run_time_fault);
  }
}

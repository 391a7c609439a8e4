#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string_view>
#include <system_error>

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

// What standard output could not take is lost output, and said; it needs no second sentence.
bool flush_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return true;
  fmt::print(stderr, "xnic: standard output cannot be written: {}\n", std::strerror(errno));
  return false;
}

int finish(xnic::ExitCode exit_code) {
  return code(flush_output() ? exit_code : xnic::ExitCode::run_time_fault);
}

// The files that a run opens must not get the number of a standard stream that is closed. It is
// opened for the other direction, so that using it fails as before.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "--version" || word == "-V") {
    fmt::print("xnic {}\n", XNIC_VERSION);
    return finish(xnic::ExitCode::done);
  }
  if (word == "--help" || word == "-h" || word == "help") {
    print_help(stdout);
    return finish(xnic::ExitCode::done);
  }
  const auto rows = xnic::sim::commands();
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [word](const xnic::sim::Command& c) { return c.name == word; });
  if (row == rows.end()) {
    if (word.empty()) {
      print_help(stderr);
    } else {
      fmt::print(stderr, "xnic: there is no command {}; xnic --help lists them\n", word);
    }
    return code(xnic::ExitCode::usage);
  }
  try {
    const auto done = row->run(argc - 1, argv + 1);
    if (!flush_output()) return code(xnic::ExitCode::run_time_fault);
    if (done) return code(*done);
    fmt::print(stderr, "xnic: {}\n", done.error().message);
    return code(done.error().code);
  } catch (const std::system_error& error) {
    // fmt says so when a stream takes nothing.
    fmt::print(
        stderr, "xnic: {}: {}\n",
        std::ferror(stdout) != 0 ? "standard output cannot be written" : "the system refuses",
        error.code().message());
    return code(xnic::ExitCode::run_time_fault);
  } catch (const std::exception& error) {
    fmt::print(stderr, "xnic: {}\n", error.what());
    return code(xnic::ExitCode::run_time_fault);
  }
}

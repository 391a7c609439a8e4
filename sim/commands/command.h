#pragma once

#include <span>
#include <string_view>

#include "vm/result.h"

namespace xnic::sim {

// One command of the program: `run` gets what stands behind the command's name and gives the exit
// code; an Error is printed as "xnic: ..." and its code is the exit code.
struct Command {
  std::string_view name;
  std::string_view summary;  // one line for `xnic --help`
  Result<ExitCode> (*run)(int argc, char** argv);
};

// All of them; a new command is a new row (sim/commands/commands.cpp).
std::span<const Command> commands();

Result<ExitCode> run_command(int argc, char** argv);
Result<ExitCode> line_command(int argc, char** argv);
Result<ExitCode> doctor_command(int argc, char** argv);
Result<ExitCode> diff_command(int argc, char** argv);
Result<ExitCode> bench_command(int argc, char** argv);
Result<ExitCode> prog_command(int argc, char** argv);
Result<ExitCode> disasm_command(int argc, char** argv);
Result<ExitCode> verify_command(int argc, char** argv);
Result<ExitCode> nic_command(int argc, char** argv);
Result<ExitCode> map_command(int argc, char** argv);

}  // namespace xnic::sim

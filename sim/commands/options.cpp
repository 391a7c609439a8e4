// Test: tests/sim/run_command_test.cpp and the tests of the other commands.
#include "sim/commands/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jit/jit_engine.h"
#include "vm/interpreter.h"

namespace xnic::sim {

Result<bool> parse(CLI::App& app, int argc, char** argv) try {
  app.parse(argc, argv);
  return true;
} catch (const CLI::CallForHelp&) {
  fmt::print("{}", app.help());
  return false;
} catch (const CLI::ParseError& error) {
  return fail(ExitCode::usage, "{}; see {} --help", error.what(), app.get_name());
}

CLI::Validator unsigned_number() {
  return CLI::Validator(
      [](std::string& text) {
        const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
          return c >= '0' && c <= '9';
        });
        return digits ? std::string() : text + " is no whole number from 0 on";
      },
      "");
}

CLI::Option* add_seed(CLI::App& app, uint64_t& seed) {
  return app
      .add_option("--seed", seed, "seed of bpf_get_prandom_u32 and of hash order, on our side")
      ->type_name("N")
      ->check(unsigned_number());
}

CLI::Option* add_btf(CLI::App& app, std::string& btf) {
  return app
      .add_option("--btf", btf,
                  "types of the kernel that CO-RE relocates against, raw BTF or ELF (default: the "
                  "emulated kernel's own)")
      ->type_name("FILE");
}

CLI::Option* add_set(CLI::App& app, std::vector<std::string>& changes) {
  return app
      .add_option(
          "--set", changes,
          "change a value of the NIC profile, as in ring.descriptors=256 (repeatable); xnic "
          "nic show lists them")
      ->type_name("TABLE.KEY=NUMBER")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
}

CLI::Validator engine_name() { return CLI::IsMember({"jit", "interpreter"}); }

CLI::Option* add_engine(CLI::App& app, std::string& engine) {
  return app.add_option("--engine", engine, "jit or interpreter")
      ->check(engine_name())
      ->capture_default_str();
}

std::unique_ptr<vm::Engine> make_engine(const std::string& name, bool counts) {
  if (name == "interpreter") return std::make_unique<vm::Interpreter>();
  return std::make_unique<jit::JitEngine>(jit::JitOptions{.counts = counts});
}

Result<uint64_t> parse_duration(std::string_view option, const std::string& text) {
  size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = text.substr(used);
  const double scale = unit.empty() || unit == "s" ? 1e9
                       : unit == "ms"              ? 1e6
                       : unit == "us"              ? 1e3
                       : unit == "ns"              ? 1
                                                   : 0;
  const double nanoseconds = value * scale;
  if (used == 0 || scale == 0 || !(nanoseconds >= 0) || nanoseconds > 9e18) {
    return fail(ExitCode::usage, "{} {}: give a time such as 1s, 500ms or 20us", option, text);
  }
  return static_cast<uint64_t>(std::llround(nanoseconds));
}

}  // namespace xnic::sim

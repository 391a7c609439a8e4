// xnic doctor: what DPDK needs on this machine. Test: tests/sim/doctor_test.cpp.
#include "sim/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "sim/commands/command.h"
#include "sim/commands/line_arguments.h"
#include "sim/commands/options.h"
#include "sim/json.h"

namespace xnic::sim {
namespace {

std::string_view name_of(Finding::State state) {
  constexpr std::array<std::string_view, 3> kNames = {"ok", "warn", "FAIL"};
  return kNames[static_cast<size_t>(state)];
}

}  // namespace

Result<ExitCode> doctor_command(int argc, char** argv) {
  std::string lcores;
  bool as_json = false;
  DoctorOptions options{.is_root = geteuid() == 0, .cpus = {}, .devices = {}};
  CLI::App app("Says what DPDK needs on this machine and does not find, and how to mend it.",
               "xnic doctor");
  app.add_option("--lcores", lcores, "CPUs that will run packets; without it the last one")
      ->type_name("LIST");
  app.add_option("DEVICE", options.devices, "PCI addresses of the ports; without any, all NICs");
  app.add_flag("-j,--json", as_json, "print JSON");
  app.footer("Exit codes: 0 done, 1 something has to be mended (FAIL), 2 usage.");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  auto cpus = parse_cpus(lcores);
  if (!cpus) return tl::unexpected(cpus.error());
  options.cpus = std::move(*cpus);
  const std::vector<Finding> findings = examine(options);
  if (as_json) {
    Json json = {{"schema_version", 1}, {"findings", Json::array()}};
    for (const Finding& finding : findings) {
      json["findings"].push_back({{"subject", finding.subject},
                                  {"state", name_of(finding.state)},
                                  {"words", finding.words},
                                  {"command", finding.command}});
    }
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    for (const Finding& finding : findings) {
      fmt::print("{:<4}  {}: {}\n", name_of(finding.state), finding.subject, finding.words);
      if (!finding.command.empty()) fmt::print("      {}\n", finding.command);
    }
  }
  const bool failed = std::ranges::any_of(
      findings, [](const Finding& one) { return one.state == Finding::State::fail; });
  return failed ? ExitCode::expectation_failed : ExitCode::done;
}

}  // namespace xnic::sim

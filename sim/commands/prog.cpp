// xnic prog: what a BPF object holds, and which programs a running line has.
// Test: tests/sim/object_listing_test.cpp, tests/sim/line_control_test.cpp.
#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/control.h"
#include "sim/disassembly.h"
#include "sim/object_listing.h"
#include "vm/kernel.h"
#include "vm/loader.h"
#include "vm/object_file.h"

namespace xnic::sim {
namespace {

struct Arguments {
  std::string object;
  std::string program;
  bool json = false;
  bool disassemble = false;
};

void describe(CLI::App& app, Arguments& a) {
  app.add_option("object", a.object, "BPF object")->type_name("OBJECT")->required();
  app.add_option("--program", a.program, "list this program alone")->type_name("NAME");
  app.add_flag("--disasm", a.disassemble, "print instructions, with source lines from BTF");
  app.add_flag("-j,--json", a.json, "print the listing as JSON");
}

Result<ExitCode> list(const Arguments& a) {
  const auto listing = list_object(a.object).and_then(
      [&](ObjectListing&& all) { return only_program(std::move(all), a.program); });
  if (!listing) return tl::unexpected(listing.error());
  if (a.json) {
    Json json = to_json(*listing);
    for (size_t i = 0; a.disassemble && i < listing->programs.size(); ++i) {
      json["programs"][i]["disassembly"] = disassembly(listing->programs[i]);
    }
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
    return ExitCode::done;
  }
  if (!a.disassemble) {
    fmt::print("{}", to_table(*listing));
    return ExitCode::done;
  }
  for (const ListedProgram& program : listing->programs) {
    fmt::print("{} (section {}, type {})\n{}\n", program.name, program.section, program.type,
               disassembly(program));
  }
  return ExitCode::done;
}

// Whether libbpf bears the file: a line that runs cannot try it, nor end by it.
Result<void> try_to_load(const std::string& path) {
  return vm::libbpf_survives(path, [&] {
    const auto engine = make_engine("interpreter", false);
    vm::Kernel kernel(*engine, {});
    vm::ObjectOptions options;
    options.tried = true;
    static_cast<void>(vm::Object::load(kernel, path, options));
  });
}

// Of a line that runs: {"show"} or {"replace", OBJECT, ...}.
Result<ExitCode> ask_line(const std::string& control, std::vector<std::string> words) {
  const auto usage = [] {
    return fail(ExitCode::usage,
                "write xnic prog show --control PATH, or xnic prog replace OBJECT --control PATH "
                "[--program NAME] [--at [INTERFACE/]HOOK] [--keep-maps]");
  };
  if (words.empty()) return usage();
  std::vector<std::string> request = {"prog", words[0]};
  if (words[0] == "replace") {
    if (words.size() < 2 || words[1].starts_with("-")) return usage();
    // Whoever listens may be in another directory.
    request.push_back(std::filesystem::absolute(words[1]).string());
    if (auto tried = try_to_load(request.back()); !tried) return tl::unexpected(tried.error());
    const auto keeps = std::find(words.begin() + 2, words.end(), "--keep-maps");
    if (keeps != words.end()) {
      request.emplace_back("keep-maps");
      words.erase(keeps);
    }
    for (size_t i = 2; i < words.size(); i += 2) {
      if ((words[i] != "--program" && words[i] != "--at") || i + 1 == words.size()) return usage();
      request.push_back(words[i].substr(2));
      request.push_back(words[i + 1]);
    }
  } else if (words[0] != "show" || words.size() != 1) {
    return usage();
  }
  const auto said = ask_control(control, request);
  if (!said) return tl::unexpected(said.error());
  fmt::print("{}", *said);
  return ExitCode::done;
}

}  // namespace

Result<ExitCode> prog_command(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto control = take_control_option(words);
  if (!control) return tl::unexpected(control.error());
  if (!control->empty()) return ask_line(*control, std::move(words));
  Arguments arguments;
  CLI::App app("Lists the programs and maps of a BPF object; it need not load.", "xnic prog");
  describe(app, arguments);
  app.footer(
      "Of an xnic line that runs with --control PATH:\n"
      "  xnic prog show --control PATH            its programs, as JSON\n"
      "  xnic prog replace OBJECT --control PATH [--program NAME] [--at [INTERFACE/]HOOK]\n"
      "      [--keep-maps]                        others in their place; no packet is lost. Maps "
      "of\n"
      "                                           the same name stay, or are new ones\n"
      "Exit codes: 0 done, 2 usage, 3 program rejected, 4 bad input.");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return list(arguments);
}

}  // namespace xnic::sim

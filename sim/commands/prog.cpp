// xnic prog: what a BPF object holds. Test: tests/sim/object_listing_test.cpp.
#include <fmt/format.h>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/disassembly.h"
#include "sim/object_listing.h"

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

}  // namespace

Result<ExitCode> prog_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Lists the programs and maps of a BPF object; it need not load.", "xnic prog");
  describe(app, arguments);
  app.footer("Exit codes: 0 done, 2 usage, 4 bad input.");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return list(arguments);
}

}  // namespace xnic::sim

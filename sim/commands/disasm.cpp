// xnic disasm: the instructions of an object's programs, and the machine code that they become.
// Test: tests/sim/disassembly_test.cpp.
#include <fmt/format.h>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/disassembly.h"

namespace xnic::sim {
namespace {

struct Arguments {
  std::string object;
  std::string program;
  bool jit = false;
  bool counts = false;
  bool json = false;
};

void describe(CLI::App& app, Arguments& a) {
  app.add_option("object", a.object, "BPF object")->type_name("OBJECT")->required();
  app.add_option("--program", a.program, "of this program alone")->type_name("NAME");
  CLI::Option* jit = app.add_flag("--jit", a.jit, "print the JIT's machine code beside them");
  app.add_flag("--counts", a.counts, "the code that counts instructions, as xnic run's does")
      ->needs(jit);
  app.add_flag("-j,--json", a.json, "print as JSON");
}

Result<ExitCode> print_text(const Arguments& a, const ObjectListing& listing) {
  for (const ListedProgram& program : listing.programs) {
    auto text = a.jit ? disassembly_beside_code(program, {.counts = a.counts})
                      : Result<std::string>(disassembly(program));
    if (!text) return tl::unexpected(text.error());
    fmt::print("{} (section {}, type {})\n{}\n", program.name, program.section, program.type,
               *text);
  }
  return ExitCode::done;
}

Result<ExitCode> print_json(const Arguments& a, const ObjectListing& listing) {
  Json json = {{"object", a.object}, {"programs", Json::array()}};
  for (const ListedProgram& program : listing.programs) {
    Json one = {{"name", program.name}, {"section", program.section}, {"type", program.type}};
    if (a.jit) {
      auto parts = code_json(program, {.counts = a.counts});
      if (!parts) return tl::unexpected(parts.error());
      one["parts"] = std::move(*parts);
    } else {
      one["instructions"] = disassembly_json(program);
    }
    json["programs"].push_back(std::move(one));
  }
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  return ExitCode::done;
}

}  // namespace

Result<ExitCode> disasm_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Prints the instructions of a BPF object's programs with their source lines.",
               "xnic disasm");
  describe(app, arguments);
  app.footer(
      "Exit codes: 0 done, 2 usage, 3 there is no machine code of a program, 4 bad input, 77 this\n"
      "build cannot show machine code.");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  const auto listing = list_object(arguments.object).and_then([&](ObjectListing&& all) {
    return only_program(std::move(all), arguments.program);
  });
  if (!listing) return tl::unexpected(listing.error());
  return arguments.json ? print_json(arguments, *listing) : print_text(arguments, *listing);
}

}  // namespace xnic::sim

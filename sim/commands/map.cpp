// xnic map: maps that a run saved, or of a line that runs, read and edited with the words and in
// the JSON of bpftool map. Test: tests/sim/saved_maps_test.cpp, tests/sim/line_control_test.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/commands/command.h"
#include "sim/control.h"
#include "sim/map_words.h"
#include "sim/saved_maps.h"

namespace xnic::sim {
namespace {

using Words = std::vector<std::string>;

std::string help() {
  std::string text =
      "Reads and edits the maps in a file that xnic run --dump-maps FILE wrote, or, with\n"
      "--control PATH in the place of FILE, those of an xnic line that runs with it.\nUsage:\n";
  for (const MapAction& action : map_actions()) {
    text += fmt::format("  xnic map {} FILE {}\n", action.name, action.words);
  }
  return text +
         "\nDATA: bytes such as 10 0x0a, or hex 0a 00 00 00. Output has the shape of\n"
         "bpftool -j map. An edit writes the file anew, whole or not at all.\n"
         "Exit codes: 0 done, 1 no such entry or refused by the map, 2 usage, 4 bad input.\n";
}

// In a file, which stands behind the action.
Result<std::string> act_on_file(Words words) {
  const auto actions = map_actions();
  const auto action = std::ranges::find(actions, words[0], &MapAction::name);
  if (action == actions.end()) {
    return fail(ExitCode::usage, "xnic map: there is no {}; see xnic map --help", words[0]);
  }
  if (words.size() < 2) {
    return fail(ExitCode::usage, "write xnic map {} FILE {}", action->name, action->words);
  }
  auto maps = SavedMaps::read(words[1]);
  if (!maps) return tl::unexpected(maps.error());
  words.erase(words.begin() + 1);
  return act_on_maps(*maps, words);
}

}  // namespace

Result<ExitCode> map_command(int argc, char** argv) {
  Words words(argv + 1, argv + argc);
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h" || words[0] == "help")) {
    fmt::print("{}", help());
    return ExitCode::done;
  }
  const auto control = take_control_option(words);
  if (!control) return tl::unexpected(control.error());
  if (words.empty()) return fail(ExitCode::usage, "xnic map: say what to do\n{}", help());
  const bool asks = !control->empty();
  if (asks) words.insert(words.begin(), "map");
  const auto said = asks ? ask_control(*control, words) : act_on_file(std::move(words));
  if (!said) return tl::unexpected(said.error());
  fmt::print("{}", *said);
  return ExitCode::done;
}

}  // namespace xnic::sim

// It leaves out: descriptors in values of maps, of programs and other maps, which mean nothing
// here. Test: tests/sim/line_control_test.cpp.
#include "sim/commands/line_control.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "sim/map_words.h"
#include "sim/saved_maps.h"

namespace xnic::sim {
namespace {

// The maps of a line.
class LoadedMaps : public NamedMaps {
 public:
  explicit LoadedMaps(std::vector<vm::LoadedMap> maps) : maps_(std::move(maps)) {}

  std::string_view place() const override { return "--control PATH"; }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const vm::LoadedMap& map : maps_) names.push_back(map.name);
    return names;
  }
  Result<Json> describe(const std::string& name) const override {
    const auto map = live(name);
    if (!map) return tl::unexpected(map.error());
    return describe_map(name, **map);
  }
  Result<std::shared_ptr<vm::Map>> live(const std::string& name) const override {
    const auto found = std::ranges::find(maps_, name, &vm::LoadedMap::name);
    if (found != maps_.end()) return found->map;
    return fail(ExitCode::usage, "there is no map {}; there are: {}", name,
                fmt::join(names(), ", "));
  }
  Result<void> writable(const std::string& name) const override {
    const auto map = live(name);
    if (!map) return tl::unexpected(map.error());
    if ((*map)->frozen || ((*map)->spec().flags & BPF_F_RDONLY) != 0) {
      return fail(ExitCode::bad_input, "map {} is read-only for user space", name);
    }
    return {};
  }
  // The map itself was edited.
  Result<void> replace(const std::string&, vm::Map&) const override { return {}; }

 private:
  std::vector<vm::LoadedMap> maps_;
};

}  // namespace

Result<std::string> LineControl::answer(const std::vector<std::string>& words) {
  if (!words.empty() && words[0] == "map") {
    return act_on_maps(LoadedMaps(machine_.maps()), {words.begin() + 1, words.end()});
  }
  if (words.size() > 1 && words[0] == "prog" && words[1] == "show") return show_programs();
  if (words.size() > 2 && words[0] == "prog" && words[1] == "replace") return replace(words);
  return fail(ExitCode::usage,
              "a running line can be asked for xnic map ..., xnic prog show and xnic prog replace");
}

Result<std::string> LineControl::show_programs() const {
  Json all = Json::array();
  for (const InterfaceHooks::Entry& interface : machine_.attachments->hooks.all()) {
    for (const vm::Hook& hook : *interface.hooks) {
      if (hook.single().program == nullptr) continue;
      const vm::Program& program = *hook.single().program;
      all.push_back({{"interface", interface.name},
                     {"hook", std::string(vm::hook_name(hook.point()))},
                     {"id", program.id},
                     {"program", machine_.attachments->name_of(program)}});
    }
  }
  return all.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<std::string> LineControl::replace(const std::vector<std::string>& words) {
  const auto behind = [&](std::string_view word) {
    const auto found = std::find(words.begin() + 3, words.end(), word);
    return found == words.end() || found + 1 == words.end() ? std::string() : *(found + 1);
  };
  AttachRequest request{.object = std::nullopt,
                        .program = behind("program"),
                        .attach = {},
                        .btf = machine_.btf,
                        .replaces = true,
                        .keeps = {},
                        .tried = true};
  if (std::ranges::find(words, "keep-maps") != words.end()) request.keeps = machine_.maps();
  if (const std::string at = behind("at"); at.empty()) {
    request.object = words[2];
  } else {
    const std::string program = request.program.empty() ? "" : ":" + request.program;
    request.attach.push_back(fmt::format("{}={}{}", at, words[2], program));
  }
  Result<void> replaced;
  line_.change([&] { replaced = machine_.replace_programs(request); });
  if (!replaced) return tl::unexpected(replaced.error());
  return show_programs();
}

}  // namespace xnic::sim

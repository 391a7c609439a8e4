// xnic nic: the profiles of cards. Test: tests/sim/nic_command_test.cpp.
#include "nic/profile.h"

#include <fmt/format.h>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/json.h"

namespace xnic::sim {
namespace {

struct Arguments {
  std::string profile = "generic-100g";
  std::vector<std::string> changes;
  bool json = false;
};

constexpr int kSchemaVersion = 1;

Result<ExitCode> list(bool as_json) {
  Json json = {{"schema_version", kSchemaVersion}, {"profiles", Json::array()}};
  for (const nic::BuiltinProfile& builtin : nic::builtin_profiles()) {
    const auto profile = nic::parse_profile(builtin.text, builtin.name);
    if (!profile) return tl::unexpected(profile.error());
    json["profiles"].push_back({{"name", profile->name}, {"description", profile->description}});
    if (!as_json) fmt::print("{:<20} {}\n", profile->name, profile->description);
  }
  if (as_json) fmt::print("{}\n", json.dump(2));
  return ExitCode::done;
}

Json to_json(const nic::NicProfile& profile) {
  Json json = {{"schema_version", kSchemaVersion},
               {"name", profile.name},
               {"description", profile.description},
               {"values", Json::array()}};
  for (const nic::ProfileRow& row : nic::profile_rows()) {
    const nic::Quantity& quantity = profile.*row.field;
    json["values"].push_back({{"name", fmt::format("{}.{}", row.table, row.key)},
                              {"value", row.choices.empty() ? Json(quantity.value)
                                                            : Json(row.choices[quantity.whole()])},
                              {"origin", nic::origin_name(quantity.origin)},
                              {"source", quantity.source},
                              {"meaning", row.meaning},
                              {"minimum", row.minimum},
                              {"maximum", row.maximum}});
  }
  return json;
}

Result<ExitCode> show(const Arguments& a) {
  const auto profile = nic::load_profile(a.profile, a.changes);
  if (!profile) return tl::unexpected(profile.error());
  if (a.json) {
    fmt::print("{}\n", to_json(*profile).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", nic::to_toml(*profile));
  }
  return ExitCode::done;
}

}  // namespace

Result<ExitCode> nic_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Lists the profiles of cards, or shows one as a file that --nic takes.", "xnic nic");
  app.require_subcommand(1);
  CLI::App& lists = *app.add_subcommand("list", "the built-in profiles");
  CLI::App& shows = *app.add_subcommand("show", "all values of a profile, each with its origin");
  shows.add_option("profile", arguments.profile, "NIC profile, by name or TOML file")
      ->type_name("PROFILE|FILE")
      ->capture_default_str();
  add_set(shows, arguments.changes);
  for (CLI::App* one : {&lists, &shows}) one->add_flag("-j,--json", arguments.json, "print JSON");
  app.footer("Exit codes: 0 done, 2 usage, 4 bad input.");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return lists.parsed() ? list(arguments.json) : show(arguments);
}

}  // namespace xnic::sim

// xnic diff: an object's programs over captures, in the emulated kernel and in the real one, and
// what differs. A capture is held in memory whole, since every program runs over it in turn. Where
// something differs, all runs once more with witnesses, who tell what Linux leaves open.
// Test: tests/sim/comparison_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/commands/sides.h"
#include "sim/comparison.h"
#include "sim/json.h"
#include "sim/net_file.h"

namespace xnic::sim {
namespace {

constexpr int kSchemaVersion = 1;
constexpr size_t kShownDifferences = 20;

struct Arguments {
  std::vector<std::string> words;  // OBJECT, then the tcpdump filter
  std::vector<std::string> captures;
  std::string against = "kernel";
  std::string program;
  std::vector<std::string> maps;
  std::vector<std::string> networks;
  uint64_t seed = 0;
  std::string engine = "jit";
  bool strict = false;
  bool json = false;
};

void describe(CLI::App& app, Arguments& a) {
  app.add_option("words", a.words,
                 "OBJECT: BPF object whose XDP and tc programs are compared; then a tcpdump "
                 "filter, as the last words")
      ->type_name("OBJECT [FILTER...]")
      ->required();
  app.add_option("-r,--read", a.captures,
                 "capture with the packets, pcap or pcapng; - is standard input (repeatable: maps "
                 "are compared after each)")
      ->type_name("CAPTURE")
      ->required()
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--against", a.against, "what to compare with: kernel, the one of this machine")
      ->check(CLI::IsMember({"kernel"}))
      ->capture_default_str();
  app.add_option("--program", a.program, "compare this program alone")->type_name("NAME");
  app.add_option("--map", a.maps,
                 "fill a map on both sides, from bpftool map dump's JSON (repeatable)")
      ->type_name("NAME=FILE.json")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option(
         "--net", a.networks,
         "the network of our side, to be that of the namespace in which this runs, as ip -j "
         "prints it (repeatable)")
      ->type_name("FILE")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  add_seed(app, a.seed);
  add_engine(app, a.engine);
  app.add_flag("-j,--json", a.json, "print the report as JSON");
  app.add_flag("--strict", a.strict, "a truncated capture is an error");
}

Json to_json(const Difference& d) {
  Json json;
  json["capture"] = d.capture;
  json["program"] = d.program.empty() ? Json(nullptr) : Json(d.program);
  json["packet"] = d.packet == 0 ? Json(nullptr) : Json(d.packet);
  json["field"] = d.field;
  if (!d.key.empty()) json["key"] = d.key;
  if (d.offset) json["offset"] = *d.offset;
  json["ours"] = d.ours;
  json["kernel"] = d.kernel;
  if (!d.reason.empty()) json["reason"] = d.reason;
  return json;
}

Json to_json(const NotComparable& n) {
  Json json;
  json[n.what == "map" ? "map" : "program"] = n.name;
  if (n.what == "packets") {
    json["capture"] = n.capture;
    json["packets"] = n.packets;
    json["first_packet"] = n.first_packet;
    json["errno"] = -n.error;
  }
  json["reason"] = n.reason;
  return json;
}

// What the report says besides the comparison itself.
struct Heading {
  std::string command;
  std::string object;
  std::string engine;
  std::string kernel;  // "Linux 6.18.0"
  uint64_t seed;
  std::vector<std::pair<std::string, size_t>> captures;  // path, packets
  std::vector<std::string> programs;
  std::vector<std::string> warnings;
};

Json to_json(const Heading& heading, const ComparisonResult& result) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["version"] = XNIC_VERSION;
  json["command"] = heading.command;
  json["engine"] = heading.engine;
  json["seed"] = heading.seed;
  json["against"] = heading.kernel;
  json["object"] = heading.object;
  json["captures"] = Json::array();
  for (const auto& [path, packets] : heading.captures) {
    json["captures"].push_back({{"path", path}, {"packets", packets}});
  }
  json["programs"] = heading.programs;
  json["compared"] = result.compared;
  json["maps_compared"] = result.maps;
  json["map_entries_compared"] = result.map_entries;
  const auto list = [](const auto& rows) {
    Json array = Json::array();
    for (const auto& row : rows) array.push_back(to_json(row));
    return array;
  };
  json["differences"] = list(result.differences);
  json["excused"] = list(result.excused);
  json["not_comparable"] = list(result.not_comparable);
  json["warnings"] = heading.warnings;
  return json;
}

// "0a1b2c" as "0a 1b 2c"; words stay.
std::string spaced(const std::string& text) {
  if (text.size() % 2 != 0 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return text;
  }
  std::string out;
  for (size_t i = 0; i < text.size(); i += 2) {
    if (i > 0) out += ' ';
    out += text.substr(i, 2);
  }
  return out;
}

std::string lines_of(const Difference& d) {
  const bool bytes = d.offset || !d.key.empty();
  std::string text = d.packet == 0
                         ? fmt::format("  {}", d.capture)
                         : fmt::format("  {}, packet {}, {}", d.capture, d.packet, d.program);
  text += ", " + d.field;
  if (!d.key.empty()) text += fmt::format(", key {}", spaced(d.key));
  if (d.offset) text += fmt::format(", from byte {}", *d.offset);
  text += fmt::format("\n    xnic   {}\n    Linux  {}\n", bytes ? spaced(d.ours) : d.ours,
                      bytes ? spaced(d.kernel) : d.kernel);
  if (!d.reason.empty()) text += fmt::format("    excused: {}\n", d.reason);
  return text;
}

std::string table_of(std::string_view title, const std::vector<Difference>& rows) {
  std::string text;
  if (rows.empty()) return text;
  text += fmt::format("\n{}\n", title);
  for (size_t i = 0; i < std::min(rows.size(), kShownDifferences); ++i) text += lines_of(rows[i]);
  if (rows.size() > kShownDifferences) {
    text += fmt::format("  and {} more; -j lists all\n", rows.size() - kShownDifferences);
  }
  return text;
}

std::string to_table(const Heading& heading, const ComparisonResult& result) {
  std::string text = fmt::format("object          {}\nprograms        {}\n", heading.object,
                                 fmt::join(heading.programs, ", "));
  for (const auto& [path, packets] : heading.captures) {
    text += fmt::format("capture         {}, {} packets\n", path, packets);
  }
  text += fmt::format(
      "against         {}\nengine          {}\ncompared        {} runs, {} maps with {} entries\n"
      "differences     {}\nexcused         {}\n",
      heading.kernel, heading.engine, result.compared, result.maps, result.map_entries,
      result.differences.size(), result.excused.size());
  text += table_of("differences", result.differences);
  text += table_of("excused: Linux leaves these open", result.excused);
  if (!result.not_comparable.empty()) text += "\nnot comparable\n";
  for (const NotComparable& n : result.not_comparable) {
    if (n.what == "packets") {
      text += fmt::format("  {}: {} packets of {} from packet {}: {}\n", n.name, n.packets,
                          n.capture, n.first_packet, n.reason);
    } else {
      text += fmt::format("  {} {}: {}\n", n.what, n.name, n.reason);
    }
  }
  return text;
}

struct Capture {
  std::string path;
  std::vector<NumberedPacket> packets;
};

// One pass over all captures, with sides of its own. `programs` gets the names of those compared.
Result<ComparisonResult> compare(const Arguments& a, vm::Engine& engine,
                                 const std::vector<Capture>& captures, bool with_witnesses,
                                 std::vector<std::string>& programs) {
  const std::string& object = a.words.front();
  SideOptions options;
  if (!a.networks.empty()) {
    auto network = read_network(a.networks);
    if (!network) return tl::unexpected(network.error());
    options.network = std::move(*network);
  }
  if (!a.program.empty()) options.programs = {a.program};
  const auto ours = KernelSide::emulated(object, engine, a.seed, options);
  if (!ours) return tl::unexpected(ours.error());
  const auto kernel = KernelSide::real(object, options);
  if (!kernel) return tl::unexpected(kernel.error());
  auto chosen = chosen_programs(**kernel, object, a.program);
  if (!chosen) return tl::unexpected(chosen.error());
  programs = std::move(*chosen);
  Witnesses witnesses;
  if (with_witnesses) {
    auto called = call_witnesses(object, engine, a.seed, options);
    if (!called) return tl::unexpected(called.error());
    witnesses = std::move(*called);
  }
  std::vector<KernelSide*> others = {kernel->get()};
  for (const Witness& witness : witnesses.ours) others.push_back(witness.side.get());
  for (const Witness& witness : witnesses.kernel) others.push_back(witness.side.get());
  for (const std::string& request : a.maps) {
    if (auto filled = fill_all(**ours, others, request); !filled) {
      return tl::unexpected(filled.error());
    }
  }
  Comparison comparison(**ours, **kernel, {.program = a.program}, &witnesses);
  for (const Capture& capture : captures) comparison.run(capture.path, capture.packets);
  return comparison.result();
}

Result<ExitCode> diff(const Arguments& a, const std::string& command) {
  const std::string filter = fmt::format("{}", fmt::join(a.words.begin() + 1, a.words.end(), " "));
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    return fail(ExitCode::not_available, "{}", why);
  }
  const PinnedToCpu0 pinned;
  if (!pinned.pinned()) {
    return fail(ExitCode::not_available,
                "this process may not run on CPU 0, where both sides run programs so that per-CPU "
                "values agree; allow it with taskset");
  }
  const std::unique_ptr<vm::Engine> engine = make_engine(a.engine);
  Heading heading{command, a.words.front(), a.engine, real_kernel_name(), a.seed, {}, {}, {}};
  std::vector<Capture> captures;
  for (const std::string& path : a.captures) {
    auto packets = read_packets(path, filter, a.strict, heading.warnings);
    if (!packets) return tl::unexpected(packets.error());
    heading.captures.emplace_back(path, packets->size());
    captures.push_back({path, std::move(*packets)});
  }
  auto result = compare(a, *engine, captures, false, heading.programs);
  if (result && !result->differences.empty()) {
    result = compare(a, *engine, captures, true, heading.programs);
  }
  if (!result) return tl::unexpected(result.error());
  for (const std::string& warning : heading.warnings) fmt::print(stderr, "xnic: {}\n", warning);
  if (a.json) {
    fmt::print("{}\n",
               to_json(heading, *result).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", to_table(heading, *result));
  }
  return result->differences.empty() ? ExitCode::done : ExitCode::expectation_failed;
}

}  // namespace

Result<ExitCode> diff_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Runs captures through the programs of an object here and, with BPF_PROG_TEST_RUN, in the "
      "kernel of this machine, and tells where they differ.",
      "xnic diff");
  describe(app, arguments);
  app.footer(
      "Compared: errno, return code, packet bytes, context, and all maps after each capture.\n"
      "Exit codes: 0 no differences, 1 differences, 2 usage, 3 rejected by either side,\n"
      "4 bad input, 77 this process may not use the kernel's bpf(2).");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return diff(arguments, fmt::format("xnic diff {}", fmt::join(argv + 1, argv + argc, " ")));
}

}  // namespace xnic::sim

// xnic run: a capture through the programs of one or more objects, timed or not.
// Test: tests/sim/run_command_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iterator>

#include "jit/jit_engine.h"
#include "nic/profile.h"
#include "sim/attachment.h"
#include "sim/commands/command.h"
#include "sim/departures.h"
#include "sim/events.h"
#include "sim/net_file.h"
#include "sim/progress.h"
#include "sim/recorder.h"
#include "sim/report.h"
#include "sim/run.h"
#include "sim/saved_maps.h"
#include "sim/system.h"
#include "sim/untimed.h"
#include "traces/output_file.h"
#include "traces/player.h"
#include "traces/reader.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::sim {
namespace {

// The command line, as typed.
struct Arguments {
  std::vector<std::string> words;  // OBJECT, then the tcpdump filter
  std::vector<std::string> attach;
  std::string btf;
  std::string program;
  std::string capture;
  std::string nic = "generic-100g";
  std::vector<std::string> maps;
  std::vector<std::string> networks;
  std::vector<std::string> writes;
  std::string rate;
  std::string max_gap = "1s";
  uint64_t loops = 1;
  uint64_t seed = 0;
  uint32_t mtu = 0;
  std::string engine = "jit";
  std::string bpffs;
  std::string output;
  std::string dump_maps;
  bool untimed = false;
  bool strict = false;
  bool json = false;
  std::vector<std::string> events;  // "true" for a bare --events, or MAP=TYPE
};

// CLI11 leaves the sign to strtoull, which takes -1 for the largest number.
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

void describe(CLI::App& app, Arguments& a) {
  app.add_option("OBJECT", a.words,
                 "BPF object whose section names say where its programs attach; words that follow "
                 "are a tcpdump filter")
      ->type_name("[FILTER...]")
      ->expected(-1);
  app.add_option("-r,--read", a.capture, "capture to replay, pcap or pcapng; - is standard input")
      ->type_name("CAPTURE")
      ->required();
  app.add_option("--attach", a.attach,
                 "attach a program outright (repeatable); hooks: xdp.offload, xdp.native, "
                 "xdp.generic, tc.ingress, tc.egress")
      ->type_name("[nic0/]HOOK=OBJECT[:PROGRAM]")
      ->expected(1)
      ->take_all();
  app.add_option("--program", a.program, "pick one of OBJECT's programs")->type_name("NAME");
  app.add_option("--btf", a.btf,
                 "types of the kernel that CO-RE relocates against, raw BTF or ELF (default: the "
                 "emulated kernel's own)")
      ->type_name("FILE");
  app.add_option("--map", a.maps,
                 "fill a map before the run, from bpftool map dump's JSON (repeatable)")
      ->type_name("NAME=FILE.json")
      ->expected(1)
      ->take_all();
  app.add_option("--net", a.networks,
                 "interfaces, routes and neighbours, from TOML or from what ip -j prints "
                 "(repeatable)")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--write", a.writes, "write what leaves an interface there (repeatable)")
      ->type_name("INTERFACE=FILE.pcap")
      ->expected(1)
      ->take_all();
  app.add_option("--nic", a.nic, "NIC profile, by name or TOML file")
      ->type_name("PROFILE|FILE")
      ->capture_default_str();
  app.add_flag("--untimed", a.untimed,
               "no timing model: the capture's timestamps are the clock; same hooks, same meaning");
  app.add_option("--rate", a.rate, "send at this pace and let drops be real")
      ->type_name("10Gbps|14.88Mpps|100%");
  app.add_option("--loop", a.loops, "play the capture so many times")
      ->type_name("N")
      ->check(unsigned_number());
  app.add_option("--max-gap", a.max_gap, "shorten longer idle gaps to this")
      ->type_name("TIME")
      ->capture_default_str();
  app.add_option("--mtu", a.mtu, "drop frames with more than N bytes behind the Ethernet header")
      ->type_name("N")
      ->check(unsigned_number());
  app.add_option("--seed", a.seed, "seed of bpf_get_prandom_u32")
      ->type_name("N")
      ->check(unsigned_number());
  app.add_option("--engine", a.engine, "jit or interpreter")
      ->check(CLI::IsMember({"jit", "interpreter"}))
      ->capture_default_str();
  app.add_option("--bpffs", a.bpffs,
                 "keep pinned maps and their contents there from one run to the next")
      ->type_name("DIR");
  app.add_option("-o,--output", a.output,
                 "write verdicts.pcapng, packets.ndjson and report.json there")
      ->type_name("DIR");
  app.add_option("--dump-maps", a.dump_maps,
                 "write all maps there after the run, for xnic map and --map")
      ->type_name("FILE.json");
  app.add_flag("-j,--json", a.json, "print the report as JSON");
  app.add_flag("--events", a.events,
               "print what programs put into ring buffers and perf events, a line of JSON each; "
               "MAP=TYPE says the BTF type of a map's records (repeatable)")
      ->type_name("[MAP=TYPE]")
      ->take_all();
  app.add_flag("--strict", a.strict, "a truncated capture is an error");
}

// "1s", "500ms", "20us", "7ns"; a bare number is seconds.
Result<uint64_t> parse_nanoseconds(const std::string& text) {
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
    return fail(ExitCode::usage, "--max-gap {}: give a time such as 1s, 500ms or 20us", text);
  }
  return static_cast<uint64_t>(std::llround(nanoseconds));
}

// The first word is the object, unless --attach already names one and no such file exists.
AttachRequest request_of(const Arguments& a, std::string& filter) {
  AttachRequest request{
      .object = std::nullopt, .program = a.program, .attach = a.attach, .btf = a.btf};
  auto first = a.words.begin();
  if (first != a.words.end() &&
      (a.attach.empty() || first->ends_with(".o") || std::filesystem::is_regular_file(*first))) {
    request.object = *first++;
  }
  filter = fmt::format("{}", fmt::join(first, a.words.end(), " "));
  return request;
}

Result<void> fill_maps(const Attachments& attachments, const std::vector<std::string>& requests) {
  for (const std::string& request : requests) {
    const size_t equals = request.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == request.size()) {
      return fail(ExitCode::usage, "--map {}: write it as NAME=FILE.json", request);
    }
    const auto maps = find_maps(attachments, request.substr(0, equals));
    if (!maps) return tl::unexpected(maps.error());
    for (vm::Map* map : *maps) {
      if (auto filled = fill_named_map(*map, request.substr(0, equals), request.substr(equals + 1));
          !filled) {
        return filled;
      }
    }
  }
  return {};
}

std::unique_ptr<vm::Engine> make_engine(const std::string& name) {
  if (name == "interpreter") return std::make_unique<vm::Interpreter>();
  return std::make_unique<jit::JitEngine>();
}

// The reader that --events asks for; null without it. With -j standard output is the report's, and
// the lines go to events.ndjson.
Result<std::unique_ptr<EventReader>> make_event_reader(const Arguments& a, vm::Kernel& kernel,
                                                       const Attachments& attachments,
                                                       std::unique_ptr<traces::OutputFile>& file) {
  if (a.events.empty()) return nullptr;
  std::vector<std::string> types;
  std::ranges::copy_if(a.events, std::back_inserter(types),
                       [](const std::string& word) { return word != "true"; });
  EventReader::Line line = [](std::string_view text) { fmt::print("{}\n", text); };
  if (a.json) {
    if (a.output.empty()) {
      return fail(ExitCode::usage,
                  "--events with -j needs -o DIR: standard output is the report's, and the events "
                  "go to DIR/events.ndjson");
    }
    auto made =
        traces::OutputFile::create((std::filesystem::path(a.output) / "events.ndjson").string());
    if (!made) return tl::unexpected(made.error());
    file = std::move(*made);
    line = [&file = *file](std::string_view text) {
      const std::string whole = std::string(text) + "\n";
      // The first error comes again from finish().
      static_cast<void>(file.write({reinterpret_cast<const uint8_t*>(whole.data()), whole.size()}));
    };
  }
  return EventReader::create(kernel, attachments, types, std::move(line));
}

// Counts outcomes that nobody wants written.
class NoRecord : public OutcomeSink {
 public:
  void done(const vm::Packet&, const Outcome&) override {}
};

// Faults that no hook counts: in callbacks of timers, in programs of devmap and cpumap entries.
struct OtherFaults {
  uint64_t count = 0;
  std::vector<std::string> first;

  void note(const vm::Fault& fault) {
    constexpr size_t kNamed = 16;
    if (count++ < kNamed) first.push_back("fault: " + fault.message);
  }
};

// "1 packet was", "2 packets were".
std::string were(uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? " was" : "s were");
}

// The warnings that a finished replay gives.
void add_warnings(Report& report, const traces::Reader& reader, const traces::Player& player,
                  const Attachments& attachments, const Arguments& a) {
  auto& warnings = report.warnings;
  if (reader.warning()) warnings.push_back(*reader.warning());
  if (reader.snapped() != 0) {
    warnings.push_back(
        fmt::format("{}: {} captured shorter than on the wire; programs see only what was "
                    "captured",
                    a.capture, were(reader.snapped(), "packet")));
  }
  if (player.backwards() != 0) {
    warnings.push_back(fmt::format("{}: {} earlier than the one before and counted as equal to it",
                                   a.capture, were(player.backwards(), "timestamp")));
  }
  if (player.shortened_gaps() != 0) {
    warnings.push_back(fmt::format("{}: {} shortened to {} (--max-gap)", a.capture,
                                   were(player.shortened_gaps(), "idle gap"), a.max_gap));
  }
  for (const vm::Hook& hook : *attachments.hooks) {
    for (const std::string& fault : hook.faults()) warnings.push_back("fault: " + fault);
  }
}

Result<void> write_report(const std::string& directory, const Json& json) {
  auto file =
      traces::OutputFile::create((std::filesystem::path(directory) / "report.json").string());
  if (!file) return tl::unexpected(file.error());
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (auto written = (*file)->write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
      !written) {
    return written;
  }
  return (*file)->finish();
}

// Where packets come in, the interface of index kNicIfindex, has to be there.
Result<vm::Network> network_of(const Arguments& a) {
  auto network = read_network(a.networks);
  if (!network || network->by_index(vm::kNicIfindex) != nullptr) return network;
  return fail(ExitCode::bad_input,
              "--net: no interface has the index {}, by which packets of the capture come in",
              vm::kNicIfindex);
}

Result<ExitCode> run(const Arguments& a, const std::string& command) {
  if (a.untimed && !a.rate.empty()) {
    return fail(ExitCode::usage,
                "--rate and --untimed exclude each other: without the timing "
                "model the capture's timestamps are the clock");
  }
  if (a.loops == 0) return fail(ExitCode::usage, "--loop 0: give at least 1");
  const auto max_gap = parse_nanoseconds(a.max_gap);
  if (!max_gap) return tl::unexpected(max_gap.error());
  traces::PlayerOptions player_options{.max_gap_ns = *max_gap, .loops = a.loops};
  if (!a.rate.empty()) {
    const auto rate = traces::parse_rate(a.rate);
    if (!rate) return tl::unexpected(rate.error());
    player_options.rate = *rate;
  }
  std::string filter;
  const AttachRequest request = request_of(a, filter);
  if (!request.object && request.attach.empty()) {
    return fail(ExitCode::usage,
                "nothing to run: name a BPF object (OBJECT) or use --attach; see xnic run --help");
  }
  if (!request.object && !request.program.empty()) {
    return fail(ExitCode::usage, "--program {}: picks a program of OBJECT, and there is none",
                request.program);
  }
  auto profile = nic::load_profile(a.nic);
  if (!profile) return tl::unexpected(profile.error());
  player_options.link_gbps = profile->link_gbps.value;

  const std::unique_ptr<vm::Engine> engine = make_engine(a.engine);
  auto network = network_of(a);
  if (!network) return tl::unexpected(network.error());
  vm::Kernel kernel(
      *engine,
      {.possible_cpus = profile->cores.whole(), .seed = a.seed, .network = std::move(*network)});
  if (!a.bpffs.empty()) {
    if (auto kept = kernel.keep_pins_in(a.bpffs); !kept) return tl::unexpected(kept.error());
  }
  auto attachments = attach_programs(kernel, request);
  // The file of a damaged pin must not be written over.
  if (kernel.bpffs.damaged()) {
    return fail(ExitCode::bad_input, "{}", kernel.bpffs.notes().front());
  }
  if (!attachments) return tl::unexpected(attachments.error());
  if (auto filled = fill_maps(*attachments, a.maps); !filled) {
    return tl::unexpected(filled.error());
  }
  auto reader = traces::Reader::open(a.capture, filter, {.strict = a.strict});
  if (!reader) return tl::unexpected(reader.error());
  traces::Player player(**reader, player_options);
  std::unique_ptr<Recorder> recorder;
  if (!a.output.empty()) {
    auto made = Recorder::create(a.output, *attachments);
    if (!made) return tl::unexpected(made.error());
    recorder = std::move(*made);
  }

  std::unique_ptr<traces::OutputFile> events_file;
  const auto events = make_event_reader(a, kernel, *attachments, events_file);
  if (!events) return tl::unexpected(events.error());

  Report report;
  for (const auto& object : attachments->objects) {
    report.warnings.insert(report.warnings.end(), object->notes().begin(), object->notes().end());
  }
  NoRecord nothing;
  const auto made_departures =
      Departures::create(a.writes, kernel.network(),
                         recorder != nullptr ? static_cast<OutcomeSink&>(*recorder) : nothing);
  if (!made_departures) return tl::unexpected(made_departures.error());
  Departures* const departures = made_departures->get();
  Progress progress(a.capture, isatty(STDERR_FILENO) != 0);
  // A capture that is played once at its own pace keeps its timestamps in the output.
  const bool own_time = a.loops == 1 && a.rate.empty();
  std::optional<int64_t> first_ns;
  const FrameSource source = [&](traces::Frame& frame) -> Result<bool> {
    if (recorder != nullptr && recorder->error()) return tl::unexpected(*recorder->error());
    auto more = player.next(frame);
    if (!more || !*more) return more;
    progress.step((*reader)->bytes());
    if (!first_ns) {
      first_ns = frame.timestamp_ns;
      departures->set_start(*first_ns);
    }
    if (recorder != nullptr) {
      const auto simulated_ns = static_cast<int64_t>(frame.time_ps / 1000);
      recorder->starts(frame, own_time ? frame.timestamp_ns : *first_ns + simulated_ns);
    }
    return true;
  };
  RunOptions options{
      .profile = *profile,
      .seed = a.seed,
      .mtu = a.mtu,
      .lossy = !a.rate.empty(),
      .counts_runs = kernel.stats_enabled(),
      .trace = [](std::string_view line) { fmt::print(stderr, "trace: {}\n", line); }};
  if (*events != nullptr) {
    options.record = [&reader = **events](vm::Map& map, const vm::Environment& environment) {
      reader.read(map, environment);
    };
  }
  OtherFaults other_faults;
  options.fault = [&other_faults](const vm::Fault& fault) { other_faults.note(fault); };
  options.network = &kernel.network();
  options.copy_sent = [departures](const vm::Packet& copy, uint32_t ifindex, uint64_t time_ps) {
    departures->copy_sent(copy, ifindex, time_ps);
  };
  const auto start = std::chrono::steady_clock::now();
  auto summary = a.untimed ? run_untimed(source, *attachments->hooks, options, *departures)
                           : run_timed(source, *attachments->hooks, options, *departures);
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  progress.end();
  if (!summary) return tl::unexpected(summary.error());
  if (auto saved = kernel.bpffs.save(); !saved) return tl::unexpected(saved.error());
  report.warnings.insert(report.warnings.end(), kernel.bpffs.notes().begin(),
                         kernel.bpffs.notes().end());

  report.command = command;
  report.engine = std::string(engine->name());
  report.nic = profile->name;
  report.timed = !a.untimed;
  report.seed = a.seed;
  report.capture_path = a.capture;
  report.filter = filter;
  report.capture_packets = (*reader)->packets();
  report.capture_bytes = (*reader)->bytes();
  report.summary = *summary;
  report.wall_seconds = wall.count();
  add_warnings(report, **reader, player, *attachments, a);
  std::ranges::copy(other_faults.first, std::back_inserter(report.warnings));

  const Json json = to_json(report, *attachments);
  std::vector<std::string> written;
  if (recorder != nullptr) {
    auto finished = recorder->finish().and_then([&] { return write_report(a.output, json); });
    if (!finished) return tl::unexpected(finished.error());
    written = recorder->paths();
    written.push_back((std::filesystem::path(a.output) / "report.json").string());
  }
  if (auto finished = departures->finish(); !finished) return tl::unexpected(finished.error());
  std::ranges::copy(departures->paths(), std::back_inserter(written));
  if (events_file != nullptr) {
    if (auto finished = events_file->finish(); !finished) return tl::unexpected(finished.error());
    written.push_back((std::filesystem::path(a.output) / "events.ndjson").string());
  }
  if (!a.dump_maps.empty()) {
    std::vector<vm::LoadedMap> maps;
    for (const auto& object : attachments->objects) {
      maps.insert(maps.end(), object->maps().begin(), object->maps().end());
    }
    if (auto saved = save_maps(a.dump_maps, maps, kernel.options().possible_cpus); !saved) {
      return tl::unexpected(saved.error());
    }
    written.push_back(a.dump_maps);
  }
  for (const std::string& warning : report.warnings) fmt::print(stderr, "xnic: {}\n", warning);
  if (a.json) {
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", to_table(report, *attachments));
    if (!written.empty()) fmt::print("\nwrote        {}\n", fmt::join(written, "\n             "));
  }
  uint64_t faults = 0;
  for (const vm::Hook& hook : *attachments->hooks) faults += hook.statistics().faults;
  if (faults != 0) {
    return fail(ExitCode::run_time_fault,
                "{} aborted because a program faulted; the first faults are named above",
                were(faults, "packet"));
  }
  if (other_faults.count != 0) {
    return fail(
        ExitCode::run_time_fault,
        "{} in callbacks of timers or in programs of map entries; the first are named above",
        other_faults.count == 1 ? "a fault happened"
                                : fmt::format("{} faults happened", other_faults.count));
  }
  return ExitCode::done;
}

}  // namespace

Result<ExitCode> run_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Replays a capture through XDP and tc programs on the emulated SmartNIC.",
               "xnic run");
  describe(app, arguments);
  app.footer(
      "Exit codes: 0 done, 1 an expectation failed, 2 usage, 3 program rejected, 4 bad input,\n"
      "5 fault at run time, 77 not available on this machine.");
  // "--events MAP=TYPE" is one option, though a bare --events takes no word.
  std::vector<std::string> words(argv, argv + argc);
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& next = words[i + 1];
    if (words[i] != "--events" || next.starts_with('-') || next.find('=') == next.npos) continue;
    words[i] += "=" + next;
    words.erase(words.begin() + static_cast<ptrdiff_t>(i) + 1);
  }
  std::vector<char*> joined;
  for (std::string& word : words) joined.push_back(word.data());
  try {
    app.parse(static_cast<int>(joined.size()), joined.data());
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return ExitCode::done;
  } catch (const CLI::ParseError& error) {
    return fail(ExitCode::usage, "{}; see xnic run --help", error.what());
  }
  const std::string command = fmt::format("xnic run {}", fmt::join(argv + 1, argv + argc, " "));
  return run(arguments, command);
}

}  // namespace xnic::sim

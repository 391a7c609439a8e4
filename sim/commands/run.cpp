// xnic run: a capture through the programs of one or more objects, timed or not.
// Test: tests/sim/run_command_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iterator>

#include "nic/core_model.h"
#include "nic/profile.h"
#include "sim/attachment.h"
#include "sim/captures.h"
#include "sim/commands/command.h"
#include "sim/commands/map_options.h"
#include "sim/commands/options.h"
#include "sim/commands/run_arguments.h"
#include "sim/departures.h"
#include "sim/events.h"
#include "sim/net_file.h"
#include "sim/one_thread.h"
#include "sim/progress.h"
#include "sim/recorder.h"
#include "sim/report.h"
#include "sim/run.h"
#include "sim/sockets.h"
#include "sim/system.h"
#include "sim/timeline_files.h"
#include "sim/untimed.h"
#include "traces/output_file.h"
#include "traces/player.h"
#include "vm/kernel.h"

namespace xnic::sim {
namespace {

// The first word is the object, unless --attach already names one and no such file exists.
AttachRequest request_of(const RunArguments& a, std::string& filter) {
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

// The reader that --events asks for; null without it. With -j standard output is the report's, and
// the lines go to events.ndjson.
Result<std::unique_ptr<EventReader>> make_event_reader(const RunArguments& a, vm::Kernel& kernel,
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

// Of the machine that this runs on, in bytes.
uint64_t half_of_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  return pages <= 0 || page <= 0 ? UINT64_MAX
                                 : static_cast<uint64_t>(pages) / 2 * static_cast<uint64_t>(page);
}

// Whether a program runs on the card's engine, whose cores say what its instructions take.
bool attaches_to_card(const AttachRequest& request) {
  return std::ranges::any_of(request.attach, [](const std::string& attach) {
    const std::string place = attach.substr(0, attach.find('='));
    return place.ends_with(vm::hook_name(vm::HookPoint::xdp_offload));
  });
}

// Why --threads is not followed, a clause; empty if it is.
std::string why_one_thread(const RunArguments& a, const Attachments& attachments) {
  if (!a.events.empty()) return "--events tells of records in the order of the packets";
  if (!a.sockets.empty()) return "--xsk writes packets in their order";
  return one_thread_reason(attachments);
}

// Faults that no hook counts: in callbacks of timers, in programs of devmap and cpumap entries.
struct OtherFaults {
  uint64_t count = 0;
  std::vector<std::string> first;

  std::mutex mutex;  // of threads that run packets

  void note(const vm::Fault& fault) {
    constexpr size_t kNamed = 16;
    const std::lock_guard lock(mutex);
    if (count++ < kNamed) first.push_back("fault: " + fault.message);
  }
};

// "1 packet was", "2 packets were".
std::string were(uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? " was" : "s were");
}

template <class Function>
void for_each_hook(const Attachments& attachments, Function function) {
  for (const InterfaceHooks::Entry& interface : attachments.hooks.all()) {
    for (const vm::Hook& hook : *interface.hooks) function(hook);
  }
}

// The warnings that a finished replay gives.
void add_warnings(Report& report, const traces::MergedReader& captures,
                  const traces::Player& player, const Attachments& attachments,
                  const RunArguments& a) {
  auto& warnings = report.warnings;
  for (const auto& reader : captures.readers()) {
    if (reader->warning()) warnings.push_back(*reader->warning());
    if (reader->snapped() != 0) {
      warnings.push_back(
          fmt::format("{}: {} captured shorter than on the wire; programs see only what was "
                      "captured",
                      reader->path(), were(reader->snapped(), "packet")));
    }
  }
  const std::string& paths = captures.path();
  if (player.backwards() != 0) {
    warnings.push_back(fmt::format("{}: {} earlier than the one before and counted as equal to it",
                                   paths, were(player.backwards(), "timestamp")));
  }
  if (player.shortened_gaps() != 0) {
    warnings.push_back(fmt::format("{}: {} shortened to {} (--max-gap)", paths,
                                   were(player.shortened_gaps(), "idle gap"), a.max_gap));
  }
  for_each_hook(attachments, [&](const vm::Hook& hook) {
    for (const std::string& fault : hook.faults()) warnings.push_back("fault: " + fault);
  });
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

Result<ExitCode> run(const RunArguments& a, const std::string& command) {
  if (a.untimed && !a.rate.empty()) {
    return fail(ExitCode::usage,
                "--rate and --untimed exclude each other: without the timing "
                "model the capture's timestamps are the clock");
  }
  if (a.untimed && a.accuracy == "exact") {
    return fail(ExitCode::usage,
                "--accuracy exact and --untimed exclude each other: without the timing model no "
                "time is modelled");
  }
  if (a.untimed && (!a.trace.empty() || !a.wave.empty())) {
    return fail(
        ExitCode::usage,
        "{} and --untimed exclude each other: without the timing model no part works at any "
        "time",
        a.trace.empty() ? "--wave" : "--trace");
  }
  if (a.loops == 0) return fail(ExitCode::usage, "--loop 0: give at least 1");
  if (a.threads == 0) return fail(ExitCode::usage, "--threads 0: give at least 1");
  if (a.threads > 1 && !a.untimed) {
    return fail(ExitCode::usage,
                "--threads needs --untimed: the timing model's events happen one after another");
  }
  const auto max_gap = parse_duration("--max-gap", a.max_gap);
  if (!max_gap) return tl::unexpected(max_gap.error());
  traces::PlayerOptions player_options{
      .max_gap_ns = *max_gap, .loops = a.loops, .memory_bytes = half_of_memory()};
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
  auto profile = nic::load_profile(a.nic, a.changes);
  if (!profile) return tl::unexpected(profile.error());
  player_options.link_gbps = profile->link_gbps.value;

  const std::unique_ptr<vm::Engine> engine = make_engine(a.engine);
  auto network = read_network(a.networks);
  if (!network) return tl::unexpected(network.error());
  vm::KernelOptions machine{
      .possible_cpus = profile->cores.whole(), .seed = a.seed, .network = std::move(*network)};
  const std::shared_ptr<const nic::CoreModel> core = nic::make_core_model(*profile);
  if (!a.untimed && attaches_to_card(request)) {
    machine.cost_model = [core](const vm::Program& program) { return core->costs(program); };
  }
  vm::Kernel kernel(*engine, machine);
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
  const auto captures = open_captures(a.captures, kernel.network(), filter, a.strict);
  if (!captures) return tl::unexpected(captures.error());
  traces::MergedReader& reader = *captures->reader;
  traces::Player player(reader, player_options);
  std::unique_ptr<Recorder> recorder;
  if (!a.output.empty()) {
    auto made = Recorder::create(a.output, *attachments, captures->ports);
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
  NoSink nothing;
  const auto made_departures =
      Departures::create(a.writes, kernel.network(),
                         recorder != nullptr ? static_cast<OutcomeSink&>(*recorder) : nothing);
  if (!made_departures) return tl::unexpected(made_departures.error());
  Departures* const departures = made_departures->get();
  const auto made_sockets = Sockets::create(a.sockets, *attachments);
  if (!made_sockets) return tl::unexpected(made_sockets.error());
  Sockets* const sockets = made_sockets->get();
  Progress progress(reader.path(), isatty(STDERR_FILENO) != 0);
  // A capture that is played once at its own pace keeps its timestamps in the output.
  const bool own_time = a.loops == 1 && a.rate.empty();
  std::optional<int64_t> first_ns;
  const FrameSource source = [&](std::span<traces::Frame> frames) -> Result<size_t> {
    if (recorder != nullptr && recorder->error()) return tl::unexpected(*recorder->error());
    const auto got = player.next_burst(frames);
    if (!got || *got == 0) return got;
    progress.step(*got, reader.bytes());
    if (!first_ns) {
      first_ns = frames.front().timestamp_ns;
      departures->set_start(*first_ns);
      sockets->set_start(*first_ns);
    }
    if (recorder == nullptr) return got;
    for (const traces::Frame& frame : frames.first(*got)) {
      const auto simulated_ns = static_cast<int64_t>(frame.time_ps / 1000);
      recorder->starts(frame, own_time ? frame.timestamp_ns : *first_ns + simulated_ns);
    }
    return got;
  };
  RunOptions options{
      .profile = *profile,
      .seed = a.seed,
      .mtu = a.mtu,
      .lossy = !a.rate.empty(),
      .exact = a.accuracy == "exact",
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
  options.socket_received = [sockets](const vm::Packet& packet, uint64_t socket, uint64_t time_ps) {
    sockets->received(packet, socket, time_ps);
  };
  options.entrances = captures->entrances;
  options.threads = a.threads;
  if (a.threads > 1) {
    if (const std::string reason = why_one_thread(a, *attachments); !reason.empty()) {
      options.threads = 1;
      report.warnings.push_back(
          fmt::format("--threads {}: one thread runs all packets, since {}", a.threads, reason));
    } else if (const uint32_t most = std::min(profile->queues.whole(), profile->cores.whole());
               most < a.threads) {
      report.warnings.push_back(fmt::format(
          "--threads {0}: {1} has work, for the card has {2} receive queues and the host {3} CPUs; "
          "--set receive.queues={0} --set host.cores={0} spreads packets over more",
          a.threads, most, profile->queues.whole(), profile->cores.whole()));
    }
  }
  const auto timeline_files = TimelineFiles::create(a.trace, a.wave);
  if (!timeline_files) return tl::unexpected(timeline_files.error());
  options.timeline = (*timeline_files)->timeline();
  const auto start = std::chrono::steady_clock::now();
  auto summary = a.untimed ? run_untimed(source, attachments->hooks, options, *departures)
                           : run_timed(source, attachments->hooks, options, *departures);
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
  report.captures = captures->summary();
  report.filter = filter;
  report.summary = *summary;
  report.wall_seconds = wall.count();
  add_warnings(report, reader, player, *attachments, a);
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
  if (auto finished = sockets->finish(); !finished) return tl::unexpected(finished.error());
  if (auto finished = (*timeline_files)->finish(); !finished) {
    return tl::unexpected(finished.error());
  }
  std::ranges::copy((*timeline_files)->paths(), std::back_inserter(written));
  std::ranges::copy(sockets->paths(), std::back_inserter(written));
  if (events_file != nullptr) {
    if (auto finished = events_file->finish(); !finished) return tl::unexpected(finished.error());
    written.push_back((std::filesystem::path(a.output) / "events.ndjson").string());
  }
  if (!a.dump_maps.empty()) {
    if (auto saved = dump_maps(*attachments, kernel, a.dump_maps); !saved) {
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
  for_each_hook(*attachments, [&](const vm::Hook& hook) { faults += hook.statistics().faults; });
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
  RunArguments arguments;
  const auto asked = parse_run_arguments(argc, argv, arguments);
  if (!asked) return tl::unexpected(asked.error());
  if (!*asked) return ExitCode::done;
  const std::string command = fmt::format("xnic run {}", fmt::join(argv + 1, argv + argc, " "));
  return run(arguments, command);
}

}  // namespace xnic::sim

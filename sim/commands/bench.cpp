// xnic bench: nanoseconds a run of an object's programs, by engine, and in the kernel of this
// machine beside them. All measurements take turns, so that what disturbs the machine disturbs
// everyone.
// Test: tests/sim/bench_command_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "sim/commands/command.h"
#include "sim/commands/options.h"
#include "sim/commands/sides.h"
#include "sim/json.h"
#include "sim/kernel_side.h"
#include "sim/program_timing.h"
#include "vm/program_type.h"

namespace xnic::sim {
namespace {

constexpr int kSchemaVersion = 1;
constexpr double kMillisecond = 1e6;  // nanoseconds

struct Arguments {
  std::string object;
  std::string capture;
  std::string filter;
  std::string program;
  std::vector<std::string> engines = {"jit"};
  std::string against;
  std::vector<std::string> maps;
  uint64_t seed = 0;
  uint32_t repeats = 7;
  uint32_t milliseconds = 20;
  uint64_t packets = 0;  // 0: as many as take seconds
  bool json = false;
};

void describe(CLI::App& app, Arguments& a) {
  app.add_option("object", a.object, "BPF object whose XDP and tc programs are measured")
      ->type_name("OBJECT")
      ->required();
  app.add_option("-r,--read", a.capture,
                 "capture with the packets, pcap or pcapng; without it one IPv4/UDP frame of 64 "
                 "bytes")
      ->type_name("CAPTURE");
  app.add_option("--filter", a.filter, "of the capture only what this tcpdump filter takes")
      ->type_name("FILTER");
  app.add_option("--packets", a.packets,
                 "of the capture N packets at most, spread evenly over it; by default 1000, and 20 "
                 "with --against, since Linux waits for its other CPUs at each")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}));
  app.add_option("--program", a.program, "measure this program alone")->type_name("NAME");
  app.add_option("--engine", a.engines, "jit, interpreter, or both with a comma between")
      ->delimiter(',')
      ->check(engine_name())
      ->capture_default_str();
  app.add_option("--against", a.against, "measure kernel, the one of this machine, in turn")
      ->check(CLI::IsMember({"kernel"}));
  app.add_option("--map", a.maps,
                 "fill a map on all sides, from bpftool map dump's JSON (repeatable)")
      ->type_name("NAME=FILE.json")
      ->expected(1)
      ->take_all();
  app.add_option("--repeats", a.repeats, "measurements of each program, of which the median counts")
      ->type_name("N")
      ->check(CLI::Range(1u, 10'000u))
      ->capture_default_str();
  app.add_option("--time", a.milliseconds, "milliseconds that one measurement takes")
      ->type_name("MS")
      ->check(CLI::Range(1u, 60'000u))
      ->capture_default_str();
  add_seed(app, a.seed);
  app.add_flag("-j,--json", a.json, "print the report as JSON");
}

// A kernel with the object loaded: ours with one engine, or the machine's.
struct Contestant {
  std::string engine;  // "jit", "interpreter", "kernel"
  std::unique_ptr<vm::Engine> owned;
  std::unique_ptr<KernelSide> side;
};

// One program on one side, or the empty program of its type.
struct Race {
  std::string engine;
  std::string program;  // empty: the empty program
  bpf_prog_type type;
  std::unique_ptr<ProgramTiming> timing;
  std::string verdict = {};
  std::vector<double> samples = {};
};

std::string_view type_name(bpf_prog_type type) { return vm::find_program_type(type)->name; }

Result<std::vector<Contestant>> line_up(const Arguments& a) {
  SideOptions options;
  if (!a.program.empty()) options.programs = {a.program};
  std::vector<Contestant> all;
  for (const std::string& engine : a.engines) {
    Contestant one{engine, make_engine(engine, false), nullptr};
    auto side = KernelSide::emulated(a.object, *one.owned, a.seed, options);
    if (!side) return tl::unexpected(side.error());
    one.side = std::move(*side);
    all.push_back(std::move(one));
  }
  if (!a.against.empty()) {
    auto side = KernelSide::real(a.object, options);
    if (!side) return tl::unexpected(side.error());
    all.push_back({"kernel", nullptr, std::move(*side)});
  }
  std::vector<KernelSide*> others;
  for (size_t i = 1; i < all.size(); ++i) others.push_back(all[i].side.get());
  for (const std::string& request : a.maps) {
    if (auto filled = fill_all(*all.front().side, others, request); !filled) {
      return tl::unexpected(filled.error());
    }
  }
  return all;
}

// r0 = 2 (XDP_PASS) or 0 (TC_ACT_OK); exit
Descriptor load_empty(BpfHost& host, bpf_prog_type type) {
  return host.load(type,
                   {{.code = BPF_ALU64 | BPF_MOV | BPF_K,
                     .dst_reg = 0,
                     .src_reg = 0,
                     .off = 0,
                     .imm = type == BPF_PROG_TYPE_XDP ? 2 : 0},
                    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}});
}

struct Table {
  std::string object;
  std::string packets;  // what the programs met
  size_t packet_count = 0;
  std::vector<Race> races;

  const Race* empty_of(const Race& race) const {
    for (const Race& other : races) {
      if (other.program.empty() && other.engine == race.engine && other.type == race.type) {
        return &other;
      }
    }
    return nullptr;
  }
};

Json to_json(const Table& table, const std::string& command) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["version"] = XNIC_VERSION;
  json["command"] = command;
  json["object"] = table.object;
  json["packets"] = {{"source", table.packets}, {"count", table.packet_count}};
  json["programs"] = Json::array();
  json["empty_ns"] = Json::object();
  for (const Race& race : table.races) {
    const Spread spread = spread_of(race.samples);
    if (race.program.empty()) {
      // The first program's type, where an object has both.
      if (!json["empty_ns"].contains(race.engine)) json["empty_ns"][race.engine] = spread.median;
      continue;
    }
    json["programs"].push_back({{"program", race.program},
                                {"type", type_name(race.type)},
                                {"engine", race.engine},
                                {"ns_median", spread.median},
                                {"ns_min", spread.least},
                                {"ns_max", spread.most},
                                {"repeats", race.samples.size()},
                                {"empty_ns", spread_of(table.empty_of(race)->samples).median},
                                {"verdict", race.verdict}});
  }
  return json;
}

std::string to_text(const Table& table) {
  std::string text = fmt::format("object   {}\npackets  {}\n\n", table.object, table.packets);
  text += fmt::format("{:<28} {:<12} {:>9} {:>9} {:>9} {:>9}  {}\n", "program", "engine", "ns",
                      "min", "max", "empty", "verdict");
  for (const Race& race : table.races) {
    if (race.program.empty()) continue;
    const Spread spread = spread_of(race.samples);
    text += fmt::format("{:<28} {:<12} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f}  {}\n", race.program,
                        race.engine, spread.median, spread.least, spread.most,
                        spread_of(table.empty_of(race)->samples).median, race.verdict);
  }
  text += fmt::format(
      "\nns: median of {} measurements that took turns; empty: a program of two instructions,\n"
      "which shows what a run costs beside the program\n",
      table.races.front().samples.size());
  return text;
}

Result<ExitCode> bench(const Arguments& a, const std::string& command) {
  if (!a.against.empty()) {
    if (const std::string why = why_no_real_kernel(); !why.empty()) {
      return fail(ExitCode::not_available, "{}", why);
    }
  }
  const PinnedToCpu0 pinned;
  std::vector<NumberedPacket> packets;
  Table table{a.object, "one IPv4/UDP frame of 64 bytes", 1, {}};
  if (a.capture.empty()) {
    packets.push_back({1, generated_packet()});
  } else {
    std::vector<std::string> warnings;
    auto capture = read_packets(a.capture, a.filter, false, warnings);
    if (!capture) return tl::unexpected(capture.error());
    for (const std::string& warning : warnings) fmt::print(stderr, "xnic: {}\n", warning);
    const uint64_t most = a.packets != 0 ? a.packets : a.against.empty() ? 1000 : 20;
    const uint64_t count = std::min<uint64_t>(most, capture->size());
    for (uint64_t i = 0; i < count; ++i) {
      packets.push_back(std::move((*capture)[i * capture->size() / count]));
    }
    if (packets.empty()) {
      return fail(ExitCode::bad_input, "{}: holds no packet to run programs on", a.capture);
    }
    table.packets = fmt::format("{} of the {} in {}", count, capture->size(), a.capture);
    table.packet_count = packets.size();
  }

  auto contestants = line_up(a);
  if (!contestants) return tl::unexpected(contestants.error());
  auto names = chosen_programs(*contestants->front().side, a.object, a.program);
  if (!names) return tl::unexpected(names.error());

  std::vector<Descriptor> empty_programs;
  for (const std::string& name : *names) {
    const bpf_prog_type type = contestants->front().side->program(name)->type;
    for (const Contestant& one : *contestants) {
      BpfHost& host = one.side->host();
      const bool has_empty = std::ranges::any_of(table.races, [&](const Race& race) {
        return race.program.empty() && race.engine == one.engine && race.type == type;
      });
      if (!has_empty) {
        empty_programs.push_back(load_empty(host, type));
        table.races.push_back(
            {one.engine, "", type,
             std::make_unique<ProgramTiming>(host, empty_programs.back().fd(), packets)});
      }
      table.races.push_back(
          {one.engine, name, type,
           std::make_unique<ProgramTiming>(host, one.side->program(name)->fd, packets)});
    }
  }
  for (Race& race : table.races) {
    const auto code = race.timing->warm_up();
    if (!code) return tl::unexpected(code.error());
    race.verdict = vm::find_program_type(race.type)->verdict_name(*code);
    const auto chosen =
        race.timing->choose_repeat(static_cast<uint64_t>(a.milliseconds * kMillisecond));
    if (!chosen) return tl::unexpected(chosen.error());
  }
  for (uint32_t repeat = 0; repeat < a.repeats; ++repeat) {
    for (Race& race : table.races) {
      const auto sample = race.timing->measure();
      if (!sample) return tl::unexpected(sample.error());
      race.samples.push_back(*sample);
    }
  }
  if (a.json) {
    fmt::print("{}\n", to_json(table, command).dump(2));
  } else {
    fmt::print("{}", to_text(table));
  }
  return ExitCode::done;
}

}  // namespace

Result<ExitCode> bench_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Measures how long runs of an object's XDP and tc programs take, with BPF_PROG_TEST_RUN in "
      "the emulated kernel and, if asked, in the one of this machine.",
      "xnic bench");
  describe(app, arguments);
  app.footer(
      "Within a measurement a packet is not put back between runs, as in Linux.\n"
      "Exit codes: 0 done, 1 a packet was refused, 2 usage, 3 rejected by either side,\n"
      "4 bad input, 77 this process may not use the kernel's bpf(2).");
  const auto read = parse(app, argc, argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return bench(arguments, fmt::format("xnic bench {}", fmt::join(argv + 1, argv + argc, " ")));
}

}  // namespace xnic::sim

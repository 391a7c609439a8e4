// xnic line: programs on real ports, and traffic to measure them.
// Test: tests/sim/line_command_test.cpp, tests/sim/line_traffic_test.cpp.
#include "sim/line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <future>
#include <optional>
#include <span>
#include <thread>

#include "sim/commands/command.h"
#include "sim/commands/line_arguments.h"
#include "sim/commands/line_control.h"
#include "sim/commands/line_machine.h"
#include "sim/commands/line_traffic.h"
#include "sim/commands/map_options.h"
#include "sim/commands/options.h"
#include "sim/control.h"
#include "sim/line_metrics.h"
#include "sim/line_ports.h"
#include "sim/line_statistics.h"
#include "sim/listener.h"
#include "sim/report.h"

namespace xnic::sim {
namespace {

constexpr auto kGlance = std::chrono::milliseconds(5);  // how often the main thread looks up
constexpr uint64_t kSecond = 1'000'000'000;             // in nanoseconds

std::atomic<bool> interrupted = false;

// Notes SIGINT and SIGTERM while it lives; a second one ends the process at once.
class Interrupts {
 public:
  Interrupts() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~Interrupts() {
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM};
  std::array<struct sigaction, kSignals.size()> before_{};
};

// Who may ask a line while it runs.
class Doors {
 public:
  static Result<Doors> open(const LineArguments& a) {
    Doors doors;
    if (!a.control.empty()) {
      auto listener = Listener::at_path(a.control);
      if (!listener) return tl::unexpected(listener.error());
      doors.control_.emplace(std::move(*listener));
    }
    if (!a.listen.empty()) {
      auto listener = Listener::at_address(a.listen);
      if (!listener) return tl::unexpected(listener.error());
      doors.metrics_.emplace(std::move(*listener));
    }
    return doors;
  }
  void serve(Line& line, LineMachine& machine, std::span<nic::Port* const> ports) {
    if (control_) {
      control_->serve("\n", [&](const std::string& request) {
        return answer_of(LineControl(line, machine).answer(words_of_request(request)));
      });
    }
    if (metrics_) {
      metrics_->serve("\r\n\r\n", [&](const std::string& request) {
        return answer_http(request, line, ports);
      });
    }
  }

 private:
  std::optional<Listener> control_;
  std::optional<Listener> metrics_;
};

// Says which links went down or came back.
class Links {
 public:
  explicit Links(std::span<nic::Port* const> ports) : ports_(ports), states_(ports.size()) {
    for (size_t i = 0; i < ports_.size(); ++i) states_[i].up = ports_[i]->link().up;
  }
  void look() {
    for (size_t i = 0; i < ports_.size(); ++i) {
      const bool up = ports_[i]->link().up;
      if (up == states_[i].up) continue;
      states_[i].up = up;
      if (!up) ++states_[i].went_down;
      fmt::print(stderr, "xnic: port {}: its link is {}\n", ports_[i]->facts().name,
                 up ? "up again" : "down");
    }
  }
  uint64_t went_down(size_t port) const { return states_[port].went_down; }

 private:
  struct State {
    bool up = false;
    uint64_t went_down = 0;
  };
  std::span<nic::Port* const> ports_;
  std::vector<State> states_;
};

// Shows what happens, every second, and does `meanwhile` more often, until `over` says that it is.
template <class Meanwhile, class Over>
void watch(Line& line, const LineArguments& a, Links& links, Meanwhile meanwhile, Over over) {
  LineWatch looks(line);
  const bool terminal = isatty(STDERR_FILENO) != 0;
  for (uint64_t next_ns = kSecond; !over();) {
    std::this_thread::sleep_for(kGlance);
    meanwhile();
    links.look();
    if (line.elapsed_ns() < next_ns) continue;
    next_ns += kSecond;
    const LineSpan span = looks.look();
    if (a.stats_json) {
      Json json = to_json(span);
      json["at_ns"] = line.elapsed_ns();
      fmt::print("{}\n", json.dump());
      std::fflush(stdout);
    } else if (terminal) {
      fmt::print(stderr, "{}\n", to_line(span));
    }
  }
}

// False where no program faulted.
bool add_faults(Report& report, const Attachments& attachments) {
  const size_t before = report.warnings.size();
  for (const InterfaceHooks::Entry& interface : attachments.hooks.all()) {
    for (const vm::Hook& hook : *interface.hooks) {
      for (const std::string& fault : hook.faults()) report.warnings.push_back("fault: " + fault);
    }
  }
  return report.warnings.size() != before;
}

// All that a line needs, made in this order.
struct Setup {
  std::vector<int> cpus;
  std::vector<PortWord> words;
  LinePorts ports;
  std::vector<nic::Port*> opened;  // of --port
  std::unique_ptr<LineMachine> machine;
  std::unique_ptr<LineMachine> reference;  // of --check
};

Result<Setup> set_up(const LineArguments& a) {
  auto cpus = parse_cpus(a.lcores);
  if (!cpus) return tl::unexpected(cpus.error());
  const auto threads = static_cast<uint32_t>(cpus->size());
  std::vector<PortWord> words;
  std::vector<std::string> names;
  for (const std::string& text : a.ports) {
    words.push_back(parse_port_word(text));
    names.push_back(words.back().name);
  }
  for (const std::string& name : {a.tx, a.rx}) {
    if (!name.empty()) names.push_back(name);
  }
  auto ports = LinePorts::start(names, {.devices = {},
                                        .eal = a.eal,
                                        .threads = threads + (a.generate.empty() ? 0 : 1),
                                        .strip_vlan_tags = a.strip_vlan});
  if (!ports) return tl::unexpected(ports.error());
  Setup setup{.cpus = std::move(*cpus),
              .words = std::move(words),
              .ports = std::move(*ports),
              .opened = {},
              .machine = nullptr,
              .reference = nullptr};
  for (const PortWord& word : setup.words) {
    const auto port = setup.ports.open(word.name, threads);
    if (!port) return tl::unexpected(port.error());
    setup.opened.push_back(*port);
  }
  if (!a.runs_programs()) return setup;
  auto machine = LineMachine::make(a, setup.words, setup.opened, threads);
  if (!machine) return tl::unexpected(machine.error());
  setup.machine = std::move(*machine);
  if (a.check) {
    auto reference = LineMachine::make(a, setup.words, setup.opened, threads);
    if (!reference) return tl::unexpected(reference.error());
    setup.reference = std::move(*reference);
  }
  return setup;
}

// The interface of the port at the other end of a cable, or the one `otherwise`.
uint32_t interface_opposite(const Setup& setup, const std::string& name, size_t otherwise) {
  const std::string stem = name.substr(0, name.size() - 1);
  for (size_t i = 0; i < setup.words.size(); ++i) {
    const std::string& own = setup.words[i].name;
    const bool same_cable = own != name && own.substr(0, own.size() - 1) == stem;
    if (name.starts_with("cable:") && same_cable) return setup.machine->interfaces[i];
  }
  return setup.machine->interfaces[otherwise];
}

Result<TrafficReport> generate(const LineArguments& a, Setup& setup) {
  const auto tx = setup.ports.open(a.tx, 1);
  if (!tx) return tl::unexpected(tx.error());
  const auto rx = setup.ports.open(a.rx, 1);
  if (!rx) return tl::unexpected(rx.error());
  std::unique_ptr<LineCheck> check;
  if (setup.reference != nullptr) {
    const auto options = setup.reference->run_options(a, 1);
    if (!options) return tl::unexpected(options.error());
    check = std::make_unique<LineCheck>(setup.reference->attachments->hooks, *options,
                                        interface_opposite(setup, a.tx, 0),
                                        interface_opposite(setup, a.rx, setup.words.size() - 1));
  }
  const int cpu = setup.machine == nullptr ? setup.cpus.front() : another_cpu(setup.cpus);
  return run_traffic(a, setup.ports, **tx, **rx, cpu, check.get(), interrupted);
}

void print(const LineArguments& a, const Json& json) {
  fmt::print("{}\n", json.dump(a.stats_json ? -1 : 2, ' ', false, Json::error_handler_t::replace));
}

void warn(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) fmt::print(stderr, "xnic: {}\n", warning);
}

Result<ExitCode> run(const LineArguments& a, const std::string& command) {
  uint64_t duration_ns = UINT64_MAX;
  if (!a.duration.empty()) {
    const auto parsed = parse_duration("--duration", a.duration);
    if (!parsed) return tl::unexpected(parsed.error());
    duration_ns = *parsed;
  }
  auto made = set_up(a);
  if (!made) return tl::unexpected(made.error());
  Setup& setup = *made;
  const Interrupts interrupts;
  Report report;
  report.command = command;
  if (const std::string& note = setup.ports.dpdk().note(); !note.empty()) {
    report.warnings.push_back(note);
  }
  if (setup.machine == nullptr) {
    const auto traffic = generate(a, setup);
    if (!traffic) return tl::unexpected(traffic.error());
    warn(report.warnings);
    if (a.json) {
      print(a, {{"schema_version", 1},
                {"version", XNIC_VERSION},
                {"command", command},
                {"traffic", traffic->json}});
    } else {
      fmt::print("{}", traffic->table);
    }
    return ExitCode::done;
  }

  LineMachine& machine = *setup.machine;
  const auto threads = static_cast<uint32_t>(setup.cpus.size());
  const auto run_options = machine.run_options(a, threads);
  if (!run_options) return tl::unexpected(run_options.error());
  LineOptions options{.run = *run_options,
                      .ports = {},
                      .cpus = setup.cpus,
                      .burst = a.burst,
                      .packets = a.packets == 0 || !a.generate.empty() ? UINT64_MAX : a.packets};
  for (size_t i = 0; i < setup.opened.size(); ++i) {
    options.ports.push_back({setup.opened[i], machine.interfaces[i]});
  }
  for (const auto& object : machine.attachments->objects) {
    report.warnings.insert(report.warnings.end(), object->notes().begin(), object->notes().end());
  }

  auto doors = Doors::open(a);
  if (!doors) return tl::unexpected(doors.error());
  Line line(setup.ports.dpdk(), machine.attachments->hooks, options);
  Links links(setup.opened);
  const auto meanwhile = [&] { doors->serve(line, machine, setup.opened); };
  line.start();
  Result<TrafficReport> traffic;
  if (a.generate.empty()) {
    watch(line, a, links, meanwhile,
          [&] { return !line.running() || interrupted || line.elapsed_ns() >= duration_ns; });
  } else {
    auto generating = std::async(std::launch::async, [&] { return generate(a, setup); });
    watch(line, a, links, meanwhile,
          [&] { return generating.wait_for(kGlance) == std::future_status::ready; });
    traffic = generating.get();
  }
  if (auto stopped = line.stop(); !stopped) return tl::unexpected(stopped.error());
  if (!traffic) return tl::unexpected(traffic.error());

  constexpr double kNanosecondsPerSecond = 1e9;
  const double seconds = static_cast<double>(line.elapsed_ns()) / kNanosecondsPerSecond;
  report.engine = std::string(machine.engine->name());
  report.nic = "dpdk";
  report.timed = false;
  report.clock = "the machine's own clock";
  report.seed = a.seed;
  report.summary = line.summary();
  report.wall_seconds = seconds;
  for (size_t i = 0; i < setup.opened.size(); ++i) {
    const nic::PortCounters counters = setup.opened[i]->counters();
    report.captures.push_back({machine.interface_name(i), setup.words[i].name, counters.received,
                               counters.received_bytes});
  }
  const bool faults = add_faults(report, *machine.attachments);
  if (!a.dump_maps.empty()) {
    if (auto saved = dump_maps(*machine.attachments, *machine.kernel, a.dump_maps); !saved) {
      return tl::unexpected(saved.error());
    }
  }
  warn(report.warnings);
  if (a.json) {
    Json json = to_json(report, *machine.attachments);
    json["ports"] = Json::array();
    for (size_t i = 0; i < setup.opened.size(); ++i) {
      Json port = to_json(*setup.opened[i]);
      port["interface"] = machine.interface_name(i);
      port["link_went_down"] = links.went_down(i);
      json["ports"].push_back(std::move(port));
    }
    json["lcores"] = Json::array();
    for (size_t i = 0; i < line.threads(); ++i) {
      Json one = to_json(line.count(i), seconds);
      one["cpu"] = setup.cpus[i];
      json["lcores"].push_back(std::move(one));
    }
    if (!a.generate.empty()) json["traffic"] = traffic->json;
    print(a, json);
  } else {
    fmt::print("{}", to_table(report, *machine.attachments));
    if (!a.generate.empty()) fmt::print("\n{}", traffic->table);
  }
  if (faults) {
    return fail(ExitCode::run_time_fault,
                "packets were aborted because a program faulted; the first faults are named above");
  }
  return traffic->as_predicted ? ExitCode::done : ExitCode::expectation_failed;
}

}  // namespace

Result<ExitCode> line_command(int argc, char** argv) {
  LineArguments arguments;
  const auto read = parse_line_arguments(argc, argv, arguments);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return run(arguments, fmt::format("xnic line {}", fmt::join(argv + 1, argv + argc, " ")));
}

}  // namespace xnic::sim

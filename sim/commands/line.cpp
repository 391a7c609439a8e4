// xnic line: programs on real ports. Test: tests/sim/line_command_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "nic/ports/dpdk.h"
#include "nic/profile.h"
#include "sim/attachment.h"
#include "sim/commands/command.h"
#include "sim/commands/map_options.h"
#include "sim/commands/options.h"
#include "sim/line.h"
#include "sim/net_file.h"
#include "sim/report.h"
#include "vm/kernel.h"

namespace xnic::sim {
namespace {

constexpr auto kGlance = std::chrono::milliseconds(5);  // how often the main thread looks up
constexpr double kNanosecondsPerSecond = 1e9;

struct Arguments {
  std::string object;
  std::vector<std::string> ports;
  std::vector<std::string> attach;
  std::string btf;
  std::string program;
  std::vector<std::string> maps;
  std::vector<std::string> networks;
  std::string lcores;
  std::string duration;
  uint64_t packets = 0;
  uint32_t burst = 32;
  uint32_t mtu = 0;
  uint64_t seed = 0;
  std::string engine = "jit";
  std::string dump_maps;
  bool json = false;
  bool stats_json = false;
  std::vector<std::string> eal;
};

// "[INTERFACE=]dpdk:DEVICE", taken apart.
struct PortRequest {
  std::string interface;  // empty: where none is named
  std::string device;
};

Result<PortRequest> parse_port(const std::string& text) {
  constexpr std::string_view kDpdk = "dpdk:";
  PortRequest request;
  std::string_view rest = text;
  const size_t equals = rest.find('=');
  if (const size_t colon = rest.find(':'); equals != rest.npos && equals < colon) {
    request.interface = rest.substr(0, equals);
    rest.remove_prefix(equals + 1);
  }
  if (!rest.starts_with(kDpdk) || rest.size() == kDpdk.size()) {
    return fail(ExitCode::usage,
                "--port {}: write it as [INTERFACE=]dpdk:DEVICE, with a PCI address, the name of a "
                "device, or a virtual device such as net_pcap0,rx_pcap=FILE",
                text);
  }
  request.device = rest.substr(kDpdk.size());
  return request;
}

// "1", "0,2", "2-5".
Result<std::vector<int>> parse_cpus(const std::string& text) {
  std::vector<int> cpus;
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);
  const auto bad = [&] {
    return fail(ExitCode::usage, "--lcores {}: list CPUs of this process, such as 1 or 2-5,8",
                text);
  };
  if (text.empty()) {
    // The last: the first has most of the machine's own work.
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
      if (CPU_ISSET(cpu, &own)) return std::vector{cpu};
    }
  }
  for (const char* at = text.data(); at <= text.data() + text.size(); ++at) {
    const char* const end = text.data() + text.size();
    int first = -1;
    auto read = std::from_chars(at, end, first);
    int last = first;
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
    }
    if (read.ec != std::errc() || first < 0 || last < first || last >= CPU_SETSIZE ||
        (read.ptr != end && *read.ptr != ',')) {
      return bad();
    }
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!CPU_ISSET(cpu, &own) || std::ranges::find(cpus, cpu) != cpus.end()) return bad();
      cpus.push_back(cpu);
    }
    at = read.ptr;
  }
  return cpus;
}

// The machine whose interfaces are the ports: --net's, or nic0, nic1, ... as the ports are.
Result<vm::Network> network_of(const Arguments& a,
                               const std::vector<std::unique_ptr<nic::Port>>& ports,
                               uint32_t threads) {
  if (!a.networks.empty()) return read_network(a.networks);
  vm::Network network = vm::Network::with_nic0();
  network.interfaces.resize(1);
  for (size_t i = 0; i < ports.size(); ++i) {
    const nic::PortFacts& facts = ports[i]->facts();
    network.interfaces.push_back({.ifindex = vm::kNicIfindex + static_cast<uint32_t>(i),
                                  .name = fmt::format("nic{}", i),
                                  .mac = facts.mac,
                                  .mtu = facts.mtu,
                                  .queues = threads});
  }
  return network;
}

// Each port's interface: the one it names, or the next in the order of their indices.
Result<std::vector<uint32_t>> interfaces_of(const std::vector<PortRequest>& requests,
                                            const vm::Network& network) {
  std::vector<uint32_t> chosen;
  uint32_t next = vm::kNicIfindex;
  for (const PortRequest& request : requests) {
    const vm::Interface* interface = nullptr;
    if (request.interface.empty()) {
      while (interface == nullptr && next <= network.interfaces.back().ifindex) {
        interface = network.by_index(next++);
      }
      if (interface == nullptr) {
        return fail(ExitCode::usage, "--port dpdk:{}: --net has no interface left for it",
                    request.device);
      }
    } else {
      interface = network.by_name(request.interface);
      if (interface == nullptr || interface->ifindex == vm::kLoopbackIfindex) {
        return fail(ExitCode::usage, "--port {}=dpdk:{}: no interface {} can be a port",
                    request.interface, request.device, request.interface);
      }
    }
    if (std::ranges::find(chosen, interface->ifindex) != chosen.end()) {
      return fail(ExitCode::usage, "--port dpdk:{}: {} is another port's already", request.device,
                  interface->name);
    }
    chosen.push_back(interface->ifindex);
  }
  return chosen;
}

// The programs that an object's sections attach to the first port are for all of them.
void attach_everywhere(const Attachments& attachments, const std::vector<uint32_t>& interfaces) {
  const Hooks* first = attachments.hooks.of(vm::kNicIfindex);
  if (first == nullptr) return;
  for (const uint32_t ifindex : interfaces) {
    if (ifindex == vm::kNicIfindex) continue;
    Hooks& hooks = *attachments.hooks.of(ifindex);
    for (size_t point = 0; point < hooks.size(); ++point) {
      if ((*first)[point].single().program != nullptr) {
        hooks[point].attach((*first)[point].single().program);
      }
    }
  }
}

// Whether some program sees the hash that hardware gives a packet: __sk_buff has it, and XDP
// programs that are bound to the device may ask for it.
bool sees_hashes(const Attachments& attachments) {
  return std::ranges::any_of(attachments.objects, [](const auto& object) {
    return std::ranges::any_of(object->programs(), [](const vm::LoadedProgram& loaded) {
      return loaded.program->type() != BPF_PROG_TYPE_XDP || loaded.program->spec().ifindex != 0;
    });
  });
}

std::atomic<int> interrupted = 0;

// Notes SIGINT and SIGTERM while it lives; a second one ends the process at once.
class Interrupts {
 public:
  Interrupts() {
    struct sigaction action {};
    action.sa_handler = [](int number) { interrupted = number; };
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
  std::array<struct sigaction, 2> before_{};
};

double per_second(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

// What happened between two looks.
struct Second {
  double seconds = 0;
  std::vector<LineCount> threads;

  LineCount all() const {
    LineCount sum;
    for (const LineCount& one : threads) sum.add(one);
    return sum;
  }
};

LineCount difference(const LineCount& now, const LineCount& before) {
  LineCount change = now;
  change.received -= before.received;
  change.received_bytes -= before.received_bytes;
  change.delivered -= before.delivered;
  change.transmitted -= before.transmitted;
  change.transmitted_bytes -= before.transmitted_bytes;
  for (size_t i = 0; i < kDropReasons; ++i) change.drops[i] -= before.drops[i];
  for (size_t i = 0; i < kEnds; ++i) change.copies[i] -= before.copies[i];
  change.busy_cycles -= before.busy_cycles;
  change.idle_cycles -= before.idle_cycles;
  return change;
}

class Watch {
 public:
  explicit Watch(const Line& line) : line_(line), before_(line.threads()) {}

  Second look() {
    const uint64_t now = line_.elapsed_ns();
    Second second{.seconds = static_cast<double>(now - then_ns_) / kNanosecondsPerSecond,
                  .threads = {}};
    for (size_t i = 0; i < line_.threads(); ++i) {
      const LineCount count = line_.count(i);
      second.threads.push_back(difference(count, before_[i]));
      before_[i] = count;
    }
    then_ns_ = now;
    return second;
  }

 private:
  const Line& line_;
  std::vector<LineCount> before_;
  uint64_t then_ns_ = 0;
};

Json to_json(const LineCount& count, double seconds) {
  Json drops = Json::object();
  for (size_t i = 0; i < kDropReasons; ++i) {
    if (count.drops[i] == 0) continue;
    drops[std::string(drop_reason_name(static_cast<DropReason>(i)))] = count.drops[i];
  }
  const double cycles = static_cast<double>(count.busy_cycles + count.idle_cycles);
  return {{"received", count.received},
          {"received_bytes", count.received_bytes},
          {"delivered", count.delivered},
          {"transmitted", count.transmitted},
          {"transmitted_bytes", count.transmitted_bytes},
          {"drops", std::move(drops)},
          {"packets_per_second", per_second(count.received, seconds)},
          {"cycles_per_packet", count.received == 0 ? 0
                                                    : static_cast<double>(count.busy_cycles) /
                                                          static_cast<double>(count.received)},
          {"idle_share", cycles > 0 ? static_cast<double>(count.idle_cycles) / cycles : 0}};
}

Json to_json(const nic::Port& port, const std::string& interface, const std::string& device) {
  const nic::PortFacts& facts = port.facts();
  const nic::PortCounters counters = port.counters();
  const nic::PortLink link = port.link();
  return {{"interface", interface},
          {"device", device},
          {"driver", facts.driver},
          {"receive_queues", facts.receive_queues},
          {"hardware_rss", facts.spreads},
          {"link_up", link.up},
          {"link_mbps", link.mbps},
          {"received", counters.received},
          {"sent", counters.sent},
          {"missed", counters.missed},
          {"no_memory", counters.no_memory},
          {"receive_errors", counters.receive_errors},
          {"send_errors", counters.send_errors}};
}

std::string to_line(const Second& second) {
  constexpr double kMega = 1e6;
  const LineCount all = second.all();
  std::string text =
      fmt::format("{:.3f} Mpps in, {:.3f} Gb/s; {:.3f} out, {:.3f} delivered, {:.3f} dropped",
                  per_second(all.received, second.seconds) / kMega,
                  per_second(all.received_bytes, second.seconds) * 8 / (1000 * kMega),
                  per_second(all.transmitted, second.seconds) / kMega,
                  per_second(all.delivered, second.seconds) / kMega,
                  per_second(all.dropped(), second.seconds) / kMega);
  for (size_t i = 0; i < second.threads.size(); ++i) {
    const LineCount& one = second.threads[i];
    const double cycles = static_cast<double>(one.busy_cycles + one.idle_cycles);
    text += fmt::format("; thread {}: {:.0f} cycles a packet, {:.0f} % idle", i,
                        one.received == 0 ? 0
                                          : static_cast<double>(one.busy_cycles) /
                                                static_cast<double>(one.received),
                        cycles > 0 ? 100 * static_cast<double>(one.idle_cycles) / cycles : 0);
  }
  return text;
}

Result<ExitCode> run(const Arguments& a, const std::string& command) {
  uint64_t duration_ns = UINT64_MAX;
  if (!a.duration.empty()) {
    const auto parsed = parse_duration("--duration", a.duration);
    if (!parsed) return tl::unexpected(parsed.error());
    duration_ns = *parsed;
  }
  if (a.burst == 0 || a.burst > Line::kMostBurst) {
    return fail(ExitCode::usage, "--burst {}: give 1 to {}", a.burst, Line::kMostBurst);
  }
  std::vector<PortRequest> requests;
  for (const std::string& text : a.ports) {
    const auto request = parse_port(text);
    if (!request) return tl::unexpected(request.error());
    requests.push_back(*request);
  }
  const auto cpus = parse_cpus(a.lcores);
  if (!cpus) return tl::unexpected(cpus.error());
  const auto threads = static_cast<uint32_t>(cpus->size());

  nic::DpdkOptions dpdk_options{.devices = {}, .eal = a.eal, .threads = threads};
  for (const PortRequest& request : requests) dpdk_options.devices.push_back(request.device);
  const auto dpdk = nic::Dpdk::start(dpdk_options);
  if (!dpdk) return tl::unexpected(dpdk.error());
  std::vector<std::unique_ptr<nic::Port>> ports;
  for (const PortRequest& request : requests) {
    auto port = (*dpdk)->open(request.device);
    if (!port) return tl::unexpected(port.error());
    ports.push_back(std::move(*port));
  }

  auto network = network_of(a, ports, threads);
  if (!network) return tl::unexpected(network.error());
  const std::unique_ptr<vm::Engine> engine = make_engine(a.engine, false);
  vm::Kernel kernel(*engine, {.possible_cpus = threads, .seed = a.seed, .network = *network});
  const auto interfaces = interfaces_of(requests, kernel.network());
  if (!interfaces) return tl::unexpected(interfaces.error());
  AttachRequest attach{
      .object = std::nullopt, .program = a.program, .attach = a.attach, .btf = a.btf};
  if (!a.object.empty()) attach.object = a.object;
  const auto attachments = attach_programs(kernel, attach);
  if (!attachments) return tl::unexpected(attachments.error());
  if (a.attach.empty()) attach_everywhere(*attachments, *interfaces);
  if (auto filled = fill_maps(*attachments, a.maps); !filled) {
    return tl::unexpected(filled.error());
  }

  auto profile = nic::load_profile("generic-100g", {fmt::format("host.cores={}", threads),
                                                    fmt::format("receive.queues={}", threads)});
  if (!profile) return tl::unexpected(profile.error());
  LineOptions options{.run = {.profile = *profile, .seed = a.seed, .mtu = a.mtu, .trace = {}},
                      .ports = {},
                      .cpus = *cpus,
                      .burst = a.burst,
                      .packets = a.packets == 0 ? UINT64_MAX : a.packets,
                      .hashes = sees_hashes(*attachments)};
  options.run.trace = [](std::string_view text) { fmt::print(stderr, "trace: {}\n", text); };
  options.run.network = &kernel.network();
  for (size_t i = 0; i < ports.size(); ++i) {
    options.ports.push_back({ports[i].get(), (*interfaces)[i]});
  }
  Report report;
  if (!(*dpdk)->note().empty()) report.warnings.push_back((*dpdk)->note());
  for (const auto& object : attachments->objects) {
    report.warnings.insert(report.warnings.end(), object->notes().begin(), object->notes().end());
  }

  const Interrupts interrupts;
  Line line(**dpdk, attachments->hooks, options);
  line.start();
  Watch watch(line);
  const bool terminal = isatty(STDERR_FILENO) != 0;
  constexpr uint64_t kSecond = 1'000'000'000;
  uint64_t next_ns = kSecond;
  while (line.running() && interrupted == 0 && line.elapsed_ns() < duration_ns) {
    std::this_thread::sleep_for(kGlance);
    if (line.elapsed_ns() < next_ns) continue;
    next_ns += kSecond;
    const Second second = watch.look();
    if (a.stats_json) {
      Json json = to_json(second.all(), second.seconds);
      json["at_ns"] = line.elapsed_ns();
      fmt::print("{}\n", json.dump());
      std::fflush(stdout);
    } else if (terminal) {
      fmt::print(stderr, "{}\n", to_line(second));
    }
  }
  if (auto stopped = line.stop(); !stopped) return tl::unexpected(stopped.error());

  const double seconds = static_cast<double>(line.elapsed_ns()) / kNanosecondsPerSecond;
  report.command = command;
  report.engine = std::string(engine->name());
  report.nic = "dpdk";
  report.timed = false;
  report.clock = "the machine's own clock";
  report.seed = a.seed;
  report.summary = line.summary();
  report.wall_seconds = seconds;
  for (size_t i = 0; i < ports.size(); ++i) {
    const nic::PortCounters counters = ports[i]->counters();
    report.captures.push_back({kernel.network().by_index((*interfaces)[i])->name,
                               "dpdk:" + requests[i].device, counters.received,
                               counters.received_bytes});
  }
  for (const InterfaceHooks::Entry& interface : attachments->hooks.all()) {
    for (const vm::Hook& hook : *interface.hooks) {
      for (const std::string& fault : hook.faults()) report.warnings.push_back("fault: " + fault);
    }
  }
  if (!a.dump_maps.empty()) {
    if (auto saved = dump_maps(*attachments, kernel, a.dump_maps); !saved) {
      return tl::unexpected(saved.error());
    }
  }
  for (const std::string& warning : report.warnings) fmt::print(stderr, "xnic: {}\n", warning);
  if (a.json) {
    Json json = to_json(report, *attachments);
    json["ports"] = Json::array();
    for (size_t i = 0; i < ports.size(); ++i) {
      json["ports"].push_back(to_json(*ports[i], report.captures[i].interface, requests[i].device));
    }
    json["lcores"] = Json::array();
    for (size_t i = 0; i < line.threads(); ++i) {
      Json one = to_json(line.count(i), seconds);
      one["cpu"] = (*cpus)[i];
      json["lcores"].push_back(std::move(one));
    }
    fmt::print("{}\n",
               json.dump(a.stats_json ? -1 : 2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", to_table(report, *attachments));
  }
  return ExitCode::done;
}

void describe(CLI::App& app, Arguments& a) {
  app.add_option("OBJECT", a.object,
                 "BPF object whose section names say where its programs attach, at every port");
  const auto list = [&](const char* name, std::vector<std::string>& to, const char* what,
                        const char* type) {
    return app.add_option(name, to, what)
        ->type_name(type)
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false);
  };
  list("--port", a.ports,
       "a DPDK port: PCI address, name, or virtual device (net_pcap0,rx_pcap=FILE; net_af_packet0,"
       "iface=NAME; ...); repeatable: nic0, nic1, ... in this order",
       "[INTERFACE=]dpdk:DEVICE")
      ->required();
  list("--attach", a.attach, "attach a program outright, as xnic run does (repeatable)",
       "[INTERFACE/]HOOK=OBJECT[:PROGRAM][,OPTION...]");
  app.add_option("--program", a.program, "pick one of OBJECT's programs")->type_name("NAME");
  add_btf(app, a.btf);
  list("--map", a.maps, "fill a map before the run, from bpftool map dump's JSON (repeatable)",
       "NAME=FILE.json");
  list("--net", a.networks,
       "interfaces, routes and neighbours, as xnic run takes them (repeatable)", "FILE");
  app.add_option("--lcores", a.lcores, "CPUs, each with a thread that runs packets; the last one")
      ->type_name("LIST");
  app.add_option("--duration", a.duration, "end after this time")->type_name("TIME");
  app.add_option("--packets", a.packets, "end after so many frames")
      ->type_name("N")
      ->check(unsigned_number());
  app.add_option("--burst", a.burst, "frames that a queue is asked for at a time")
      ->type_name("N")
      ->check(unsigned_number())
      ->capture_default_str();
  app.add_option("--mtu", a.mtu, "drop frames with more than N bytes behind the Ethernet header")
      ->type_name("N")
      ->check(unsigned_number());
  add_seed(app, a.seed);
  add_engine(app, a.engine);
  app.add_option("--dump-maps", a.dump_maps, "write all maps there at the end")
      ->type_name("FILE.json");
  app.add_flag("-j,--json", a.json, "print the report as JSON");
  app.add_flag("--stats-json", a.stats_json, "print a line of JSON every second");
  app.footer(
      "Words behind -- are options of DPDK's environment (EAL).\n"
      "Exit codes: 0 done, 2 usage, 3 program rejected, 4 bad input or a port that cannot be "
      "opened,\n5 fault at run time, 77 built without DPDK.");
}

}  // namespace

Result<ExitCode> line_command(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Runs XDP and tc programs on DPDK ports.", "xnic line");
  describe(app, arguments);
  // What stands behind -- is not ours.
  const auto end = std::find_if(argv, argv + argc,
                                [](const char* word) { return std::string_view(word) == "--"; });
  if (end != argv + argc) arguments.eal.assign(end + 1, argv + argc);
  const auto read = parse(app, static_cast<int>(end - argv), argv);
  if (!read) return tl::unexpected(read.error());
  if (!*read) return ExitCode::done;
  return run(arguments, fmt::format("xnic line {}", fmt::join(argv + 1, argv + argc, " ")));
}

}  // namespace xnic::sim

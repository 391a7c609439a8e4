// The command line of xnic line. Test: tests/sim/line_command_test.cpp.
#include "sim/commands/line_arguments.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "sim/commands/options.h"
#include "sim/line.h"

namespace xnic::sim {
namespace {

void describe(CLI::App& app, LineArguments& a) {
  app.add_option("OBJECT", a.object,
                 "BPF object whose section names say where its programs attach, at every port");
  const auto list = [&](const char* name, std::vector<std::string>& to, const char* what,
                        const char* type) {
    app.add_option(name, to, what)
        ->type_name(type)
        ->expected(1)
        ->take_all()
        ->allow_extra_args(false);
  };
  const auto word = [&](const char* name, std::string& to, const char* what, const char* type) {
    app.add_option(name, to, what)->type_name(type);
  };
  const auto number = [&](const char* name, auto& to, const char* what) {
    return app.add_option(name, to, what)->type_name("N")->check(unsigned_number());
  };
  list("--port", a.ports,
       "a port: dpdk:DEVICE by PCI address, name, or virtual device (net_pcap0,rx_pcap=FILE; "
       "net_af_packet0,iface=NAME; ...), or cable:NAME/0 and cable:NAME/1, the ends of a cable in "
       "this process. Repeatable: nic0, nic1, ... in this order",
       "[INTERFACE=]dpdk:DEVICE|cable:NAME/0|1");
  list("--attach", a.attach, "attach a program outright, as xnic run does (repeatable)",
       "[INTERFACE/]HOOK=OBJECT[:PROGRAM][,OPTION...]");
  word("--program", a.program, "pick one of OBJECT's programs", "NAME");
  add_btf(app, a.btf);
  list("--map", a.maps, "fill a map before the run, from bpftool map dump's JSON (repeatable)",
       "NAME=FILE.json");
  list("--net", a.networks,
       "interfaces, routes and neighbours, as xnic run takes them (repeatable)", "FILE");
  word("--lcores", a.lcores,
       "CPUs, such as 1 or 2-5,8, each with a thread that runs packets; without it the last one",
       "LIST");
  word("--duration", a.duration, "end after this time; of a trial, 1s", "TIME");
  number("--packets", a.packets, "end after so many frames");
  number("--burst", a.burst, "frames that a queue is asked for at a time")->capture_default_str();
  number("--mtu", a.mtu, "drop frames with more than N bytes behind the Ethernet header");
  app.add_flag("--strip-vlan", a.strip_vlan,
               "have devices take VLAN tags out of frames, for programs that ask "
               "bpf_xdp_metadata_rx_vlan_tag; without it tags stay where they are");
  add_seed(app, a.seed);
  add_engine(app, a.engine);
  word("--dump-maps", a.dump_maps, "write all maps there at the end", "FILE.json");
  app.add_flag("-j,--json", a.json, "print the report as JSON");
  app.add_flag("--stats-json", a.stats_json, "print a line of JSON every second");

  word("--control", a.control,
       "listen at this socket for xnic map and xnic prog, which read and write maps and replace "
       "programs while packets flow",
       "PATH");
  word("--listen", a.listen, "serve counters as text for Prometheus, at /metrics", "ADDRESS:PORT");

  const char* const kTraffic = "Traffic";
  const auto in_traffic = [&](const char* name) { app.get_option(name)->group(kTraffic); };
  word("--generate", a.generate,
       "send frames and take them back: those of a capture, imix, or of one length with FCS, 64 to "
       "1518; with --search also several lengths, or rfc2544 for those of its section 9.1",
       "CAPTURE|imix|LENGTH[,...]|rfc2544");
  word("--tx", a.tx, "the port to send at", "PORT");
  word("--rx", a.rx, "the port at which they come back", "PORT");
  word("--rate", a.rate,
       "how fast, in frames, bits on the wire, or of the link; as fast as it goes",
       "14.88Mpps|10Gbps|50%");
  word(
      "--search", a.search,
      "search the highest rate without loss (ndr), or with a share of --loss at most (pdr), as RFC "
      "2544 does",
      "ndr|pdr");
  word("--loss", a.loss, "what pdr allows, such as 0.1%", "SHARE");
  app.add_flag("--check", a.check,
               "hold what comes back against what the untimed replay of the same frames predicts");
  for (const char* name :
       {"--generate", "--tx", "--rx", "--rate", "--search", "--loss", "--check"}) {
    in_traffic(name);
  }
  app.footer(
      "Words behind -- are options of DPDK's environment (EAL).\n"
      "Exit codes: 0 done, 1 --check found differences, 2 usage, 3 program rejected, 4 bad input "
      "or "
      "a\nport that cannot be opened, 5 fault at run time, 77 built without DPDK.");
}

Result<void> check(const LineArguments& a) {
  if (a.burst == 0 || a.burst > Line::kMostBurst) {
    return fail(ExitCode::usage, "--burst {}: give 1 to {}", a.burst, Line::kMostBurst);
  }
  if (a.generate.empty()) {
    if (!a.tx.empty() || !a.rx.empty() || !a.rate.empty() || !a.search.empty() || a.check) {
      return fail(ExitCode::usage,
                  "--tx, --rx, --rate, --search and --check go with --generate: say what to send");
    }
    if (a.ports.empty()) return fail(ExitCode::usage, "no --port: say where packets come in");
  } else if (a.tx.empty() || a.rx.empty()) {
    return fail(ExitCode::usage, "--generate needs --tx PORT and --rx PORT, which may be one port");
  }
  for (const std::string& port : a.ports) {
    if (a.tx.empty() || (!port.ends_with(a.tx) && !port.ends_with(a.rx))) continue;
    return fail(ExitCode::usage,
                "--port {}: is one of --tx and --rx, too; what the programs run on is another end",
                port);
  }
  if (!a.search.empty() && a.search != "ndr" && a.search != "pdr") {
    return fail(ExitCode::usage, "--search {}: there are ndr and pdr", a.search);
  }
  if ((a.search == "pdr") != !a.loss.empty()) {
    return fail(ExitCode::usage, "--loss SHARE goes with --search pdr, and pdr needs it");
  }
  if (!a.search.empty() && a.check) {
    return fail(ExitCode::usage, "--check and --search exclude each other");
  }
  if (!a.ports.empty() && !a.runs_programs()) {
    return fail(ExitCode::usage, "--port {}: name an OBJECT or --attach a program to run there",
                a.ports.front());
  }
  if (!a.runs_programs() && (!a.control.empty() || !a.listen.empty())) {
    return fail(ExitCode::usage, "--control and --listen go with programs: name an OBJECT");
  }
  if (a.ports.empty() && a.runs_programs()) {
    return fail(ExitCode::usage, "programs need a --port where packets come in");
  }
  if (a.check && !a.runs_programs()) {
    return fail(ExitCode::usage, "--check needs the program that the frames pass: OBJECT");
  }
  return {};
}

}  // namespace

Result<bool> parse_line_arguments(int argc, char** argv, LineArguments& a) {
  CLI::App app("Runs XDP and tc programs on DPDK ports, and measures them with traffic of its own.",
               "xnic line");
  describe(app, a);
  // What stands behind -- is not ours.
  char** const end = std::find_if(argv, argv + argc,
                                  [](const char* one) { return std::string_view(one) == "--"; });
  if (end != argv + argc) a.eal.assign(end + 1, argv + argc);
  const auto read = parse(app, static_cast<int>(end - argv), argv);
  if (!read || !*read) return read;
  if (auto checked = check(a); !checked) return tl::unexpected(checked.error());
  return true;
}

Result<std::vector<int>> parse_cpus(const std::string& list) {
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);
  std::vector<int> cpus;
  if (list.empty()) {
    // The first has most of the machine's own work.
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
      if (CPU_ISSET(cpu, &own)) return std::vector{cpu};
    }
  }
  const auto bad = [&] {
    return fail(ExitCode::usage, "--lcores {}: list CPUs of this process, such as 1 or 2-5,8",
                list);
  };
  const char* const end = list.data() + list.size();
  for (const char* at = list.data();; ++at) {
    int first = -1;
    auto read = std::from_chars(at, end, first);
    int last = first;
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
    }
    if (read.ec != std::errc() || first < 0 || last < first || last >= CPU_SETSIZE) return bad();
    for (int cpu = first; cpu <= last; ++cpu) {
      if (!CPU_ISSET(cpu, &own) || std::ranges::find(cpus, cpu) != cpus.end()) return bad();
      cpus.push_back(cpu);
    }
    at = read.ptr;
    if (at == end) return cpus;
    if (*at != ',') return bad();
  }
}

int another_cpu(const std::vector<int>& cpus) {
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &own) && std::ranges::find(cpus, cpu) == cpus.end()) return cpu;
  }
  return -1;
}

}  // namespace xnic::sim

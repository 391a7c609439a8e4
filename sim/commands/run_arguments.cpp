// The command line of xnic run.
// Test: tests/sim/run_command_test.cpp, tests/sim/command_malformed_test.cpp.
#include "sim/commands/run_arguments.h"

#include "sim/commands/options.h"

namespace xnic::sim {
namespace {

void describe(CLI::App& app, RunArguments& a) {
  app.add_option("OBJECT", a.words,
                 "BPF object whose section names say where its programs attach; words that follow "
                 "are a tcpdump filter")
      ->type_name("[FILTER...]")
      ->expected(-1);
  app.add_option("-r,--read", a.captures,
                 "capture to replay, pcap or pcapng; - is standard input. Repeatable, with the "
                 "interface at which each comes in; they are merged by time")
      ->type_name("[INTERFACE=]CAPTURE")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false)
      ->required();
  app.add_option("--attach", a.attach,
                 "attach a program outright (repeatable); hooks: xdp.offload, xdp.native, "
                 "xdp.generic, tc.ingress, tc.egress; options, of tc: classifier, "
                 "classid=MAJOR:MINOR, action=ok|drop|pipe|continue|trap")
      ->type_name("[INTERFACE/]HOOK=OBJECT[:PROGRAM][,OPTION...]")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--program", a.program, "pick one of OBJECT's programs")->type_name("NAME");
  add_btf(app, a.btf);
  app.add_option("--map", a.maps,
                 "fill a map before the run, from bpftool map dump's JSON (repeatable)")
      ->type_name("NAME=FILE.json")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--net", a.networks,
                 "interfaces, routes and neighbours, from TOML or from what ip -j prints "
                 "(repeatable)")
      ->type_name("FILE")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--write", a.writes, "write what leaves an interface there (repeatable)")
      ->type_name("INTERFACE=FILE.pcap")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--xsk", a.sockets,
                 "put a socket into a place of an xskmap, or into all, and write what it receives "
                 "(repeatable)")
      ->type_name("MAP[:KEY]=FILE.pcap")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--nic", a.nic, "NIC profile, by name or TOML file")
      ->type_name("PROFILE|FILE")
      ->capture_default_str();
  add_set(app, a.changes);
  app.add_flag("--untimed", a.untimed,
               "no timing model: the capture's timestamps are the clock; same hooks, same meaning");
  app.add_option("--threads", a.threads,
                 "with --untimed: run programs on N threads, packets spread by their RSS queue's "
                 "CPU; same results if programs keep state by flow or by CPU")
      ->type_name("N")
      ->check(unsigned_number());
  app.add_option("--accuracy", a.accuracy,
                 "of the timing model: exact gives every packet events of its own, fast moves "
                 "packets in bursts where nothing has to be decided between them")
      ->check(CLI::IsMember({"exact", "fast"}))
      ->capture_default_str();
  app.add_option("--rate", a.rate,
                 "send at this pace, all captures together, and let drops be real")
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
  add_seed(app, a.seed);
  add_engine(app, a.engine);
  app.add_option("--bpffs", a.bpffs,
                 "keep pinned maps and their contents there from one run to the next")
      ->type_name("DIR");
  app.add_option("-o,--output", a.output,
                 "write verdicts.pcapng, packets.ndjson and report.json there")
      ->type_name("DIR");
  app.add_option("--trace", a.trace,
                 "write what each part of the model did there, packet by packet, for "
                 "ui.perfetto.dev")
      ->type_name("FILE");
  app.add_option("--wave", a.wave,
                 "write how full and how busy the parts of the model were in this window of "
                 "simulated time, as a VCD file")
      ->type_name("START:END=FILE.vcd");
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

}  // namespace

Result<bool> parse_run_arguments(int argc, char** argv, RunArguments& arguments) {
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
  return parse(app, static_cast<int>(joined.size()), joined.data());
}

}  // namespace xnic::sim

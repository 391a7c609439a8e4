// One meaning, many clocks: with and without the timing model, interpreted and compiled, the same
// packets get the same verdicts and bytes. verdicts.pcapng holds both, so the whole file is
// compared; packets.ndjson differs between clocks only in its times. Programs that show the clock
// or random numbers are left out: they may differ.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string name;
  Words words;  // without capture and clock
};
void PrintTo(const Case& row, std::ostream* out) { *out << row.name; }

// Every program of an object at a hook that takes it.
void add(std::vector<Case>& cases, const std::string& hook, const std::string& object,
         const Words& programs) {
  for (const std::string& program : programs) {
    cases.push_back({program + "_of_" + fs::path(object).stem().string(),
                     {"run", "--attach", hook + "=" + object + ":" + program}});
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const Words both = firewall_and_mark("");
  all.push_back({"firewall_and_mark", Words(both.begin(), both.end() - 2)});
  const auto native = [&](const std::string& object, const Words& programs) {
    add(all, "xdp.native", test_object(object), programs);
  };
  const auto ingress = [&](const std::string& object, const Words& programs) {
    add(all, "tc.ingress", test_object(object), programs);
  };
  native("adjust_head.o", {"adjust_by_first_byte", "push_header", "pull_header"});
  native("adjust_meta.o",
         {"meta_by_first_byte", "write_and_read_meta", "meta_survives_adjust_head"});
  native("adjust_tail.o", {"tail_by_first_word", "shrink_then_grow"});
  native("atomics.o", {"atomics"});
  native("cpu_v4.o", {"signed_arithmetic", "sign_extension", "byte_swaps", "long_jump"});
  native("map_kinds.o",
         {"use_array", "use_percpu_array", "use_hash", "use_percpu_hash", "use_lpm_trie"});
  native("misc_helpers.o", {"call_and_discard", "print", "xdp_redirect_by_first_byte"});
  native("return_codes.o", {"xdp_return_first_word", "xdp_return_first_byte"});
  native("subprograms.o", {"call_functions"});
  native("tail_call.o", {"dispatch", "leaf_drop", "leaf_tx", "chain", "dispatch_from_function"});
  native("xdp_fields.o", {"read_fields"});
  ingress("misc_helpers.o", {"tc_redirect_by_first_byte"});
  ingress("return_codes.o", {"tc_return_first_byte", "tc_return_unspecified"});
  ingress("tc_fields.o", {"read_fields", "write_fields", "read_narrow"});
  ingress("tc_write.o", {"swap_addresses", "sum_words"});
  all.push_back({"globals", {"run", test_object("global_data.o")}});
  all.push_back(
      {"firewall_offloaded", {"run", "--attach", "xdp.offload=" + example("firewall.o")}});
  all.push_back({"firewall_generic", {"run", "--attach", "xdp.generic=" + example("firewall.o")}});
  for (const std::string& object : xdp_filter_objects()) {
    all.push_back({fs::path(object).stem().string(), {"run", object}});
  }
  return all;
}

// Maps of xdp-filter, filled from addresses and ports that the capture holds: every second one,
// with all of its flags, so that rules are met and missed.
Words filter_maps(const traces::TemporaryFolder& folder, const std::string& object,
                  const std::string& path) {
  struct Map {
    std::string name, needs, field;  // the objects whose name holds `needs` have it
  };
  static const std::vector<Map> kMaps = {{"filter_ports", "tcp|udp|all", "tcp.dstport"},
                                         {"filter_ipv4", "ip|all", "ip.src"},
                                         {"filter_ethernet", "eth|all", "eth.src"}};
  const unsigned cpus = 4;  // cores of the host in generic-100g
  Words words;
  for (const Map& map : kMaps) {
    if (!std::regex_search(fs::path(object).stem().string(), std::regex("_(" + map.needs + ")$"))) {
      continue;
    }
    std::set<std::string> seen;
    for (const std::string& line :
         traces::lines_of("tshark -r '" + path + "' -T fields -e " + map.field + " 2>/dev/null")) {
      if (!line.empty() && line.find(',') == std::string::npos) seen.insert(line);
    }
    json entries = json::array();
    bool wanted = true;
    for (const std::string& text : seen) {
      if (wanted) {
        json key = json::array();
        if (map.field == "tcp.dstport") {
          const unsigned port = static_cast<unsigned>(std::stoul(text));
          key = {port >> 8, port & 255, 0, 0};  // xdp-filter keeps ports in network order
        } else {
          const bool ip = map.field == "ip.src";
          std::string rest = text;
          for (size_t used = 0; !rest.empty(); rest.erase(0, std::min(used + 1, rest.size()))) {
            key.push_back(std::stoul(rest, &used, ip ? 10 : 16));
          }
        }
        json values = json::array();
        for (unsigned cpu = 0; cpu < cpus; ++cpu) {
          values.push_back({{"cpu", cpu}, {"value", 0x3f}});
        }
        // In bpftool's words for the types that these keys have in BTF.
        if (map.field == "tcp.dstport") key = key[0].get<unsigned>() | key[1].get<unsigned>() << 8;
        if (map.field == "ip.src") {
          unsigned word = 0;
          for (size_t i = 0; i < 4; ++i) word |= key[i].get<unsigned>() << (8 * i);
          key = word;
        }
        if (map.field == "eth.src") key = {{"addr", key}};
        entries.push_back({{"key", key}, {"values", values}});
      }
      wanted = !wanted;
    }
    const std::string text = entries.dump();
    words = words +
            Words{"--map",
                  map.name + "=" + folder.write(map.name + ".json", {text.begin(), text.end()})};
  }
  return words;
}

struct Files {
  std::string verdicts;
  std::string packets;
};

Files run(const Words& words, const std::string& out) {
  const Ran ran = xnic(words + Words{"-o", out});
  EXPECT_EQ(ran.code, 0) << ran.err << testing::PrintToString(words);
  if (ran.code != 0) return {};
  return {text_of(out + "/verdicts.pcapng"), text_of(out + "/packets.ndjson")};
}

std::string without_times(const std::string& packets) {
  return std::regex_replace(packets, std::regex("\"sim_ns\":[0-9]+"), "");
}

class Agreement : public testing::TestWithParam<Case> {};

TEST_P(Agreement, TimedUntimedInterpretedAndCompiledRunsLeaveTheSameFiles) {
  const traces::TemporaryFolder folder;
  for (const std::string& path : traces::shipped_captures()) {
    SCOPED_TRACE(path);
    Words words = GetParam().words + Words{"-r", path};
    const std::string& object = GetParam().words.back();
    if (GetParam().name.starts_with("xdpfilt_")) words = words + filter_maps(folder, object, path);
    const Files timed = run(words, folder / "a");
    ASSERT_FALSE(timed.verdicts.empty());
    const Files again = run(words, folder / "b");
    const Files interpreted = run(words + Words{"--engine", "interpreter"}, folder / "c");
    const Files untimed = run(words + Words{"--untimed"}, folder / "d");
    EXPECT_TRUE(again.verdicts == timed.verdicts && again.packets == timed.packets)
        << "two runs of the same differ";
    EXPECT_TRUE(interpreted.verdicts == timed.verdicts && interpreted.packets == timed.packets)
        << "the engines differ";
    EXPECT_TRUE(untimed.verdicts == timed.verdicts) << "the clocks differ in verdicts or bytes";
    EXPECT_EQ(without_times(untimed.packets), without_times(timed.packets));
  }
}

INSTANTIATE_TEST_SUITE_P(Programs, Agreement, testing::ValuesIn(cases()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace xnic::command

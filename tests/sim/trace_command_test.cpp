// What --trace and --wave write, read by readers of this test's own: a walk over protobuf's wire
// format, and one over value changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;

struct Field {
  uint32_t number;
  uint64_t value;    // of varints and fixed64
  std::string text;  // of what has a length
};

// The fields of a protobuf message; nothing if it is none.
std::optional<std::vector<Field>> fields_of(const std::string& message) {
  std::vector<Field> fields;
  size_t at = 0;
  const auto varint = [&]() -> std::optional<uint64_t> {
    uint64_t value = 0;
    for (int shift = 0; at < message.size() && shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(message[at++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  };
  while (at < message.size()) {
    const auto tag = varint();
    if (!tag) return std::nullopt;
    Field field{static_cast<uint32_t>(*tag >> 3), 0, {}};
    switch (*tag & 7) {
      case 0: {
        const auto value = varint();
        if (!value) return std::nullopt;
        field.value = *value;
        break;
      }
      case 1:
        if (at + 8 > message.size()) return std::nullopt;
        std::memcpy(&field.value, &message[at], 8);
        at += 8;
        break;
      case 2: {
        const auto length = varint();
        if (!length || at + *length > message.size()) return std::nullopt;
        field.text = message.substr(at, *length);
        at += *length;
        break;
      }
      default:
        return std::nullopt;
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

const Field* find(const std::vector<Field>& fields, uint32_t number) {
  for (const Field& field : fields) {
    if (field.number == number) return &field;
  }
  return nullptr;
}

// What a viewer would make of the trace.
struct Trace {
  struct Slice {
    uint64_t begin, end, packet;
    std::string name;
  };
  std::map<std::string, std::vector<Slice>> slices;                            // by track
  std::map<std::string, std::vector<std::pair<uint64_t, uint64_t>>> counters;  // time and value
  std::map<uint64_t, int> flow_ends;                                           // by packet
  std::set<uint64_t> packets;
};

// Numbers of fields from perfetto's trace_packet.proto, track_event.proto, track_descriptor.proto.
Trace read_trace(const std::string& path) {
  Trace trace;
  std::map<uint64_t, std::string> names;
  std::map<uint64_t, Trace::Slice> open;
  uint64_t last = 0;
  const auto packets = fields_of(text_of(path));
  EXPECT_TRUE(packets);
  for (const Field& packet : packets.value_or(std::vector<Field>())) {
    EXPECT_EQ(packet.number, 1u);
    const auto fields = fields_of(packet.text).value_or(std::vector<Field>());
    if (const Field* descriptor = find(fields, 60)) {
      const auto said = fields_of(descriptor->text).value_or(std::vector<Field>());
      names[find(said, 1)->value] = find(said, 2)->text;
      continue;
    }
    const uint64_t time = find(fields, 8)->value;
    EXPECT_GE(time, last);
    EXPECT_NE(find(fields, 10), nullptr);
    last = time;
    const auto event = fields_of(find(fields, 11)->text).value_or(std::vector<Field>());
    const uint64_t track = find(event, 11)->value;
    EXPECT_TRUE(names.contains(track));
    switch (find(event, 9)->value) {
      case 1: {
        EXPECT_FALSE(open.contains(track)) << "two packets at once in " << names[track];
        const Field* flow = find(event, 47);
        const Field* last_of_flow = find(event, 48);
        const uint64_t id = (flow != nullptr ? flow : last_of_flow)->value;
        trace.flow_ends[id] += last_of_flow != nullptr ? 1 : 0;
        trace.packets.insert(id);
        open[track] = {time, 0, id, find(event, 23)->text};
        break;
      }
      case 2: {
        EXPECT_TRUE(open.contains(track));
        Trace::Slice slice = open[track];
        slice.end = time;
        trace.slices[names[track]].push_back(slice);
        open.erase(track);
        break;
      }
      case 4:
        trace.counters[names[track]].emplace_back(time, find(event, 30)->value);
        break;
      default:
        ADD_FAILURE() << "an event of unknown type";
    }
  }
  EXPECT_TRUE(open.empty());
  return trace;
}

// Runs over the mixed capture as fast as the wire; gives the report.
json run(const Words& more) {
  const Ran ran =
      xnic(Words{"run", example("firewall.o"), "-r", capture("mixed.pcapng"), "--rate", "100%",
                 "--set", "ring.descriptors=16", "--set", "receive.queues=2", "-j"} +
           more);
  EXPECT_EQ(ran.code, 0) << ran.err;
  return json::parse(ran.out);
}

double busy_ns(const json& report, const std::string& name) {
  for (const json& resource : report["resources"]) {
    if (resource["name"] == name) return resource["busy_ps"].get<double>() / 1000;
  }
  ADD_FAILURE() << name;
  return 0;
}

TEST(TraceCommand, EachPacketIsOneFlowThroughTheServersThatItCameTo) {
  const traces::TemporaryFolder folder;
  const std::string path = folder / "run.pftrace";
  const json report = run({"--trace", path});
  const Trace trace = read_trace(path);
  EXPECT_EQ(trace.packets.size(), report["packets"].get<size_t>());
  for (const auto& [packet, ends] : trace.flow_ends) EXPECT_EQ(ends, 1) << packet;
  // Frames on the wire, gaps behind them left out.
  EXPECT_EQ(trace.slices.at("port 0 rx").size(), report["packets"].get<size_t>());
  std::map<std::string, uint64_t> ends;
  for (const Trace::Slice& slice : trace.slices.at("port 0 rx")) ++ends[slice.name];
  EXPECT_EQ(ends["delivered"], report["delivered"].get<uint64_t>());
  for (const auto& [reason, count] : report["drops"].items()) EXPECT_EQ(ends[reason], count);
  uint64_t on_cpus = 0;
  for (const auto& [name, slices] : trace.slices)
    on_cpus += name.starts_with("cpu") ? slices.size() : 0;
  EXPECT_EQ(on_cpus, report["packets"].get<uint64_t>() - ends["no_descriptor"]);
  EXPECT_GT(ends["no_descriptor"], 0u);
}

TEST(TraceCommand, CountersOfRingsStayWithinThemAndEndEmpty) {
  const traces::TemporaryFolder folder;
  const std::string path = folder / "run.pftrace";
  run({"--trace", path});
  const Trace trace = read_trace(path);
  for (const char* ring : {"ring 0", "ring 1"}) {
    const auto& values = trace.counters.at(ring);
    uint64_t most = 0;
    for (const auto& [time, value] : values) most = std::max(most, value);
    EXPECT_EQ(most, 16u) << ring;
    EXPECT_EQ(values.back().second, 0u) << ring;
  }
}

TEST(TraceCommand, TheSameRunLeavesTheSameBytesAndTracingChangesNothing) {
  const traces::TemporaryFolder folder;
  const auto without_wall = [](json report) {
    for (const char* differs : {"command", "wall_seconds", "packets_per_wall_second"}) {
      report.erase(differs);
    }
    return report;
  };
  const json plain = without_wall(run({}));
  EXPECT_EQ(without_wall(run({"--trace", folder / "a", "--wave", "0:1ms=" + (folder / "a.vcd")})),
            plain);
  EXPECT_EQ(without_wall(run({"--trace", folder / "b", "--wave", "0:1ms=" + (folder / "b.vcd")})),
            plain);
  EXPECT_TRUE(text_of(folder / "a") == text_of(folder / "b"));
  EXPECT_TRUE(text_of(folder / "a.vcd") == text_of(folder / "b.vcd"));
}

// Values by name and time.
std::map<std::string, std::map<uint64_t, uint64_t>> read_wave(const std::string& path) {
  std::ifstream file(path);
  std::map<std::string, std::string> names;
  std::map<std::string, std::map<uint64_t, uint64_t>> values;
  std::string word;
  uint64_t time = 0;
  bool timed = false;
  while (file >> word) {
    if (word == "$timescale") {
      std::string unit;
      file >> unit;
      EXPECT_EQ(unit, "1ps");
    } else if (word == "$var") {
      std::string type, width, code, name;
      file >> type >> width >> code >> name;
      names[code] = name;
    } else if (word[0] == '#') {
      const uint64_t now = std::stoull(word.substr(1));
      EXPECT_TRUE(!timed || now > time);
      time = now;
      timed = true;
    } else if (word[0] == 'b') {
      std::string code;
      file >> code;
      EXPECT_TRUE(names.contains(code));
      values[names[code]][time] = std::stoull(word.substr(1), nullptr, 2);
    }
  }
  return values;
}

double busy_in(const std::map<uint64_t, uint64_t>& values, uint64_t end_ps) {
  double busy = 0;
  for (auto one = values.begin(); one != values.end(); ++one) {
    const auto next = std::next(one);
    const uint64_t until = next == values.end() ? end_ps : next->first;
    busy += static_cast<double>(one->second) * static_cast<double>(until - one->first);
  }
  return busy / 1000;
}

TEST(TraceCommand, AWaveOfTheWholeRunShowsHowLongEachPartWorked) {
  const traces::TemporaryFolder folder;
  const json report = run({"--wave", "0:1s=" + (folder / "run.vcd")});
  const auto values = read_wave(folder / "run.vcd");
  constexpr uint64_t kEnd = 1'000'000'000'000;
  // The report counts the gap behind a frame as work of the port, and completions as that of PCIe.
  const double gaps = report["packets"].get<double>() * 12 * 8 / 100;
  EXPECT_NEAR(busy_in(values.at("port_0_rx"), kEnd), busy_ns(report, "port 0 rx") - gaps, 10);
  double polled = 0;
  for (const char* cpu : {"cpu_0", "cpu_1"}) polled += busy_in(values.at(cpu), kEnd);
  // Polls take time besides their packets.
  const double worked = busy_ns(report, "cpu 0") + busy_ns(report, "cpu 1");
  EXPECT_LT(polled, worked);
  EXPECT_GT(polled, worked / 2);
}

TEST(TraceCommand, AWindowShowsWhatTheWholeShowsThere) {
  const traces::TemporaryFolder folder;
  run({"--wave", "0:1s=" + (folder / "whole.vcd")});
  run({"--wave", "2us:5us=" + (folder / "part.vcd")});
  const auto whole = read_wave(folder / "whole.vcd");
  const auto part = read_wave(folder / "part.vcd");
  EXPECT_EQ(whole.size(), part.size());
  for (const auto& [name, values] : part) {
    EXPECT_EQ(values.begin()->first, 2'000'000u) << name;
    for (const auto& [time, value] : values) {
      EXPECT_LT(time, 5'000'000u) << name;
      EXPECT_EQ(std::prev(whole.at(name).upper_bound(time))->second, value)
          << name << " at " << time;
    }
  }
}

TEST(TraceCommand, SaysInOneSentenceWhatItDoesNotTake) {
  const auto said = [](const Words& more) {
    const Ran ran = xnic(Words{"run", example("firewall.o"), "-r", capture("ping.pcap")} + more);
    EXPECT_EQ(ran.code, 2);
    return ran.err;
  };
  EXPECT_THAT(said({"--wave", "1us"}), HasSubstr("--wave 1us: write it as START:END=FILE.vcd"));
  EXPECT_THAT(said({"--wave", "2us:1us=a.vcd"}), HasSubstr("the window must end after it starts"));
  EXPECT_THAT(said({"--wave", "x:1us=a.vcd"}), HasSubstr("--wave x: give a time such as"));
  EXPECT_THAT(said({"--untimed", "--trace", "a"}), HasSubstr("--trace and --untimed exclude"));
  EXPECT_THAT(said({"--untimed", "--accuracy", "exact"}),
              HasSubstr("--accuracy exact and --untimed exclude"));
  EXPECT_THAT(said({"--accuracy", "best"}), HasSubstr("--accuracy"));
}

}  // namespace
}  // namespace xnic::command

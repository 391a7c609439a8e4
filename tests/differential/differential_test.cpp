// The Linux kernel is the oracle: the same objects, maps and packets run here, with each engine,
// and in the running kernel, through BPF_PROG_TEST_RUN. Each packet must give the same errno, r0,
// bytes and context, each capture must leave the same maps,
// which grow from one capture to the next. Left out: per-CPU values of CPUs other
// than 0, to which the test is pinned.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>

#include "jit/jit_engine.h"
#include "sim/comparison.h"
#include "sim/kernel_side.h"
#include "tests/differential/preload.h"
#include "traces/reader.h"
#include "vm/helper.h"
#include "vm/interpreter.h"

namespace xnic::test {
namespace {

using sim::Bytes;
using sim::KernelSide;
using sim::MapContents;
using sim::PinnedToCpu0;
using sim::RunRequest;
using sim::SideMap;
using sim::SideProgram;

namespace fs = std::filesystem;

constexpr uint32_t kChecksumComplete = 1u << 2;  // BPF_F_TEST_SKB_CHECKSUM_COMPLETE

std::vector<std::string> files_in(const fs::path& folder, std::string_view prefix,
                                  std::string_view suffix) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> captures() {
  auto found = files_in(XNIC_CAPTURES, "", ".pcap");
  std::erase_if(found, [](const std::string& path) { return path.ends_with(".pcapng"); });
  return found;
}

// All of xdp-tools and libxdp that hold XDP programs; xdpdump_bpf.o traces those of others.
std::vector<std::string> xdp_tools_objects() {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/usr/lib", error)) {
    const auto here = files_in(entry.path() / "bpf", "x", ".o");
    found.insert(found.end(), here.begin(), here.end());
  }
  const bool redirects = vm::find_helper(BPF_FUNC_redirect_map, vm::kXdp) != nullptr;
  std::erase_if(found, [&](const std::string& path) {
    const std::string name = fs::path(path).filename().string();
    return name == "xdpdump_bpf.o" || (!redirects && name.starts_with("xsk_def_"));
  });
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<Bytes> read_capture(const std::string& path) {
  auto reader = traces::Reader::open(path, "");
  EXPECT_TRUE(reader.has_value()) << path;
  std::vector<Bytes> packets;
  traces::Record record;
  while (reader) {
    const auto more = (*reader)->next(record);
    EXPECT_TRUE(more.has_value()) << path;
    if (!more || !*more) break;
    packets.emplace_back(record.bytes.begin(), record.bytes.end());
  }
  return packets;
}

// What captures of real traffic do not hold: all lengths at the limits, and first bytes that drive
// the programs of tests/bpf through their whole range.
std::vector<Bytes> odd_packets() {
  std::vector<Bytes> packets;
  for (const size_t size : {0,    1,    13,   14,   15,   20,   21,   33,    34,   35,   53,
                            54,   60,   64,   128,  1514, 3519, 3520, 3521,  3648, 3649, 3712,
                            3713, 3776, 3777, 4096, 7616, 7617, 9000, 65535, 65536}) {
    for (const int ethertype : {0x0800, 0x86dd, 0x0026}) {
      Bytes packet(size);
      for (size_t i = 0; i < size; ++i) packet[i] = static_cast<uint8_t>(i * 37 + size);
      if (size >= 14) {
        packet[12] = static_cast<uint8_t>(ethertype >> 8);
        packet[13] = static_cast<uint8_t>(ethertype);
      }
      packets.push_back(packet);
    }
  }
  for (int i = 0; i < 256; ++i) {
    Bytes packet(64 + static_cast<size_t>(i % 5) * 100);
    for (size_t at = 0; at < packet.size(); ++at)
      packet[at] = static_cast<uint8_t>(at * 11 + static_cast<size_t>(i) * 7);
    packet[0] = static_cast<uint8_t>(i);
    packet[1] = static_cast<uint8_t>(i % 3 == 0 ? 0 : i * 5);
    packet[5] = static_cast<uint8_t>(i % 16);
    packet[11] = static_cast<uint8_t>(i);
    packet[12] = 8;
    packet[13] = 0;
    packets.push_back(packet);
  }
  return packets;
}

// Every second tc packet brings a context of its own, every fourth its checksum, which the program
// has to keep right or lose its answer.
RunRequest request_of(const Bytes& packet, bpf_prog_type type, size_t number) {
  RunRequest request = sim::request_for(packet, type);
  if (type == BPF_PROG_TYPE_SCHED_CLS && number % 2 == 1) {
    __sk_buff context{};
    context.mark = static_cast<uint32_t>(number);
    context.priority = 7;
    context.ingress_ifindex = 3;
    context.cb[0] = 0xabcdef;
    context.tstamp = 1'000'000 + number;
    const auto* bytes = reinterpret_cast<const uint8_t*>(&context);
    request.context.assign(bytes, bytes + sizeof context);
  }
  if (type == BPF_PROG_TYPE_SCHED_CLS && number % 4 == 2) request.flags = kChecksumComplete;
  return request;
}

std::string hex(const Bytes& bytes) {
  return fmt::format(
      "{:02x}",
      fmt::join(bytes.begin(),
                bytes.begin() + static_cast<ptrdiff_t>(std::min<size_t>(bytes.size(), 64)), ""));
}

struct Traffic {
  std::string name;
  std::vector<Bytes> packets;
};

class Comparison {
 public:
  Comparison(std::string object, vm::Engine& engine)
      : object_(std::move(object)), engine_(engine) {}

  // Large maps take long to read: they are compared after the last traffic alone, and so the sides
  // live on from one to the next.
  void run(const Traffic& traffic, bool last) {
    if (!ours_) {
      auto ours = KernelSide::emulated(object_, engine_, 1);
      ASSERT_TRUE(ours) << ours.error().message;
      auto theirs = KernelSide::real(object_);
      ASSERT_TRUE(theirs) << theirs.error().message;
      ours_ = std::move(*ours);
      theirs_ = std::move(*theirs);
    }
    KernelSide& ours = *ours_;
    KernelSide& theirs = *theirs_;
    ASSERT_EQ(ours.programs().size(), theirs.programs().size());
    ASSERT_EQ(ours.maps().size(), theirs.maps().size());
    preload(ours, traffic.packets);
    preload(theirs, traffic.packets);
    int differences = 0;
    for (size_t p = 0; p < theirs.programs().size(); ++p) {
      const SideProgram& program = theirs.programs()[p];
      for (size_t i = 0; i < traffic.packets.size(); ++i) {
        const RunRequest request = request_of(traffic.packets[i], program.type, i);
        const auto found =
            sim::differences(ours.run(ours.programs()[p], request), theirs.run(program, request));
        if (found.empty()) continue;
        ADD_FAILURE() << object_ << ", program " << program.name << ", " << engine_.name() << ", "
                      << traffic.name << ", packet " << i + 1 << " of " << traffic.packets[i].size()
                      << " bytes: " << found[0].field << ": xnic " << found[0].ours << ", Linux "
                      << found[0].kernel;
        if (++differences == 5) return;  // the rest follows from these
      }
    }
    for (size_t m = 0; m < theirs.maps().size(); ++m) {
      if (theirs.maps()[m].max_entries > kLargeMap && !last) continue;
      compare_maps(ours, ours.maps()[m], theirs, theirs.maps()[m], traffic.name);
    }
  }

 private:
  void compare_maps(KernelSide& ours, const SideMap& our_map, KernelSide& theirs,
                    const SideMap& map, const std::string& traffic) {
    const MapContents our_entries = ours.contents(our_map).value_or(MapContents{});
    const MapContents entries = sim::without_list_heads(
        theirs.contents(map).value_or(MapContents{}), *ours.emulated_map(our_map));
    const std::string where =
        fmt::format("{}, {}, after {}, map {}", object_, engine_.name(), traffic, map.name);
    for (const auto& [key, value] : entries) {
      const auto found = our_entries.find(key);
      if (found == our_entries.end()) {
        ADD_FAILURE() << where << ": xnic has no key " << hex(key);
      } else if (found->second != value) {
        ADD_FAILURE() << where << ", key " << hex(key) << ": xnic " << hex(found->second)
                      << ", Linux " << hex(value);
      }
    }
    EXPECT_EQ(our_entries.size(), entries.size()) << where;
  }

  static constexpr uint32_t kLargeMap = 20000;

  std::string object_;
  vm::Engine& engine_;
  std::unique_ptr<KernelSide> ours_;
  std::unique_ptr<KernelSide> theirs_;
};

enum class EngineKind { interpreter, jit };
void PrintTo(EngineKind kind, std::ostream* out) {
  *out << (kind == EngineKind::jit ? "jit" : "interpreter");
}

class Differential : public testing::TestWithParam<std::tuple<std::string, EngineKind>> {
 protected:
  void SetUp() override {
    if (const std::string why = sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(Differential, DoesWithEveryPacketWhatLinuxDoes) {
  const PinnedToCpu0 pinned;
  const auto& [object, kind] = GetParam();
  vm::Interpreter interpreter;
  jit::JitEngine jit;
  vm::Engine& engine = kind == EngineKind::jit ? static_cast<vm::Engine&>(jit)
                                               : static_cast<vm::Engine&>(interpreter);
  Comparison comparison(object, engine);
  comparison.run({"odd packets", odd_packets()}, false);
  if (HasFatalFailure()) return;
  const auto paths = captures();
  ASSERT_FALSE(paths.empty());
  for (const std::string& path : paths) {
    comparison.run({fs::path(path).filename().string(), read_capture(path)}, path == paths.back());
    if (HasFatalFailure()) return;
  }
}

std::string test_name(const testing::TestParamInfo<Differential::ParamType>& row) {
  std::string name = fs::path(std::get<0>(row.param)).stem().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
      '_');
  return name + (std::get<1>(row.param) == EngineKind::jit ? "_jit" : "_interpreter");
}

const auto kEngines = testing::Values(EngineKind::interpreter, EngineKind::jit);
INSTANTIATE_TEST_SUITE_P(TestPrograms, Differential,
                         testing::Combine(testing::ValuesIn(files_in(XNIC_OBJECTS, "", ".o")),
                                          kEngines),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Examples, Differential,
                         testing::Combine(testing::ValuesIn(files_in(XNIC_EXAMPLES, "", ".o")),
                                          kEngines),
                         test_name);
INSTANTIATE_TEST_SUITE_P(XdpTools, Differential,
                         testing::Combine(testing::ValuesIn(xdp_tools_objects()), kEngines),
                         test_name);

TEST(DifferentialObjects, FindsTheObjectsItCompares) {
  EXPECT_GE(files_in(XNIC_OBJECTS, "", ".o").size(), 10u) << "tests/bpf is not built";
  EXPECT_EQ(files_in(XNIC_EXAMPLES, "", ".o").size(), 4u) << "examples is not built";
  if (xdp_tools_objects().empty()) {
    GTEST_SKIP() << "The package xdp-tools is not installed, so its filters are not compared.";
  }
}

}  // namespace
}  // namespace xnic::test

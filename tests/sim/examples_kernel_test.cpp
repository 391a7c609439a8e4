// The example programs as they are meant to be attached, on the shipped captures: on veth pairs of
// the real kernel and here, what leaves is the same to the byte, and so is what the programs count.
// Single runs of the same programs are compared in tests/differential.
#include <gtest/gtest.h>
#include <linux/if_link.h>

#include <algorithm>
#include <array>

#include "tests/sim/machines.h"
#include "traces/reader.h"
#include "vm/uapi.h"

namespace xnic::sim {
namespace {

class Examples : public testing::Test {
 protected:
  void set_up(const std::string& example) {
    auto network = enter_network();
    if (!network && network.error().code == ExitCode::not_available) {
      GTEST_SKIP() << network.error().message;
    }
    ASSERT_TRUE(network) << network.error().message;
    const std::string object = std::string(XNIC_EXAMPLES) + "/" + example + ".o";
    auto side = KernelSide::real(object);
    ASSERT_TRUE(side) << side.error().message;
    theirs_ = std::make_unique<Linux>(std::move(*side));
    theirs_->pause_ms = 1;
    ours_ = std::make_unique<Emulated>(*network, object);
  }
  template <class Function>
  void both(Function function) {
    function(static_cast<Machine&>(*ours_));
    function(static_cast<Machine&>(*theirs_));
  }
  // A program that only gives this code, or first redirects.
  void attach(bpf_prog_type type, const Instructions& code, uint32_t ifindex, uint32_t place) {
    both([&](Machine& machine) {
      programs_.push_back(machine.host().load(type, code));
      ASSERT_EQ(programs_.back().error(), 0);
      machine.link(programs_.back().fd(), ifindex, place);
    });
  }
  static std::vector<Frame> frames_of(const std::string& capture) {
    auto reader = traces::Reader::open(std::string(XNIC_CAPTURES) + "/" + capture, "");
    EXPECT_TRUE(reader);
    std::vector<Frame> frames;
    traces::Record record;
    while ((*reader)->next(record).value_or(false)) {
      frames.emplace_back(record.bytes.begin(), record.bytes.end());
    }
    return frames;
  }
  // Both receive the frames; gives what leaves by the watched wire, which is the same.
  std::vector<Frame> left_after(const std::vector<Frame>& frames, uint32_t out_of = a0) {
    both([&](Machine& machine) {
      for (const Frame& frame : frames) machine.receive(frame, out_of);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    auto mine = ours_->left();
    auto other = theirs_->left();
    EXPECT_EQ(mine.size(), other.size());
    for (size_t i = 0; i < std::min(mine.size(), other.size()); ++i) {
      EXPECT_EQ(mine[i], other[i]) << "frame " << i;
    }
    return other;
  }
  // The sums over all CPUs of a per-CPU map's words.
  template <size_t kWords>
  std::array<uint64_t, kWords> sums(Machine& machine, uint32_t key, uint32_t cpus) {
    std::vector<uint64_t> all(size_t{cpus} * kWords);
    machine.get("statistics", key, all.data());
    std::array<uint64_t, kWords> sum{};
    for (size_t i = 0; i < all.size(); ++i) sum[i % kWords] += all[i];
    return sum;
  }
  template <size_t kWords>
  std::array<uint64_t, kWords> same_sums(uint32_t key) {
    const auto mine = sums<kWords>(*ours_, key, 2);
    EXPECT_EQ(mine, sums<kWords>(*theirs_, key, real_possible_cpus())) << "statistics " << key;
    return mine;
  }

  const PinnedToCpu0 pinned_;
  std::unique_ptr<Emulated> ours_;
  std::unique_ptr<Linux> theirs_;
  std::vector<Descriptor> programs_;
};

// Answers: the ends of addresses and ports exchanged.
Frame answer_to(Frame frame) {
  std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
  std::swap_ranges(frame.begin() + 34, frame.begin() + 36, frame.begin() + 36);
  return frame;
}

TEST_F(Examples, TheFirewallTranslatesAtTheEgressAndAtTheIngressLetsInAnswersAlone) {
  set_up("nat");
  if (ours_ == nullptr) return;
  attach(BPF_PROG_TYPE_SCHED_CLS, redirect_to(c0, 0), a1, vm::uapi::kTcxIngress);
  both([](Machine& machine) {
    machine.link("leave", c0, vm::uapi::kTcxEgress);
    machine.link("enter", c0, vm::uapi::kTcxIngress);
    machine.watch(c0);
  });
  size_t translated = 0;
  for (const char* name : {"http4.pcap", "dns.pcap", "portscan.pcap", "ping.pcap"}) {
    const std::vector<Frame> frames = frames_of(name);
    std::vector<Frame> answers;
    for (const Frame& frame : left_after(frames)) {
      const bool udp_or_tcp = frame.size() >= 42 && frame[12] == 8 && frame[13] == 0 &&
                              (frame[23] == 6 || frame[23] == 17);
      if (!udp_or_tcp) continue;
      answers.push_back(answer_to(frame));
      ++translated;
    }
    // What nobody asked for comes in, too.
    answers.insert(answers.end(), frames.begin(), frames.begin() + 10);
    left_after(answers, c1);
  }
  EXPECT_GT(translated, 100u);
  uint64_t events = 0;
  for (uint32_t event = 0; event < 7; ++event) events += same_sums<1>(event)[0];
  EXPECT_GT(events, 2 * translated);
}

TEST_F(Examples, TheLoadBalancerSendsTheFlowsOfItsServicesToServers) {
  set_up("load_balancer");
  if (ours_ == nullptr) return;
  // Who is asked in the captures, by HTTP and by DNS.
  struct Service {
    std::array<uint8_t, 8> key;
  };
  const Service services[] = {{{10, 10, 0, 1, 0x1f, 0x90, 6, 0}}, {{10, 10, 0, 1, 0, 53, 17, 0}}};
  both([&](Machine& machine) {
    for (uint32_t i = 0; i < std::size(services); ++i) {
      machine.put("services", services[i].key.data(), &i);
      for (uint32_t slot = 0; slot < 67; ++slot) {
        const uint32_t server = slot % 4;
        machine.put("ring", i * 67 + slot, &server);
      }
    }
    for (uint32_t server = 0; server < 4; ++server) {
      const std::array<uint8_t, 4> address = {10, 200, 0, static_cast<uint8_t>(server + 1)};
      machine.put("servers", server, address.data());
    }
    machine.link("balance", a1, BPF_XDP, XDP_FLAGS_DRV_MODE);
    machine.watch(a1);
  });
  attach(BPF_PROG_TYPE_XDP, give(XDP_PASS), a0, BPF_XDP);
  size_t balanced = 0;
  for (const char* name : {"http4.pcap", "dns.pcap", "portscan.pcap", "ping.pcap"}) {
    for (const Frame& frame : left_after(frames_of(name))) {
      // IP in IP.
      EXPECT_EQ(frame[23], 4);
      ++balanced;
    }
  }
  EXPECT_GT(balanced, 50u);
  uint64_t packets = 0;
  for (uint32_t i = 0; i < std::size(services); ++i) packets += same_sums<4>(i)[0];
  EXPECT_EQ(packets, balanced);
}

}  // namespace
}  // namespace xnic::sim

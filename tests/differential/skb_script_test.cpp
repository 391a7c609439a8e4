// Helpers of an sk_buff one after another, drawn at random, since what one leaves decides what the
// next one does: tests/bpf/skb_script plays the same steps here and in the running kernel, and
// after each step all that a program can see of the packet must agree, and at the end its bytes.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <cstring>
#include <random>

#include "sim/comparison.h"
#include "sim/kernel_side.h"
#include "vm/interpreter.h"

namespace xnic::test {
namespace {

using sim::Bytes;
using sim::KernelSide;
using sim::RunRequest;

constexpr uint32_t kSteps = 8;
constexpr uint32_t kChecksumComplete = 1u << 2;  // BPF_F_TEST_SKB_CHECKSUM_COMPLETE

// As in tests/bpf/skb_script.bpf.c.
enum class Operation : uint32_t {
  nothing,
  change_tail,
  change_head,
  adjust_room,
  change_proto,
  change_type,
  vlan_push,
  vlan_pop,
  pull_data,
  store_bytes,
  load_bytes,
  load_bytes_relative,
  l3_csum_replace,
  l4_csum_replace,
  csum_update,
  csum_level,
  set_hash,
  set_hash_invalid,
  ecn_set_ce,
  set_tstamp,
  clone_redirect,
  small_questions,
};
constexpr uint32_t kOperations = 22;

struct Step {
  Operation operation = Operation::nothing;
  uint32_t a = 0;
  uint64_t b = 0;
  uint64_t c = 0;
  uint64_t d = 0;
};
constexpr size_t kArguments = 32;  // bytes of a Step in the map's value, answers behind

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}

  uint32_t number() { return static_cast<uint32_t>(random_()); }
  uint32_t below(uint32_t limit) { return number() % limit; }
  bool one_in(uint32_t count) { return below(count) == 0; }
  template <class T, size_t N>
  T of(const T (&choice)[N]) {
    return choice[below(N)];
  }

  uint32_t size() {
    static constexpr uint32_t kSizes[] = {
        0,    1,     13,    14,    15,    33,    34,    53,         54,         60,
        64,   99,    100,   101,   114,   128,   200,   1500,       1514,       4000,
        8000, 16063, 16064, 16065, 65535, 65536, 70000, 0x7fffffff, 0x80000000, 0xffffffff};
    return one_in(3) ? of(kSizes) : below(250);
  }

  Step step(bool segmented) {
    Step s{static_cast<Operation>(1 + below(kOperations - 1)), size(), number(), number(), 0};
    switch (s.operation) {
      case Operation::change_head:
        // The kernel asserts that the amount is no negative int, and else lets segments through.
        if (segmented) s.a %= 70000;
        [[fallthrough]];
      case Operation::change_tail:
        s.b = one_in(10) ? 1 : 0;
        break;
      case Operation::adjust_room:
        s.a = one_in(12) ? size() : below(160);
        if (one_in(2)) s.a = 0 - s.a;
        s.b = of({0u, 0u, 1u, 1u, 2u});
        s.c = room_flags();
        break;
      case Operation::change_proto:
        s.a = of({0x0008u, 0xdd86u, 0x0008u, 0xdd86u, 0x0081u});
        s.b = one_in(10) ? 1 : 0;
        break;
      case Operation::change_type:
        s.a = below(6);
        break;
      case Operation::vlan_push:
        s.a = of({0x0081u, 0xa888u, 0u, 0x0008u});
        break;
      case Operation::store_bytes:
        s.c = below(one_in(8) ? 8 : 4);
        break;
      case Operation::load_bytes_relative:
        s.c = below(3);
        break;
      case Operation::l3_csum_replace:
      case Operation::l4_csum_replace:
        s.d = of({0u, 2u, 4u, 2u, 4u, 6u});
        if (s.operation == Operation::l4_csum_replace) s.d |= number() & 0xf0;
        if (one_in(10)) s.d |= number() & 0x1f;
        if ((s.d & 0xf) == 0 && !one_in(4)) s.b = 0;
        if (one_in(2)) s.b = s.c;
        break;
      case Operation::csum_level:
        s.b = below(5);
        break;
      case Operation::set_tstamp:
        s.a = below(4);
        s.b = below(3);
        break;
      case Operation::clone_redirect:
        s.a = of({1u, 1u, 999999u});
        s.b = of({0u, 1u, 2u});
        if (segmented || !one_in(4)) s.operation = Operation::small_questions;
        break;
      default:
        break;
    }
    return s;
  }

 private:
  uint64_t room_flags() {
    if (one_in(3)) return 0;
    uint64_t flags = number() & 0x1ff;
    if (one_in(2)) flags &= number();
    if (one_in(2)) flags |= uint64_t{below(30)} << 56;
    return flags;
  }

  std::mt19937 random_;
};

Bytes packet(Draw& draw) {
  Bytes bytes(100 + draw.below(draw.one_in(10) ? 3000 : 200));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(draw.number());
  const auto put = [&](size_t at, uint32_t ethertype) {
    bytes[at] = static_cast<uint8_t>(ethertype >> 8);
    bytes[at + 1] = static_cast<uint8_t>(ethertype);
  };
  const uint32_t kinds[] = {0x0800, 0x0800, 0x86dd, 0x86dd, 0x8100, 0x88a8, 0x0026};
  put(12, draw.of(kinds));
  for (size_t at = 16; bytes[at - 4] == 0x81 && at < 32; at += 4) {
    put(at, draw.of(kinds));
  }
  return bytes;
}

RunRequest request(Draw& draw, bool segmented) {
  RunRequest made = sim::request_for(packet(draw), BPF_PROG_TYPE_SCHED_CLS);
  __sk_buff context{};
  context.gso_size = segmented ? 1 + draw.below(1400) : 0;
  context.gso_segs = segmented ? draw.below(5) : 0;
  context.tstamp = draw.one_in(2) ? draw.number() : 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&context);
  made.context.assign(bytes, bytes + sizeof context);
  made.data_room = 0x20000;
  made.flags = draw.one_in(2) ? kChecksumComplete : 0;
  return made;
}

// A packet that was cut within its headers has no room to be asked for: Linux would move, and show,
// what lies behind the end.
std::vector<Step> script(Draw& draw, bool segmented) {
  constexpr uint32_t kSurelyWhole = 400;
  std::vector<Step> steps(kSteps);
  bool cut = false;
  for (Step& step : steps) {
    do {
      step = draw.step(segmented);
    } while (cut && (step.operation == Operation::adjust_room ||
                     step.operation == Operation::change_proto));
    if (step.operation == Operation::change_tail && step.a < kSurelyWhole) cut = true;
  }
  return steps;
}

std::string words(const std::vector<Step>& steps) {
  std::string all;
  for (const Step& s : steps) {
    all += fmt::format("[{} {:#x} {:#x} {:#x} {:#x}] ", static_cast<uint32_t>(s.operation), s.a,
                       s.b, s.c, s.d);
  }
  return all;
}

class SkbScript : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override {
    if (const std::string why = sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
    const std::string object = XNIC_OBJECTS "/skb_script.o";
    auto ours = KernelSide::emulated(object, engine_, 1);
    ASSERT_TRUE(ours) << ours.error().message;
    auto theirs = KernelSide::real(object);
    ASSERT_TRUE(theirs) << theirs.error().message;
    ours_ = std::move(*ours);
    theirs_ = std::move(*theirs);
  }

  static void write(KernelSide& side, const std::vector<Step>& steps) {
    const sim::SideMap& map = *side.map("script");
    for (uint32_t i = 0; i < steps.size(); ++i) {
      Bytes value(map.value_size);
      std::memcpy(value.data(), &steps[i], kArguments);
      for (size_t at = value.size() - 64; at < value.size(); ++at) {
        value[at] = static_cast<uint8_t>(at * 31 + i);
      }
      Bytes key(4);
      key[0] = static_cast<uint8_t>(i);
      ASSERT_EQ(side.update(map, key, value), 0);
    }
  }

  vm::Interpreter engine_;
  std::unique_ptr<KernelSide> ours_;
  std::unique_ptr<KernelSide> theirs_;
};

TEST_P(SkbScript, LeavesThePacketThatLinuxLeaves) {
  static_assert(offsetof(Step, d) + sizeof(Step::d) == kArguments);
  const sim::PinnedToCpu0 pinned;
  Draw draw(GetParam());
  for (int round = 0; round < 1500; ++round) {
    const bool segmented = draw.one_in(6);
    const RunRequest run = request(draw, segmented);
    const std::vector<Step> steps = script(draw, segmented);
    write(*ours_, steps);
    write(*theirs_, steps);
    const sim::RunAnswer our_answer = ours_->run(ours_->programs()[0], run);
    // The packet lost its network header, whose sum makes Linux stop with a bug: not to be asked.
    if (our_answer.error == -EFAULT) continue;
    const auto found = sim::differences(our_answer, theirs_->run(theirs_->programs()[0], run));
    const auto our_steps = *ours_->contents(*ours_->map("script"));
    const auto their_steps = *theirs_->contents(*theirs_->map("script"));
    for (const auto& [key, value] : their_steps) {
      const Bytes& our_value = our_steps.at(key);
      const auto at = std::mismatch(value.begin(), value.end(), our_value.begin()).first;
      ASSERT_TRUE(at == value.end())
          << "round " << round << ", step " << static_cast<int>(key[0]) << ", offset "
          << at - value.begin() << " of its answers, flags " << run.flags << ", " << run.data.size()
          << " bytes, protocol " << fmt::format("{:02x}{:02x}", run.data[12], run.data[13]) << ": "
          << words(steps)
          << fmt::format("\nxnic  {:02x}\nLinux {:02x}",
                         fmt::join(our_value.begin() + kArguments, our_value.end(), ""),
                         fmt::join(value.begin() + kArguments, value.end(), ""));
    }
    ASSERT_TRUE(found.empty()) << "round " << round << ": " << found[0].field << " at "
                               << found[0].offset.value_or(0) << ": xnic " << found[0].ours
                               << ", Linux " << found[0].kernel << ": " << words(steps);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SkbScript, testing::Range(1u, 9u));

}  // namespace
}  // namespace xnic::test

// Kernel functions: what may be called, what is answered, here and by the kernel of this machine.
#include "vm/kfunc.h"

#include <arpa/inet.h>
#include <bpf/btf.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "tests/support/bpf_host.h"
#include "tests/vm/kfunc_ids.h"
#include "tests/vm/two_sides.h"
#include "vm/btf.h"
#include "vm/interpreter.h"
#include "vm/kernel_face.h"
#include "vm/uapi.h"

namespace xnic::test {
namespace {

constexpr uint32_t kNic0 = 2;
constexpr uint32_t kFar0 = 3;

Instructions load_map_value(Register to, int fd) {
  Instructions both = load_map(to, fd);
  both[0].src_reg = BPF_PSEUDO_MAP_VALUE & 0xf;
  return both;
}

// One of the two kernels, with the ids of its functions.
struct KfuncSide {
  KfuncSide(BpfHost& bpf_host, bool real) : host(bpf_host), ids(real) {}

  BpfHost& host;
  FunctionIds ids;

  struct How {
    bpf_prog_type type = BPF_PROG_TYPE_XDP;
    uint32_t flags = 0;
    uint32_t ifindex = 0;
    const char* license = "GPL";
  };
  Descriptor load(const Instructions& code, const How& how) {
    bpf_attr attr{};
    attr.prog_type = how.type;
    attr.insns = address_of(code.data());
    attr.insn_cnt = static_cast<uint32_t>(code.size());
    attr.license = address_of(how.license);
    attr.prog_flags = how.flags;
    attr.prog_ifindex = how.ifindex;
    return Descriptor(host.bpf(BPF_PROG_LOAD, attr));
  }
  Descriptor load(const Instructions& code) { return load(code, How{}); }
};

class KfuncAgainstKernel : public testing::Test {
 protected:
  void SetUp() override {
    XNIC_NEEDS_REAL_KERNEL();
    if (!enter_private_network()) GTEST_SKIP() << "This process may not make a network namespace.";
    theirs_ = std::make_unique<KfuncSide>(real_, true);
  }

  // Loads on both; the answers must agree. Gives whether the program was taken.
  template <class Program>
  bool same_verdict(const std::string& what, Program program, const KfuncSide::How& how) {
    const Descriptor mine = ours_.load(program(ours_.ids), how);
    const Descriptor other = theirs_->load(program(theirs_->ids), how);
    EXPECT_EQ(mine.error(), other.error()) << what << ": xnic first, Linux second";
    return other.error() == 0;
  }
  template <class Program>
  bool same_verdict(const std::string& what, Program program) {
    return same_verdict(what, program, KfuncSide::How{});
  }

  static constexpr KfuncSide::How kBound{BPF_PROG_TYPE_XDP, vm::uapi::kDeviceBoundOnly, kNic0};

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_};
  EmulatedKernel emulated_{kernel_};
  RealKernel real_;
  KfuncSide ours_{emulated_, false};
  std::unique_ptr<KfuncSide> theirs_;
};

// A program that calls the three metadata functions and keeps in a map's value: their answers, then
// hash, type, protocol and TCI; the timestamp is only asked for.
struct Metadata {
  int32_t timestamp_error;
  int32_t hash_error;
  int32_t tag_error;
  uint32_t hash;
  uint32_t type;
  uint16_t protocol;
  uint16_t tci;
  uint64_t timestamp;
};

Instructions metadata_program(const FunctionIds& ids, int map) {
  Instructions code = {move(r6, r1)};
  code = code + load_map_value(r9, map);
  // r2 and r3 point into the value, which is memory as good as the stack.
  const auto ask = [&](std::string_view name, size_t answer, size_t second, size_t third) {
    code = code + Instructions{move(r1, r6),
                               move(r2, r9),
                               alu(BPF_ADD, r2, static_cast<int32_t>(second)),
                               move(r3, r9),
                               alu(BPF_ADD, r3, static_cast<int32_t>(third)),
                               call_kfunc(ids, name),
                               store(4, r9, static_cast<int16_t>(answer), r0)};
  };
  ask("bpf_xdp_metadata_rx_timestamp", offsetof(Metadata, timestamp_error),
      offsetof(Metadata, timestamp), 0);
  ask("bpf_xdp_metadata_rx_hash", offsetof(Metadata, hash_error), offsetof(Metadata, hash),
      offsetof(Metadata, type));
  ask("bpf_xdp_metadata_rx_vlan_tag", offsetof(Metadata, tag_error), offsetof(Metadata, protocol),
      offsetof(Metadata, tci));
  return code + Instructions{move(r0, XDP_DROP), leave()};
}

Metadata read_metadata(BpfHost& host, int map) {
  Metadata value{};
  const uint32_t key = 0;
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map);
  attr.key = address_of(&key);
  attr.value = address_of(&value);
  EXPECT_EQ(host.bpf(BPF_MAP_LOOKUP_ELEM, attr), 0);
  return value;
}

TEST(Kfunc, EachHasItsTypeInTheKernelsTypes) {
  for (const vm::Kfunc& kfunc : vm::kfuncs()) {
    const uint32_t id = vm::kernel_types().function_id(kfunc.row.name);
    EXPECT_NE(id, 0u) << kfunc.row.name;
    EXPECT_EQ(vm::find_kfunc(static_cast<int32_t>(id), kfunc.row.program_types), &kfunc);
  }
  EXPECT_EQ(vm::find_kfunc(0), nullptr);
  EXPECT_EQ(vm::find_kfunc(-1), nullptr);
}

TEST_F(KfuncAgainstKernel, RegionsEndAsTheyBegin) {
  static constexpr std::array kNames = {"bpf_rcu_read_lock", "bpf_rcu_read_unlock",
                                        "bpf_preempt_disable", "bpf_preempt_enable"};
  int taken = 0;
  // Every sequence of up to four calls, as digits to the base of five; 0 ends one.
  for (uint32_t sequence = 1; sequence < 5 * 5 * 5 * 5; ++sequence) {
    std::string what;
    std::vector<std::string_view> names;
    for (uint32_t rest = sequence; rest != 0 && rest % 5 != 0; rest /= 5) {
      names.push_back(kNames[rest % 5 - 1]);
      what += fmt::format("{} ", names.back());
    }
    if (names.empty()) continue;
    taken += same_verdict(what, [&](const FunctionIds& ids) {
      Instructions code;
      for (const std::string_view name : names) code.push_back(call_kfunc(ids, name));
      return code + Instructions{move(r0, XDP_PASS), leave()};
    });
  }
  EXPECT_GT(taken, 4);
}

TEST_F(KfuncAgainstKernel, ProgramsOfOtherLicensesCallNone) {
  KfuncSide::How how;
  how.license = "Proprietary";
  const auto program = [](const FunctionIds& ids) {
    return Instructions{call_kfunc(ids, "bpf_rcu_read_lock"),
                        call_kfunc(ids, "bpf_rcu_read_unlock"), move(r0, XDP_PASS), leave()};
  };
  EXPECT_FALSE(same_verdict("proprietary", program, how));
  how.license = "GPL";
  EXPECT_TRUE(same_verdict("GPL", program, how));
  how.type = BPF_PROG_TYPE_SCHED_CLS;
  EXPECT_TRUE(same_verdict("of tc", program, how));
}

TEST_F(KfuncAgainstKernel, OnlyProgramsBoundToADeviceAskForMetadata) {
  for (const char* name : {"bpf_xdp_metadata_rx_timestamp", "bpf_xdp_metadata_rx_hash",
                           "bpf_xdp_metadata_rx_vlan_tag"}) {
    const auto program = [&](const FunctionIds& ids) {
      return Instructions{
          move(r2, r10),         alu(BPF_ADD, r2, -8), move(r3, r10), alu(BPF_ADD, r3, -16),
          call_kfunc(ids, name), move(r0, XDP_PASS),   leave()};
    };
    EXPECT_TRUE(same_verdict(fmt::format("{}, bound", name), program, kBound));
    EXPECT_FALSE(same_verdict(fmt::format("{}, not bound", name), program));
    KfuncSide::How how = kBound;
    how.flags = 0;
    EXPECT_FALSE(same_verdict(fmt::format("{}, offloaded", name), program, how));
    how = kBound;
    how.ifindex = 99;
    EXPECT_FALSE(same_verdict(fmt::format("{}, no such device", name), program, how));
    how = kBound;
    how.type = BPF_PROG_TYPE_SCHED_CLS;
    EXPECT_FALSE(same_verdict(fmt::format("{}, of tc", name), program, how));
    how.flags = how.ifindex = 0;
    EXPECT_FALSE(same_verdict(fmt::format("{}, of tc, not bound", name), program, how));
    how = {};
    how.flags = vm::uapi::kDeviceBoundOnly;
    EXPECT_FALSE(same_verdict(fmt::format("{}, bound to nothing", name), program, how));
    how = kBound;
    how.license = "Proprietary";
    EXPECT_FALSE(same_verdict(fmt::format("{}, proprietary", name), program, how));
  }
}

TEST_F(KfuncAgainstKernel, MetadataGoesWhereItFits) {
  const auto at = [&](int32_t second, int32_t third) {
    return [=](const FunctionIds& ids) {
      return Instructions{move(r2, r10),
                          alu(BPF_ADD, r2, second),
                          move(r3, r10),
                          alu(BPF_ADD, r3, third),
                          call_kfunc(ids, "bpf_xdp_metadata_rx_hash"),
                          move(r0, XDP_PASS),
                          leave()};
    };
  };
  for (const int32_t second : {-4, -3, -5, 0, -512, -513, -8}) {
    same_verdict(fmt::format("hash at r10{:+d}", second), at(second, -16), kBound);
    same_verdict(fmt::format("type at r10{:+d}", second), at(-16, second), kBound);
  }
  EXPECT_FALSE(same_verdict(
      "a number for a pointer",
      [](const FunctionIds& ids) {
        return Instructions{move(r2, 0), move(r3, 0), call_kfunc(ids, "bpf_xdp_metadata_rx_hash"),
                            move(r0, XDP_PASS), leave()};
      },
      kBound));
  EXPECT_FALSE(same_verdict(
      "no context",
      [](const FunctionIds& ids) {
        return Instructions{move(r1, r10),      alu(BPF_ADD, r1, -8),
                            move(r2, r1),       call_kfunc(ids, "bpf_xdp_metadata_rx_timestamp"),
                            move(r0, XDP_PASS), leave()};
      },
      kBound));
}

TEST_F(KfuncAgainstKernel, ABoundProgramRunsOnItsDeviceAlone) {
  const auto answers = [](KfuncSide& side) {
    std::vector<long> all;
    const Descriptor bound = side.load({move(r0, XDP_PASS), leave()}, kBound);
    all.push_back(bound.error());
    RunRequest request;
    request.data = Bytes(64);
    all.push_back(side.host.run(bound.fd(), request).error);
    const Descriptor programs = side.host.create_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1);
    const uint32_t key = 0;
    const int value = bound.fd();
    bpf_attr update{};
    update.map_fd = static_cast<uint32_t>(programs.fd());
    update.key = address_of(&key);
    update.value = address_of(&value);
    all.push_back(side.host.bpf(BPF_MAP_UPDATE_ELEM, update));
    bpf_prog_info info{};
    bpf_attr ask{};
    ask.info.bpf_fd = static_cast<uint32_t>(bound.fd());
    ask.info.info = address_of(&info);
    ask.info.info_len = sizeof info;
    all.push_back(side.host.bpf(BPF_OBJ_GET_INFO_BY_FD, ask));
    all.push_back(info.ifindex);
    const std::pair<uint32_t, uint32_t> places[] = {
        {kNic0, XDP_FLAGS_SKB_MODE}, {kFar0, XDP_FLAGS_DRV_MODE}, {kNic0, XDP_FLAGS_DRV_MODE}};
    for (const auto& [ifindex, flags] : places) {
      bpf_attr link{};
      link.link_create.prog_fd = static_cast<uint32_t>(bound.fd());
      link.link_create.target_ifindex = ifindex;
      link.link_create.attach_type = BPF_XDP;
      link.link_create.flags = flags;
      all.push_back(Descriptor(side.host.bpf(BPF_LINK_CREATE, link)).error());
    }
    return all;
  };
  vm::Network network = vm::Network::with_nic0();
  network.interfaces.push_back(network.interfaces.back());
  network.interfaces.back().ifindex = kFar0;
  network.interfaces.back().name = "far0";
  vm::Kernel kernel(engine_, {.network = network, .verify_values = true});
  EmulatedKernel host(kernel);
  KfuncSide ours{host, false};
  EXPECT_EQ(answers(ours), answers(*theirs_)) << "xnic first, Linux second";
}

// A frame out of the far end of the veth.
void send_to_nic0() {
  const int fd = socket(AF_PACKET, SOCK_RAW, 0);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = kFar0;
  to.sll_halen = ETH_ALEN;
  Bytes frame(64, 0);
  std::memset(frame.data(), 0xff, 6);
  frame[7] = 1;
  frame[12] = 0x88;  // an Ethernet protocol of local experiments
  frame[13] = 0xb5;
  EXPECT_EQ(
      sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
      static_cast<ssize_t>(frame.size()));
  close(fd);
}

class MetadataAnswers : public KfuncAgainstKernel {
 protected:
  // Has Linux put a tag beside the bytes of each frame that leaves the far end.
  Descriptor tag_frames(uint16_t tci) {
    const Descriptor program =
        real_.load(BPF_PROG_TYPE_SCHED_CLS, {move(r2, htons(ETH_P_8021Q)), move(r3, tci),
                                             call(BPF_FUNC_skb_vlan_push), move(r0, 0), leave()});
    EXPECT_EQ(program.error(), 0);
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program.fd());
    attr.link_create.target_ifindex = kFar0;
    attr.link_create.attach_type = static_cast<bpf_attach_type>(vm::uapi::kTcxEgress);
    return Descriptor(real_.bpf(BPF_LINK_CREATE, attr));
  }

  // What the program finds in a frame that comes to nic0 of Linux.
  Metadata found_by_linux() {
    const Descriptor map = real_.create_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(Metadata), 1);
    const Descriptor program = theirs_->load(metadata_program(theirs_->ids, map.fd()), kBound);
    EXPECT_EQ(program.error(), 0);
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program.fd());
    attr.link_create.target_ifindex = kNic0;
    attr.link_create.attach_type = BPF_XDP;
    attr.link_create.flags = XDP_FLAGS_DRV_MODE;
    const Descriptor link(real_.bpf(BPF_LINK_CREATE, attr));
    EXPECT_EQ(link.error(), 0);
    mark(real_, map.fd());
    send_to_nic0();
    Metadata found{};
    for (int i = 0; i < 200; ++i) {
      found = read_metadata(real_, map.fd());
      if (found.tag_error != kNotAsked) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_NE(found.tag_error, kNotAsked) << "no frame came";
    return found;
  }

  Metadata found_here(vm::Packet& packet) {
    const Descriptor map = emulated_.create_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(Metadata), 1);
    const Descriptor program = ours_.load(metadata_program(ours_.ids, map.fd()), kBound);
    EXPECT_EQ(program.error(), 0);
    mark(emulated_, map.fd());
    vm::Invocation run(packet, kernel_.environment());
    EXPECT_EQ(kernel_.program_by_fd(program.fd())->code().run(run), uint64_t{XDP_DROP});
    EXPECT_FALSE(run.fault) << run.fault->message;
    return read_metadata(emulated_, map.fd());
  }

  static constexpr int32_t kNotAsked = 0x77777777;

 private:
  static void mark(BpfHost& host, int map) {
    const Metadata value{kNotAsked, kNotAsked, kNotAsked, 0, 0, 0x1234, 0x5678, 0};
    const uint32_t key = 0;
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map);
    attr.key = address_of(&key);
    attr.value = address_of(&value);
    EXPECT_EQ(host.bpf(BPF_MAP_UPDATE_ELEM, attr), 0);
  }
};

TEST_F(MetadataAnswers, OfATagAreThoseOfADriver) {
  ASSERT_EQ(std::system("ip link set nic0 up && ip link set far0 up"), 0);
  vm::Packet packet(Bytes(64));
  packet.rx_timestamp_ns = 0;
  const auto same = [&](std::string_view what) {
    const Metadata mine = found_here(packet);
    const Metadata other = found_by_linux();
    EXPECT_EQ(mine.timestamp_error, other.timestamp_error) << what;
    EXPECT_EQ(mine.hash_error, other.hash_error) << what;
    EXPECT_EQ(mine.tag_error, other.tag_error) << what;
    EXPECT_EQ(mine.protocol, other.protocol) << what;
    EXPECT_EQ(mine.tci, other.tci) << what;
    return other.tag_error;
  };
  EXPECT_EQ(same("without a tag"), -ENODATA);
  const Descriptor link = tag_frames(0x2005);
  ASSERT_EQ(link.error(), 0);
  packet.rx_vlan = vm::VlanTag{htons(ETH_P_8021Q), 0x2005};
  EXPECT_EQ(same("with a tag"), 0);
}

TEST_F(MetadataAnswers, AreWhatTheNicFound) {
  vm::Packet packet(Bytes(64));
  EXPECT_EQ(found_here(packet).timestamp_error, -ENODATA);
  packet.rx_timestamp_ns = 123'456'789'012;
  packet.rx_hash = 0xfedcba98;
  packet.rx_hash_type = 25;
  const Metadata found = found_here(packet);
  EXPECT_EQ(found.timestamp_error, 0);
  EXPECT_EQ(found.timestamp, 123'456'789'012u);
  EXPECT_EQ(found.hash_error, 0);
  EXPECT_EQ(found.hash, 0xfedcba98u);
  EXPECT_EQ(found.type, 25u);
}

// Sums the numbers from `start` until `end`; 1000 times what bpf_iter_num_new answered is added.
Instructions sum_program(const FunctionIds& ids, int32_t start, int32_t end) {
  return {move(r7, 0),
          move(r1, r10),
          alu(BPF_ADD, r1, -8),
          move(r2, start),
          move(r3, end),
          call_kfunc(ids, "bpf_iter_num_new"),
          move(r6, r0),
          move(r1, r10),
          alu(BPF_ADD, r1, -8),
          call_kfunc(ids, "bpf_iter_num_next"),
          jump(BPF_JEQ, r0, 0, 3),
          load(4, r1, r0, 0),
          alu(BPF_ADD, r7, r1),
          jump(BPF_JA, r0, 0, -7),
          move(r1, r10),
          alu(BPF_ADD, r1, -8),
          call_kfunc(ids, "bpf_iter_num_destroy"),
          alu(BPF_MUL, r6, 1000),
          move(r0, r7),
          alu(BPF_ADD, r0, r6),
          leave()};
}

TEST_F(KfuncAgainstKernel, IteratorsOverNumbersGiveWhatLinuxGives) {
  vm::Kernel kernel(engine_, {.verify_values = false});
  EmulatedKernel host(kernel);
  KfuncSide ours{host, false};
  const std::pair<int32_t, int32_t> ranges[] = {{0, 10},
                                                {0, 0},
                                                {5, 4},
                                                {-3, 3},
                                                {0, 1 << 23},
                                                {7, 8},
                                                {0, (1 << 23) + 1},
                                                {INT32_MIN, INT32_MIN + 2},
                                                {INT32_MAX - 2, INT32_MAX},
                                                {-1, -1},
                                                {INT32_MIN, INT32_MAX}};
  for (const auto& [start, end] : ranges) {
    const auto answer = [&](KfuncSide& side) {
      const Descriptor program = side.load(sum_program(side.ids, start, end));
      EXPECT_EQ(program.error(), 0) << side.host.name();
      RunRequest request;
      request.data = Bytes(64);
      return side.host.run(program.fd(), request).code;
    };
    EXPECT_EQ(answer(ours), answer(*theirs_)) << start << " to " << end;
  }
}

}  // namespace
}  // namespace xnic::test

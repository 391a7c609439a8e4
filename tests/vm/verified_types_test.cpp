// Program types that are verified and not run: which parts of their contexts programs may read and
// write, and what they may return, asked of the kernel of this machine, too.
#include "vm/verified_types.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "tests/support/bpf_host.h"
#include "vm/helper.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

struct Case {
  const char* name;
  bpf_prog_type type;
  uint32_t attach_type;
};

constexpr Case kCases[] = {
    {"tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0},
    {"raw_tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, 0},
    {"kprobe", BPF_PROG_TYPE_KPROBE, 0},
    {"perf_event", BPF_PROG_TYPE_PERF_EVENT, 0},
    {"cgroup_skb_ingress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS},
    {"cgroup_skb_egress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS},
    {"lwt_in", BPF_PROG_TYPE_LWT_IN, 0},
    {"lwt_out", BPF_PROG_TYPE_LWT_OUT, 0},
    {"lwt_xmit", BPF_PROG_TYPE_LWT_XMIT, 0},
    {"sk_skb", BPF_PROG_TYPE_SK_SKB, 0},
    {"sk_msg", BPF_PROG_TYPE_SK_MSG, 0},
    {"sock_create", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE},
    {"post_bind4", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND},
    {"post_bind6", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET6_POST_BIND},
    {"bind4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND},
    {"connect6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT},
    {"sendmsg4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG},
    {"sendmsg6", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG},
    {"lwt_seg6local", BPF_PROG_TYPE_LWT_SEG6LOCAL, 0},
    {"raw_tracepoint_writable", BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0},
    {"sock_ops", BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS},
    {"sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP},
    {"sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT, BPF_SK_REUSEPORT_SELECT_OR_MIGRATE},
    {"flow_dissector", BPF_PROG_TYPE_FLOW_DISSECTOR, BPF_FLOW_DISSECTOR},
    {"getsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT},
    {"setsockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_SETSOCKOPT},
    {"sysctl", BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_CGROUP_SYSCTL},
    {"device", BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE},
    {"getsockname4", BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETSOCKNAME},
};

class VerifiedTypes : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    XNIC_NEEDS_REAL_KERNEL();
    if (load(theirs_, {move(r0, 1), leave()}) != 0) {
      GTEST_SKIP() << "this kernel does not load such programs";
    }
  }

  static long load(BpfHost& host, const Instructions& code) {
    const Case& c = GetParam();
    bpf_attr attr{};
    attr.prog_type = c.type;
    attr.expected_attach_type = c.attach_type;
    attr.insns = address_of(code.data());
    attr.insn_cnt = static_cast<uint32_t>(code.size());
    attr.license = address_of("GPL");
    return Descriptor(host.bpf(BPF_PROG_LOAD, attr)).error();
  }
  // Whether the program is told of something else than a helper that it does not have.
  static bool knows_helper(BpfHost& host, const Instructions& code) {
    std::array<char, 4096> log{};
    const Case& c = GetParam();
    bpf_attr attr{};
    attr.prog_type = c.type;
    attr.expected_attach_type = c.attach_type;
    attr.insns = address_of(code.data());
    attr.insn_cnt = static_cast<uint32_t>(code.size());
    attr.license = address_of("GPL");
    attr.log_buf = address_of(log.data());
    attr.log_size = log.size();
    attr.log_level = 1;
    const Descriptor program(host.bpf(BPF_PROG_LOAD, attr));
    const std::string_view said = log.data();
    return said.find("invalid func") == std::string_view::npos &&
           said.find("cannot use helper") == std::string_view::npos;
  }

  // Asks both; gives whether the program was taken.
  bool same(const std::string& what, const Instructions& code) {
    const bool theirs = load(theirs_, code) == 0;
    const bool ours = load(ours_, code) == 0;
    // Of some types narrow reads are left out.
    constexpr std::array kNarrower = {BPF_PROG_TYPE_CGROUP_SOCK, BPF_PROG_TYPE_SOCK_OPS,
                                      BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE};
    const bool is_narrower = std::ranges::find(kNarrower, GetParam().type) != kNarrower.end();
    const bool left_out = is_narrower && !ours;
    if (!left_out) {
      EXPECT_EQ(ours, theirs) << what << ": xnic first, Linux second";
    }
    return theirs;
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_{interpreter_};
  EmulatedKernel ours_{kernel_};
  RealKernel theirs_;
};

TEST_P(VerifiedTypes, ReadAndWriteTheContextAsInLinux) {
  constexpr int16_t kBytes = 256;
  int taken = 0;
  for (const uint32_t size : {1u, 2u, 4u, 8u}) {
    for (int16_t at = 0; at < kBytes; at = static_cast<int16_t>(at + size)) {
      const std::string where = fmt::format("{} bytes at {}", size, at);
      taken += same("read " + where, {test::load(size, r2, r1, at), move(r0, 1), leave()});
      taken += same("write " + where, {move(r2, 0), store(size, r1, at, r2), move(r0, 1), leave()});
    }
  }
  EXPECT_GE(taken, 3);
}

TEST_P(VerifiedTypes, ReturnWhatLinuxLetsThem) {
  for (int value = -2; value < 6; ++value) {
    same(fmt::format("returns {}", value), {move(r0, value), leave()});
  }
  same("returns any number", {call(BPF_FUNC_get_prandom_u32), leave()});
  same("returns the context", {move(r0, r1), leave()});
}

// A helper that there is asks for arguments before all else.
TEST_P(VerifiedTypes, HaveTheHelpersThatTheyHaveInLinux) {
  constexpr int32_t kNewest = 211;
  for (int32_t id = 1; id <= kNewest; ++id) {
    if (vm::find_helper(static_cast<uint32_t>(id)) == nullptr) continue;
    const Instructions code = {call(id), move(r0, 1), leave()};
    const bool theirs = knows_helper(theirs_, code);
    EXPECT_EQ(knows_helper(ours_, code), theirs)
        << vm::find_helper(static_cast<uint32_t>(id))->name << ": xnic first, Linux second";
  }
}

INSTANTIATE_TEST_SUITE_P(EachType, VerifiedTypes, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace xnic::test

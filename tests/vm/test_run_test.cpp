// BPF_PROG_TEST_RUN: sizes, contexts, room for answers and their errors, held against the running
// kernel.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <net/if.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/program_type.h"

namespace xnic::vm {
namespace {

using test::Bytes;

class TestRunAgainstKernel : public testing::TestWithParam<bpf_prog_type> {
 protected:
  void SetUp() override {
    XNIC_NEEDS_REAL_KERNEL();
    const test::Instructions program = {test::move(test::r0, 2), test::leave()};
    ours_ = emulated_.load(GetParam(), program);
    theirs_ = real_.load(GetParam(), program);
    ASSERT_EQ(ours_.error(), 0);
    ASSERT_EQ(theirs_.error(), 0);
  }

  uint32_t context_size() const {
    return GetParam() == BPF_PROG_TYPE_XDP ? sizeof(xdp_md) : sizeof(__sk_buff);
  }

  void same(const test::RunRequest& request, const std::string& what) {
    const test::RunAnswer ours = emulated_.run(ours_.fd(), request);
    const test::RunAnswer theirs = real_.run(theirs_.fd(), request);
    EXPECT_EQ(ours, theirs) << what << ": " << test::difference(ours, theirs);
  }

  // The bare call, for attributes that a RunRequest does not have. Gives 0 or -errno.
  void same_call(const std::string& what, const std::function<void(bpf_attr&)>& change) {
    Bytes data(100);
    const auto ask = [&](test::BpfHost& host, int program) {
      bpf_attr attr{};
      attr.test.prog_fd = static_cast<uint32_t>(program);
      attr.test.data_in = test::address_of(data.data());
      attr.test.data_size_in = static_cast<uint32_t>(data.size());
      change(attr);
      return host.bpf(BPF_PROG_TEST_RUN, attr);
    };
    EXPECT_EQ(ask(emulated_, ours_.fd()), ask(real_, theirs_.fd())) << what;
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  test::EmulatedKernel emulated_{kernel_};
  test::RealKernel real_;
  test::Descriptor ours_;
  test::Descriptor theirs_;
};

TEST_P(TestRunAgainstKernel, TakesTheSizesThatLinuxTakes) {
  for (uint32_t size = 0; size < 80; ++size) {
    for (const int ethertype : {0, 0x0800, 0x86dd}) {
      test::RunRequest request;
      request.data = Bytes(size, 0x42);
      if (size >= 14) {
        request.data[12] = static_cast<uint8_t>(ethertype >> 8);
        request.data[13] = static_cast<uint8_t>(ethertype);
      }
      same(request, fmt::format("{} bytes of ethertype {}", size, ethertype));
    }
  }
  for (const uint32_t size : {3519u, 3520u, 3521u, 4000u, 65535u, 65536u, 73152u, 73153u, 80000u}) {
    test::RunRequest request;
    request.data = Bytes(size, 0x42);
    request.data_room = size + 100;
    same(request, fmt::format("{} bytes", size));
  }
}

TEST_P(TestRunAgainstKernel, CutsTheAnswerToTheRoomThatThereIs) {
  for (const uint32_t size : {100u, 5000u}) {
    if (size > 3500 && GetParam() != BPF_PROG_TYPE_XDP) continue;
    for (const uint32_t room : {0u, 1u, 50u, 99u, 100u, 101u, 1479u, 1480u, 1481u, 4999u, 5000u}) {
      test::RunRequest request;
      request.data = Bytes(size, 0x42);
      request.data_room = room;
      same(request, fmt::format("{} bytes, room for {}", size, room));
    }
    test::RunRequest request;
    request.data = Bytes(size, 0x42);
    request.wants_data = false;
    same(request, "no room at all");
  }
}

TEST_P(TestRunAgainstKernel, TakesAndGivesContextsOfEverySize) {
  for (uint32_t size = 0; size <= context_size() + 16; size += 4) {
    test::RunRequest request;
    request.data = Bytes(100, 0x42);
    request.context_room = size;
    same(request, fmt::format("room for {} bytes of context", size));
    request.context = Bytes(size, 0);
    if (GetParam() == BPF_PROG_TYPE_XDP && size >= 8) request.context[4] = 100;
    same(request, fmt::format("{} bytes of context", size));
    request.context.resize(size + 8);
    request.context.back() = 1;
    same(request, fmt::format("{} bytes of context, the last one set", size + 8));
  }
}

TEST_P(TestRunAgainstKernel, TakesTheContextFieldsThatLinuxTakes) {
  for (uint32_t offset = 0; offset < context_size(); offset += 4) {
    for (const uint32_t value :
         {1u, 2u, 3u, 4u, 8u, 99u, 100u, 101u, 216u, 220u, 65535u, 65536u, 65537u, 0x80000000u}) {
      // The emulated machine has but the loopback device, this one may have more.
      const bool names_device =
          offset == (GetParam() == BPF_PROG_TYPE_XDP ? offsetof(xdp_md, ingress_ifindex)
                                                     : offsetof(__sk_buff, ifindex));
      std::array<char, IF_NAMESIZE> name{};
      if (names_device && value > 1 && if_indextoname(value, name.data()) != nullptr) continue;
      test::RunRequest request;
      request.data = Bytes(100, 0x42);
      request.context = Bytes(context_size());
      request.context_room = context_size();
      if (GetParam() == BPF_PROG_TYPE_XDP) request.context[4] = 100;
      std::memcpy(request.context.data() + offset, &value, 4);
      same(request, fmt::format("{} at offset {}", value, offset));
    }
  }
}

TEST_P(TestRunAgainstKernel, AnswersOddAttributesAlike) {
  Bytes room(256);
  same_call("plain", [](bpf_attr&) {});
  same_call("repeat", [](bpf_attr& a) { a.test.repeat = 10; });
  same_call("unknown flags", [](bpf_attr& a) { a.test.flags = 1u << 20; });
  same_call("cpu", [](bpf_attr& a) { a.test.cpu = 1; });
  same_call("batch size", [](bpf_attr& a) { a.test.batch_size = 1; });
  same_call("no data", [](bpf_attr& a) { a.test.data_in = 0; });
  same_call("context without size",
            [&](bpf_attr& a) { a.test.ctx_in = test::address_of(room.data()); });
  same_call("size without context", [](bpf_attr& a) { a.test.ctx_size_in = 8; });
  same_call("room without size",
            [&](bpf_attr& a) { a.test.ctx_out = test::address_of(room.data()); });
  same_call("size without room", [](bpf_attr& a) { a.test.ctx_size_out = 8; });
}

INSTANTIATE_TEST_SUITE_P(Types, TestRunAgainstKernel,
                         testing::Values(BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
                                         BPF_PROG_TYPE_SOCKET_FILTER),
                         [](const auto& row) {
                           return std::string(find_program_type(row.param)->name);
                         });

// Runs a program that gives one field of its context, or bytes of the packet, on both sides.
class TestRunPrograms : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  void same(bpf_prog_type type, const test::Instructions& program, const test::RunRequest& request,
            const std::string& what) {
    const test::Descriptor ours = emulated_.load(type, program);
    const test::Descriptor theirs = real_.load(type, program);
    ASSERT_EQ(ours.error(), 0) << what;
    ASSERT_EQ(theirs.error(), 0) << what;
    const test::RunAnswer answer = emulated_.run(ours.fd(), request);
    const test::RunAnswer expected = real_.run(theirs.fd(), request);
    EXPECT_EQ(answer, expected) << what << ": " << test::difference(answer, expected);
  }

  static test::RunRequest request(bool with_context) {
    test::RunRequest made;
    for (uint8_t i = 0; i < 100; ++i) made.data.push_back(i);
    if (with_context) made.context = Bytes(sizeof(__sk_buff));
    return made;
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  test::EmulatedKernel emulated_{kernel_};
  test::RealKernel real_;
};

TEST_F(TestRunPrograms, SeeTheLengthOnTheWireOnlyWithAContext) {
  for (const bool with_context : {false, true}) {
    for (const size_t field : {offsetof(__sk_buff, wire_len), offsetof(__sk_buff, len)}) {
      const test::Instructions program = {
          test::load(4, test::r0, test::r1, static_cast<int16_t>(field)), test::leave()};
      same(BPF_PROG_TYPE_SCHED_CLS, program, request(with_context),
           fmt::format("offset {}, context {}", field, with_context));
    }
  }
}

TEST_F(TestRunPrograms, OfASocketSeeWhatFollowsTheLinkLayer) {
  constexpr auto kLength = static_cast<int16_t>(offsetof(__sk_buff, len));
  same(BPF_PROG_TYPE_SOCKET_FILTER, {test::load(4, test::r0, test::r1, kLength), test::leave()},
       request(true), "length");
  for (const int32_t offset : {0, 1, 82, 83, 85, 86, -1, SKF_NET_OFF, SKF_NET_OFF + 82,
                               SKF_NET_OFF + 83, SKF_LL_OFF, SKF_LL_OFF + 13, SKF_LL_OFF + 97}) {
    bpf_insn read{};
    read.code = BPF_LD | BPF_ABS | BPF_W;
    read.imm = offset;
    same(BPF_PROG_TYPE_SOCKET_FILTER, {test::move(test::r6, test::r1), read, test::leave()},
         request(true), fmt::format("load at {}", offset));
  }
}

}  // namespace
}  // namespace xnic::vm

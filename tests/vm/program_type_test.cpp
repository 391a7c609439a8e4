// Contexts: every access that Linux permits is answered, with the value that Linux gives, and every
// one that its verifier refuses is refused. The oracle is the running kernel; what holds without it
// is in the first tests.
#include "vm/program_type.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include <array>
#include <cstring>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"

namespace xnic::vm {
namespace {

using test::Bytes;
using test::Instructions;

constexpr std::array<uint32_t, 4> kSizes = {1, 2, 4, 8};

TEST(ProgramType, RowsDoNotOverlapAndLieWithinTheContext) {
  for (const ProgramType& type : program_types()) {
    std::vector<bool> taken(type.context_size);
    for (const ContextField& field : type.fields) {
      for (uint32_t i = field.offset; i < field.offset + field.size; ++i) {
        ASSERT_LT(i, type.context_size) << field.name;
        EXPECT_FALSE(taken[i]) << type.name << " " << field.name;
        taken[i] = true;
      }
      EXPECT_EQ(field.writable, field.store != nullptr) << field.name;
    }
  }
}

// linux/bpf.h, enum xdp_action; bpf_prog_run_xdp's callers take any other code for XDP_ABORTED.
TEST(ProgramType, NamesXdpVerdictsAndAbortsUnknownCodes) {
  const ProgramType& xdp = *find_program_type(BPF_PROG_TYPE_XDP);
  const std::array<std::string_view, 5> names = {"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX",
                                                 "XDP_REDIRECT"};
  for (uint32_t code = 0; code < names.size(); ++code)
    EXPECT_EQ(xdp.verdict_name(code), names[code]);
  for (const uint32_t code : {5u, 6u, 77u, 0x80000000u, 0xffffffffu}) {
    EXPECT_EQ(xdp.verdict_name(code), "XDP_ABORTED") << code;
    EXPECT_EQ(xdp.action(code), Action::aborted) << code;
  }
  EXPECT_EQ(xdp.action(XDP_DROP), Action::drop);
  EXPECT_EQ(xdp.action(XDP_PASS), Action::pass);
  EXPECT_EQ(xdp.action(XDP_TX), Action::tx);
  EXPECT_EQ(xdp.action(XDP_REDIRECT), Action::redirect);
}

// linux/pkt_cls.h; cls_bpf's direct action knows six codes, and goes on with TC_ACT_UNSPEC else.
TEST(ProgramType, NamesDirectActionVerdictsAndGoesOnWithUnknownCodes) {
  const ProgramType& tc = *find_program_type(BPF_PROG_TYPE_SCHED_CLS);
  struct Case {
    int code;
    std::string_view name;
    Action action;
  };
  const Case cases[] = {
      {TC_ACT_UNSPEC, "TC_ACT_UNSPEC", Action::pass},
      {TC_ACT_OK, "TC_ACT_OK", Action::pass},
      {TC_ACT_SHOT, "TC_ACT_SHOT", Action::drop},
      {TC_ACT_STOLEN, "TC_ACT_STOLEN", Action::consumed},
      {TC_ACT_TRAP, "TC_ACT_TRAP", Action::consumed},
      {TC_ACT_REDIRECT, "TC_ACT_REDIRECT", Action::redirect},
      {TC_ACT_RECLASSIFY, "TC_ACT_UNSPEC", Action::pass},
      {TC_ACT_REPEAT, "TC_ACT_UNSPEC", Action::pass},
      {100, "TC_ACT_UNSPEC", Action::pass},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(tc.verdict_name(static_cast<uint32_t>(c.code)), c.name) << c.code;
    EXPECT_EQ(tc.action(static_cast<uint32_t>(c.code)), c.action) << c.code;
  }
}

struct TypeCase {
  bpf_prog_type type;
  uint32_t context_size;
};
void PrintTo(const TypeCase& row, std::ostream* out) { *out << find_program_type(row.type)->name; }

class ContextAgainstKernel : public testing::TestWithParam<TypeCase> {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  bool kernel_accepts(const Instructions& program) {
    return theirs_.load(GetParam().type, program).error() == 0;
  }
  const ProgramType& type() const { return *find_program_type(GetParam().type); }

  // Both kernels run the program on a few packets and contexts.
  void compare_runs(const Instructions& program, const std::string& what) {
    const test::Descriptor ours = ours_.load(GetParam().type, program);
    const test::Descriptor theirs = theirs_.load(GetParam().type, program);
    ASSERT_EQ(theirs.error(), 0) << what;
    ASSERT_EQ(ours.error(), 0) << what;
    for (const Bytes& context : contexts()) {
      for (const int ethertype : {0x0800, 0x86dd, 0x8100, 0x0026}) {
        test::RunRequest request;
        request.data = frame(ethertype);
        request.context = context;
        request.context_room = GetParam().context_size;
        const test::RunAnswer answer = ours_.run(ours.fd(), request);
        const test::RunAnswer expected = theirs_.run(theirs.fd(), request);
        EXPECT_EQ(expected.error, 0);
        EXPECT_EQ(answer, expected)
            << what << ", ethertype " << ethertype << ": " << test::difference(answer, expected);
      }
    }
  }

  // Runs what writes the field through r6, and then reads it whole and in parts.
  void read_back(const ContextField& field, const Instructions& write, const std::string& what) {
    using namespace test;  // NOLINT: the instructions' names
    for (const auto& [size, inside] :
         {std::pair<uint32_t, uint32_t>{field.size, 0}, {2, 2}, {1, 1}}) {
      const bpf_insn read = load(size, r0, r6, static_cast<int16_t>(field.offset + inside));
      if (!kernel_accepts(Instructions{move(r6, r1), read, leave()})) continue;
      compare_runs(write + Instructions{read, leave()},
                   fmt::format("{}, then read {} bytes at {}", what, size, inside));
    }
  }

  static Bytes frame(int ethertype) {
    Bytes bytes(90, 0x11);
    bytes[12] = static_cast<uint8_t>(ethertype >> 8);
    bytes[13] = static_cast<uint8_t>(ethertype);
    return bytes;
  }

  std::vector<Bytes> contexts() const {
    if (GetParam().type == BPF_PROG_TYPE_XDP) {
      xdp_md with_metadata{};
      with_metadata.data = 8;
      with_metadata.data_end = 90;
      with_metadata.ingress_ifindex = 1;
      return {{}, bytes_of(with_metadata)};
    }
    __sk_buff set{};
    set.mark = 0x01020304;
    set.priority = 0x05060708;
    set.ingress_ifindex = 11;
    set.ifindex = 1;
    for (uint32_t i = 0; i < 5; ++i) set.cb[i] = 0x10203040 + i;
    set.tstamp = 0x1122334455667788;
    set.wire_len = 2000;
    set.gso_segs = 3;
    set.gso_size = 10;
    set.hwtstamp = 0x0807060504030201;
    return {{}, bytes_of(set)};
  }

  template <class T>
  static Bytes bytes_of(const T& value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    return {bytes, bytes + sizeof value};
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  test::EmulatedKernel ours_{kernel_};
  test::RealKernel theirs_;
};

std::string access_name(const char* verb, uint32_t size, uint32_t offset) {
  return fmt::format("{} {} bytes at offset {}", verb, size, offset);
}

TEST_P(ContextAgainstKernel, PermitsTheReadsThatLinuxPermits) {
  using namespace test;  // NOLINT: the instructions' names
  const Packet packet(frame(0x0800));
  int permitted = 0;
  for (uint32_t offset = 0; offset < GetParam().context_size + 16; ++offset) {
    for (const uint32_t size : kSizes) {
      const bool expected =
          kernel_accepts({load(size, r0, r1, static_cast<int16_t>(offset)), move(r0, 0), leave()});
      uint64_t value = 0;
      EXPECT_EQ(type().load(packet, offset, size, value), expected)
          << access_name("read", size, offset);
      permitted += expected ? 1 : 0;
    }
  }
  EXPECT_GT(permitted, 4);
}

TEST_P(ContextAgainstKernel, PermitsTheWritesThatLinuxPermits) {
  using namespace test;  // NOLINT: the instructions' names
  for (uint32_t offset = 0; offset < GetParam().context_size + 16; ++offset) {
    for (const uint32_t size : kSizes) {
      const bool expected =
          kernel_accepts({move(r0, 0), store(size, r1, static_cast<int16_t>(offset), r0), leave()});
      Packet packet(frame(0x0800));
      EXPECT_EQ(type().store(packet, offset, size, 0), expected)
          << access_name("write", size, offset);
    }
  }
}

TEST_P(ContextAgainstKernel, ReadsTheValuesThatLinuxReads) {
  using namespace test;  // NOLINT: the instructions' names
  for (const ContextField& field : type().fields) {
    if (field.is_address()) continue;  // addresses are each kernel's own
    for (uint32_t offset = field.offset; offset < field.offset + field.size; ++offset) {
      for (const uint32_t size : kSizes) {
        const auto at = static_cast<int16_t>(offset);
        if (!kernel_accepts({load(size, r0, r1, at), leave()})) continue;
        const std::string what =
            fmt::format("{}: {}", field.name, access_name("read", size, offset));
        compare_runs({load(size, r0, r1, at), leave()}, what);
        compare_runs({load(size, r0, r1, at), alu(BPF_RSH, r0, 32), leave()}, what + ", high half");
      }
    }
  }
}

TEST_P(ContextAgainstKernel, LeavesWhatLinuxLeavesAfterAWrite) {
  using namespace test;  // NOLINT: the instructions' names
  int written = 0;
  for (const ContextField& field : type().fields) {
    for (uint32_t offset = field.offset; offset < field.offset + field.size; ++offset) {
      for (const uint32_t size : kSizes) {
        const auto at = static_cast<int16_t>(offset);
        if (!kernel_accepts({move(r0, 0), store(size, r1, at, r0), leave()})) continue;
        ++written;
        for (const int32_t value : {0, 1, 0x7ffe, 0xffff, 0x12345678, -1, -2}) {
          const std::string what =
              fmt::format("{}: {} of {}", field.name, access_name("write", size, offset), value);
          read_back(field, {move(r6, r1), move(r0, value), store(size, r6, at, r0)}, what);
          // Linux compares this immediate as a signed number, and a register's as unsigned.
          if (field.name == "queue_mapping" && value < 0) continue;
          if (!kernel_accepts({store(size, r1, at, value), move(r0, 0), leave()})) continue;
          read_back(field, {move(r6, r1), store(size, r6, at, value)}, what + " as an immediate");
        }
      }
    }
  }
  EXPECT_EQ(written > 0, GetParam().type != BPF_PROG_TYPE_XDP);
}

INSTANTIATE_TEST_SUITE_P(Types, ContextAgainstKernel,
                         testing::Values(TypeCase{BPF_PROG_TYPE_XDP, sizeof(xdp_md)},
                                         TypeCase{BPF_PROG_TYPE_SCHED_CLS, sizeof(__sk_buff)}),
                         [](const auto& row) {
                           return std::string(find_program_type(row.param.type)->name);
                         });

// Socket filters run nowhere here, but libbpf loads them; their rows are held to the same verdicts.
TEST(ProgramType, PermitsToSocketFiltersWhatLinuxPermits) {
  using namespace test;  // NOLINT: the instructions' names
  XNIC_NEEDS_REAL_KERNEL();
  RealKernel theirs;
  const ProgramType& type = *find_program_type(BPF_PROG_TYPE_SOCKET_FILTER);
  for (uint32_t offset = 0; offset < sizeof(__sk_buff) + 8; ++offset) {
    for (const uint32_t size : kSizes) {
      const auto at = static_cast<int16_t>(offset);
      Packet packet(Bytes(64));
      uint64_t value = 0;
      EXPECT_EQ(type.load(packet, offset, size, value),
                theirs.load(type.type, {load(size, r0, r1, at), move(r0, 0), leave()}).error() == 0)
          << access_name("read", size, offset);
      EXPECT_EQ(
          type.store(packet, offset, size, 0),
          theirs.load(type.type, {move(r0, 0), store(size, r1, at, r0), leave()}).error() == 0)
          << access_name("write", size, offset);
    }
  }
}

}  // namespace
}  // namespace xnic::vm

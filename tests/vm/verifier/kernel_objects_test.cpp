// Programs that are given the kernel's own objects: each is judged by Linux and by xnic with the
// types of the kernel of this machine.
#include "vm/verifier/kernel_objects.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"
#include "vm/kernel_face.h"

namespace xnic::test {
namespace {

constexpr char kTypes[] = "/sys/kernel/btf/vmlinux";

class KernelObjects : public testing::Test {
 protected:
  void SetUp() override {
    XNIC_NEEDS_REAL_KERNEL();
    types_ = vm::read_kernel_types(kTypes);
    if (types_ == nullptr) GTEST_SKIP() << kTypes << " cannot be read";
    kernel_.emplace(interpreter_, vm::KernelOptions{.types = types_});
    ours_.emplace(*kernel_);
  }

  uint32_t id(const char* name, uint32_t kind) const {
    const int found = btf__find_by_name_kind(types_->parsed(), name, kind);
    return found < 0 ? 0 : static_cast<uint32_t>(found);
  }
  // Bytes from the start of a struct; -1 if it has no such member of its own, nor in a union
  // without a name.
  int16_t offset_of(const char* of, std::string_view member) const {
    return offset_of(btf__type_by_id(types_->parsed(), id(of, BTF_KIND_STRUCT)), member);
  }
  int16_t offset_of(const btf_type* type, std::string_view member) const {
    if (!btf_is_composite(type)) return -1;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& one = btf_members(type)[i];
      const auto start = static_cast<int16_t>(btf_member_bit_offset(type, i) / 8);
      if (types_->string_at(one.name_off) == member) return start;
      if (one.name_off != 0) continue;
      const int16_t within = offset_of(btf__type_by_id(types_->parsed(), one.type), member);
      if (within >= 0) return static_cast<int16_t>(start + within);
    }
    return -1;
  }
  bpf_insn kfunc(const char* name) const {
    bpf_insn insn = call(static_cast<int32_t>(id(name, BTF_KIND_FUNC)));
    insn.src_reg = 2;
    return insn;
  }

  struct Attachment {
    bpf_prog_type type = BPF_PROG_TYPE_TRACING;
    uint32_t attach_type = BPF_TRACE_RAW_TP;
    uint32_t type_id = 0;
  };
  bool takes(BpfHost& host, const Attachment& at, const Instructions& code,
             std::string& log) const {
    log.assign(1 << 16, '\0');
    bpf_attr attr{};
    attr.prog_type = at.type;
    attr.expected_attach_type = at.attach_type;
    attr.attach_btf_id = at.type_id;
    attr.insns = address_of(code.data());
    attr.insn_cnt = static_cast<uint32_t>(code.size());
    attr.license = address_of("GPL");
    attr.log_buf = address_of(log.data());
    attr.log_size = static_cast<uint32_t>(log.size());
    attr.log_level = 1;
    const Descriptor program(host.bpf(BPF_PROG_LOAD, attr));
    log = log.c_str();
    return program.error() == 0;
  }
  // Both say so.
  void expect(bool accepted, const Attachment& at, const Instructions& code, const char* what) {
    std::string log;
    ASSERT_EQ(takes(theirs_, at, code, log), accepted) << what << ", Linux: " << log;
    EXPECT_EQ(takes(*ours_, at, code, log), accepted) << what << ", xnic: " << log;
  }
  // A tracepoint: void *, bool preempt, struct task_struct *prev, *next, ...
  Attachment task_switch() const {
    return {.type_id = id("btf_trace_sched_switch", BTF_KIND_TYPEDEF)};
  }
  // The new task in r6.
  static Instructions with_task(const Instructions& rest) {
    return Instructions{test::load(8, r6, r1, 16)} + rest + Instructions{move(r0, 0), leave()};
  }

  std::shared_ptr<const vm::Btf> types_;
  vm::Interpreter interpreter_;
  std::optional<vm::Kernel> kernel_;
  std::optional<EmulatedKernel> ours_;
  RealKernel theirs_;
};

TEST_F(KernelObjects, AreReadFieldByField) {
  const int16_t pid = offset_of("task_struct", "pid");
  const int16_t parent = offset_of("task_struct", "real_parent");
  ASSERT_GT(pid, 0);
  ASSERT_GT(parent, 0);
  const auto at = task_switch();
  expect(true, at, with_task({test::load(4, r0, r6, pid)}), "a number");
  expect(true, at, with_task({test::load(8, r7, r6, parent), test::load(4, r0, r7, pid)}),
         "a number behind a pointer");
  expect(false, at, with_task({test::load(4, r0, r6, 0x7ff0)}), "behind the end");
  expect(false, at, with_task({test::load(4, r0, r6, parent)}), "half a pointer");
  expect(false, at, with_task({test::load(4, r0, r6, -8)}), "before the start");
  expect(false, at, with_task({store(4, r6, pid, 1)}), "written");
  expect(
      false, at,
      with_task({call(BPF_FUNC_get_prandom_u32), alu(BPF_ADD, r6, r0), test::load(4, r0, r6, 0)}),
      "an offset that is not known");
}

TEST_F(KernelObjects, AreGivenAsTheTracepointSays) {
  const auto at = task_switch();
  const auto reading = [](int16_t offset, uint32_t size) {
    return Instructions{test::load(size, r0, r1, offset), move(r0, 0), leave()};
  };
  expect(true, at, reading(0, 8), "a number");
  expect(true, at, reading(16, 8), "a pointer");
  expect(false, at, reading(16, 4), "half a pointer");
  expect(false, at, reading(4, 4), "within an argument");
  expect(false, at, reading(96, 8), "behind the last argument");
  expect(false, at, {store(8, r1, 0, 1), move(r0, 0), leave()}, "written");
}

TEST_F(KernelObjects, MayBeNullWhereTheTracepointGivesNone) {
  const Attachment at{.type_id = id("btf_trace_sched_pi_setprio", BTF_KIND_TYPEDEF)};
  if (at.type_id == 0) GTEST_SKIP() << "this kernel has no tracepoint sched_pi_setprio";
  const int16_t pid = offset_of("task_struct", "pid");
  expect(false, at, {test::load(8, r6, r1, 8), test::load(4, r0, r6, pid), move(r0, 0), leave()},
         "unchecked");
  expect(true, at,
         {test::load(8, r6, r1, 8), jump(BPF_JEQ, r6, 0, 1), test::load(4, r0, r6, pid),
          move(r0, 0), leave()},
         "checked");
}

TEST_F(KernelObjects, AreAcquiredAndGivenBack) {
  const auto at = task_switch();
  const Instructions acquire = {move(r1, r6), kfunc("bpf_task_acquire")};
  const Instructions release = {jump(BPF_JEQ, r0, 0, 2), move(r1, r0), kfunc("bpf_task_release")};
  expect(true, at, with_task(acquire + release), "both");
  expect(false, at, with_task(acquire), "only acquired");
  expect(false, at, with_task(Instructions{move(r1, r6), kfunc("bpf_task_release")}),
         "never acquired");
  expect(false, at, with_task(acquire + Instructions{move(r1, r0), kfunc("bpf_task_release")}),
         "perhaps NULL");
  const int16_t last = offset_of("task_struct", "last_wakee");
  if (last > 0) {
    expect(false, at, with_task(Instructions{test::load(8, r6, r6, last)} + acquire + release),
           "of a pointer that nobody vouches for");
  }
}

TEST_F(KernelObjects, OfAUnionAreNotVouchedFor) {
  const Attachment at{.type_id = id("btf_trace_tcp_probe", BTF_KIND_TYPEDEF)};
  const int16_t listener = offset_of("sock_common", "skc_listener");
  if (at.type_id == 0 || listener < 0) GTEST_SKIP() << "this kernel has no such tracepoint";
  // The socket that the tracepoint gives in r6.
  const auto casting = [](const Instructions& to_r1) {
    return Instructions{test::load(8, r6, r1, 0)} + to_r1 +
           Instructions{call(BPF_FUNC_skc_to_tcp_sock), move(r0, 0), leave()};
  };
  expect(true, at, casting({move(r1, r6)}), "the socket itself");
  expect(false, at, casting({test::load(8, r1, r6, listener)}), "a socket in a union");
}

TEST_F(KernelObjects, OfAnIteratorMayBeNull) {
  const Attachment at{.attach_type = BPF_TRACE_ITER, .type_id = id("bpf_iter_task", BTF_KIND_FUNC)};
  const int16_t pid = offset_of("task_struct", "pid");
  expect(false, at, {test::load(8, r6, r1, 8), test::load(4, r0, r6, pid), move(r0, 0), leave()},
         "unchecked");
  expect(true, at,
         {test::load(8, r6, r1, 8), jump(BPF_JEQ, r6, 0, 1), test::load(4, r0, r6, pid),
          move(r0, 0), leave()},
         "checked");
  expect(false, at, {move(r0, 2), leave()}, "a result that iterators do not have");
}

TEST_F(KernelObjects, TakeWhatCongestionControlSets) {
  const Attachment at{.type = BPF_PROG_TYPE_STRUCT_OPS,
                      .attach_type = 1,
                      .type_id = id("tcp_congestion_ops", BTF_KIND_STRUCT)};
  const int16_t window = offset_of("tcp_sock", "snd_cwnd");
  const int16_t next = offset_of("tcp_sock", "rcv_nxt");
  std::string log;
  if (!takes(theirs_, at, {move(r0, 0), leave()}, log)) {
    GTEST_SKIP() << "this kernel does not load such programs: " << log;
  }
  const auto with_socket = [](const bpf_insn& rest) {
    return Instructions{test::load(8, r6, r1, 0), rest, move(r0, 0), leave()};
  };
  if (window > 0) expect(true, at, with_socket(store(4, r6, window, 2)), "the window");
  if (next > 0) expect(false, at, with_socket(store(4, r6, next, 2)), "another field");
}

}  // namespace
}  // namespace xnic::test

// Whole programs: what the verifier says of each, and that Linux says the same where it can be
// asked. Random programs are held against Linux besides: none may be accepted that it rejects.
#include "vm/verifier/analysis.h"

#include <gtest/gtest.h>

#include "tests/support/bpf_host.h"
#include "tests/vm/verifier/random_program.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

class Hosts {
 public:
  Hosts() : kernel_(interpreter_, {.possible_cpus = real_possible_cpus()}), ours_(kernel_) {}

  // 0 or -errno, and our log.
  long ours(const Instructions& code, std::string* log = nullptr) { return load(ours_, code, log); }
  long linux_says(const Instructions& code, std::string* log = nullptr) {
    return load(real_, code, log);
  }

 private:
  static long load(BpfHost& host, const Instructions& wanted, std::string* log) {
    const Descriptor map = host.create_map(BPF_MAP_TYPE_ARRAY, 4, 16, 2);
    const Instructions code = with_map(wanted, map.fd());
    std::vector<char> text(1 << 20);
    bpf_attr attr{};
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = address_of(code.data());
    attr.insn_cnt = static_cast<uint32_t>(code.size());
    attr.license = address_of("GPL");
    if (log != nullptr) {
      attr.log_buf = address_of(text.data());
      attr.log_size = static_cast<uint32_t>(text.size());
      attr.log_level = 1;
    }
    const Descriptor program(host.bpf(BPF_PROG_LOAD, attr));
    if (log != nullptr) *log = text.data();
    return program.error();
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_;
  EmulatedKernel ours_;
  RealKernel real_;
};

struct Row {
  const char* name;
  Instructions code;
  long error;
  const char* message;  // part of the log
};

Instructions lookup(int32_t key) {
  return Instructions{store(4, r10, -8, key), move(r2, r10), alu(BPF_ADD, r2, -8)} +
         load_map(r1, kMapFd) + Instructions{call(BPF_FUNC_map_lookup_elem)};
}

// r2 = data, r3 = data_end
const Instructions kPacket = {load(4, r2, r1, 0), load(4, r3, r1, 4)};
const Instructions kEnd = {move(r0, 2), leave()};

std::vector<Row> rows() {
  return {
      {"smallest", kEnd, 0, ""},
      {"no result", {leave()}, -EACCES, "R0 !read_ok"},
      {"unwritten register", {move(r0, r3), leave()}, -EACCES, "R3 !read_ok"},
      {"packet without bounds", kPacket + Instructions{load(1, r0, r2, 0)} + kEnd, -EACCES,
       "outside of the packet"},
      {"packet with bounds",
       kPacket +
           Instructions{move(r4, r2), alu(BPF_ADD, r4, 14), jump(BPF_JGT, r4, r3, 1),
                        load(1, r0, r2, 13)} +
           kEnd,
       0, ""},
      {"packet one byte behind its bounds",
       kPacket +
           Instructions{move(r4, r2), alu(BPF_ADD, r4, 14), jump(BPF_JGT, r4, r3, 1),
                        load(1, r0, r2, 14)} +
           kEnd,
       -EACCES, "off=14 size=1"},
      {"packet at a variable offset",
       kPacket +
           Instructions{move(r5, r2), alu(BPF_ADD, r5, 1), jump(BPF_JGT, r5, r3, 6),
                        load(1, r4, r2, 0), alu(BPF_AND, r4, 15), alu(BPF_ADD, r2, r4),
                        move(r5, r2), alu(BPF_ADD, r5, 4), jump(BPF_JGT, r5, r3, 1),
                        load(4, r0, r2, 0)} +
           kEnd,
       -EACCES, ""},
      {"packet pointer after it moved",
       kPacket +
           Instructions{move(r6, r1), move(r7, r2), move(r4, r2), alu(BPF_ADD, r4, 14),
                        jump(BPF_JGT, r4, r3, 4), move(r1, r6), move(r2, 0),
                        call(BPF_FUNC_xdp_adjust_head), load(1, r0, r7, 0)} +
           kEnd,
       -EACCES, "invalid mem access 'scalar'"},
      {"value without NULL check",
       Instructions{call(BPF_FUNC_get_prandom_u32), store(4, r10, -4, r0), move(r2, r10),
                    alu(BPF_ADD, r2, -4)} +
           load_map(r1, kMapFd) + Instructions{call(BPF_FUNC_map_lookup_elem), load(8, r0, r0, 0)} +
           kEnd,
       -EACCES, "map_value_or_null"},
      {"value of a key that is always there", lookup(1) + Instructions{load(8, r0, r0, 8)} + kEnd,
       0, ""},
      {"value of a key that is never there", lookup(2) + Instructions{load(8, r0, r0, 8)} + kEnd,
       -EACCES, "map_value_or_null"},
      {"behind a value", lookup(0) + Instructions{load(8, r0, r0, 9)} + kEnd, -EACCES,
       "invalid access to map value"},
      {"before a value", lookup(0) + Instructions{load(8, r0, r0, -1)} + kEnd, -EACCES, "R0"},
      {"value at a bounded index",
       lookup(0) +
           Instructions{move(r6, r0), call(BPF_FUNC_get_prandom_u32), alu(BPF_AND, r0, 15),
                        alu(BPF_ADD, r6, r0), load(1, r0, r6, 0)} +
           kEnd,
       0, ""},
      {"value at an index one too large",
       lookup(0) +
           Instructions{move(r6, r0), call(BPF_FUNC_get_prandom_u32), alu(BPF_AND, r0, 16),
                        alu(BPF_ADD, r6, r0), load(1, r0, r6, 0)} +
           kEnd,
       -EACCES, "invalid access to map value"},
      {"below the stack", Instructions{store(8, r10, -520, 0)} + kEnd, -EACCES, "stack"},
      {"above the stack", Instructions{store(8, r10, 0, 0)} + kEnd, -EACCES, "stack"},
      {"across words of the stack", Instructions{store(8, r10, -12, 0)} + kEnd, -EACCES,
       "misaligned"},
      {"part of a spilled pointer",
       Instructions{store(8, r10, -8, r1), load(4, r0, r10, -8)} + kEnd, -EACCES,
       "invalid size of register fill"},
      {"spilled pointer",
       Instructions{store(8, r10, -8, r1), load(8, r2, r10, -8), load(4, r0, r2, 0)} + kEnd, 0, ""},
      {"bound kept through a spill",
       lookup(0) +
           Instructions{move(r6, r0), call(BPF_FUNC_get_prandom_u32), alu(BPF_AND, r0, 15),
                        store(8, r10, -16, r0), move(r0, 0), load(8, r1, r10, -16),
                        alu(BPF_ADD, r6, r1), load(1, r0, r6, 0)} +
           kEnd,
       0, ""},
      {"bound learnt of a copy",
       lookup(0) +
           Instructions{move(r6, r0), call(BPF_FUNC_get_prandom_u32), move(r7, r0),
                        jump(BPF_JGT, r0, 15, 2), alu(BPF_ADD, r6, r7), load(1, r0, r6, 0)} +
           kEnd,
       0, ""},
      {"least number forgotten where a bit is ruled out",
       lookup(0) +
           Instructions{move(r6, r0), call(BPF_FUNC_get_prandom_u32), jump(BPF_JLT, r0, 3, 5),
                        jump(BPF_JSET, r0, 64, 4), jump(BPF_JGT, r0, 15, 3), alu(BPF_SUB, r0, 3),
                        alu(BPF_ADD, r6, r0), load(1, r0, r6, 0)} +
           kEnd,
       -EACCES, "R6 min value is negative"},
      {"context at an odd place", Instructions{load(2, r0, r1, 0)} + kEnd, -EACCES,
       "invalid bpf_context access"},
      {"context that was moved", Instructions{alu(BPF_ADD, r1, 4), load(4, r0, r1, 0)} + kEnd,
       -EACCES, "dereference of modified ctx"},
      {"store to the context", Instructions{store(4, r1, 16, 0)} + kEnd, -EACCES,
       "invalid bpf_context access"},
      {"loop that ends",
       {move(r0, 0), alu(BPF_ADD, r0, 1), jump(BPF_JLT, r0, 100, -2), leave()},
       0,
       ""},
      {"loop that does not end",
       {move(r0, 0), jump(BPF_JEQ, r0, 0, -1), leave()},
       -EINVAL,
       "infinite loop detected"},
      {"loop over a number that nobody knows",
       {call(BPF_FUNC_get_prandom_u32), jump(BPF_JNE, r0, 5, -2), leave()},
       -EINVAL,
       ""},
      {"loop that takes too long",
       {move(r0, 0), alu(BPF_ADD, r0, 1), jump(BPF_JLT, r0, 1000000, -2), leave()},
       -E2BIG,
       "too large"},
      {"pointers multiplied", Instructions{alu(BPF_MUL, r1, 2)} + kEnd, -EACCES,
       "pointer arithmetic with *= operator prohibited"},
      {"pointers added", kPacket + Instructions{alu(BPF_ADD, r2, r3)} + kEnd, -EACCES,
       "pointer += pointer prohibited"},
      {"helper that reads what is not there",
       Instructions{move(r2, r10), alu(BPF_ADD, r2, -2)} + load_map(r1, kMapFd) +
           Instructions{call(BPF_FUNC_map_lookup_elem)} + kEnd,
       -EINVAL, "stack"},
      {"helper on a number",
       load_map(r1, kMapFd) + Instructions{move(r2, 7), call(BPF_FUNC_map_lookup_elem)} + kEnd,
       -EACCES, "R2 type=scalar"},
      {"helper without its arguments", Instructions{call(BPF_FUNC_map_lookup_elem)} + kEnd, -EACCES,
       ""},
      {"helper that does not exist", Instructions{call(9999)} + kEnd, -EINVAL, "invalid func"},
      {"helper where no path comes",
       Instructions{move(r1, 0), jump(BPF_JEQ, r1, 0, 1), call(9999)} + kEnd, 0, ""},
  };
}

TEST(Analysis, JudgesAsExpectedAndAsLinux) {
  const bool has_linux = why_no_real_kernel().empty();
  for (const Row& row : rows()) {
    Hosts hosts;
    std::string log;
    EXPECT_EQ(hosts.ours(row.code, &log), row.error) << row.name << "\n" << log;
    EXPECT_NE(log.find(row.message), std::string::npos) << row.name << "\n" << log;
    if (!has_linux) continue;
    EXPECT_EQ(hosts.linux_says(row.code), row.error) << row.name;
  }
}

TEST(Analysis, RefusesAProgramWhosePathsTakeTooMuchMemory) {
  vm::ProgramSpec spec;
  spec.type = BPF_PROG_TYPE_XDP;
  spec.instructions = {load(4, r2, r1, 12)};
  // Each leaves a path that waits.
  for (int32_t i = 0; i < 2000; ++i) spec.instructions.push_back(jump(BPF_JEQ, r2, 1000 + i, 0));
  spec.instructions = Instructions(spec.instructions) + kEnd;
  const std::vector<vm::Subprogram> whole = {
      {0, static_cast<uint32_t>(spec.instructions.size()), "main"}};
  EXPECT_FALSE(vm::verifier::analyse(spec, whole, {}, true, {}).refusal);
  const auto refusal =
      vm::verifier::analyse(spec, whole, {}, true, {.most_bytes = size_t{1} << 20}).refusal;
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->error, -ENOMEM);
  EXPECT_EQ(refusal->words, "The paths are too complex: their states take more than 1 MB.");
}

TEST(Analysis, AcceptsNoRandomProgramThatLinuxRejects) {
  XNIC_NEEDS_REAL_KERNEL();
  constexpr uint32_t kPrograms = 4000;
  // Of these, a branch that no number takes leaves a range and bits that exclude each other.
  std::vector<uint32_t> seeds = {1088083, 1099813, 1155426};
  for (uint32_t seed = 0; seed < kPrograms; ++seed) seeds.push_back(seed);
  uint32_t accepted = 0;
  uint32_t too_strict = 0;
  Hosts hosts;
  for (const uint32_t seed : seeds) {
    const Instructions code = RandomProgram(seed).make();
    std::string linux_log;
    std::string log;
    const bool linux_accepts = hosts.linux_says(code, &linux_log) == 0;
    const bool we_accept = hosts.ours(code, &log) == 0;
    if (linux_accepts) ++accepted;
    EXPECT_FALSE(we_accept && !linux_accepts) << "seed " << seed << "\n" << linux_log;
    if (!we_accept && linux_accepts) {
      ++too_strict;
      ADD_FAILURE() << "seed " << seed << ": Linux accepts what is refused here:\n" << log;
    }
  }
  // Of both kinds there are many.
  EXPECT_GT(accepted, kPrograms / 10);
  EXPECT_LT(accepted, kPrograms / 10 * 9);
}

}  // namespace
}  // namespace xnic::test

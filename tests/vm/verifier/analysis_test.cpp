// Whole programs: what the verifier says of each, and that Linux says the same where it can be
// asked. Random programs are held against Linux besides: none may be accepted that it rejects.
#include "vm/verifier/analysis.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

constexpr int kMapFd = -1;  // stands for the descriptor of the array in a row's program

class Hosts {
 public:
  Hosts()
      : kernel_(interpreter_, {.possible_cpus = real_possible_cpus(), .verify_values = true}),
        ours_(kernel_) {}

  // 0 or -errno, and our log.
  long ours(const Instructions& code, std::string* log = nullptr) { return load(ours_, code, log); }
  long linux_says(const Instructions& code, std::string* log = nullptr) {
    return load(real_, code, log);
  }

 private:
  static long load(BpfHost& host, Instructions code, std::string* log) {
    const Descriptor map = host.create_map(BPF_MAP_TYPE_ARRAY, 4, 16, 2);
    for (bpf_insn& insn : code) {
      if (insn.code == (BPF_LD | BPF_DW | BPF_IMM) && insn.src_reg == BPF_PSEUDO_MAP_FD) {
        insn.imm = map.fd();
      }
    }
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
  return Instructions{store(4, r10, -4, key), move(r2, r10), alu(BPF_ADD, r2, -4)} +
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
       -EACCES, "stack"},
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
    std::string linux_log;
    EXPECT_EQ(hosts.linux_says(row.code, &linux_log), row.error) << row.name << "\n" << linux_log;
  }
}

// Small programs that are likely to be almost right.
class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  Instructions program() {
    code_ = {move(r6, r1), load(4, r7, r6, 0), load(4, r8, r6, 4), load(4, r9, r6, 12)};
    for (int16_t at = -8; at >= -32; at = static_cast<int16_t>(at - 8)) {
      code_.push_back(store(8, r10, at, static_cast<int32_t>(pick(3))));
    }
    move_in(r0);
    for (const Register to : {r1, r2, r3, r4, r5}) move_in(to);
    if (pick(3) != 0) check_packet();
    if (pick(2) != 0) look_up();
    const uint32_t length = 4 + pick(24);
    for (uint32_t i = 0; i < length; ++i) step(length - i);
    code_.push_back(move(r0, 2));
    code_.push_back(leave());
    return code_;
  }

 private:
  uint32_t pick(uint32_t count) { return static_cast<uint32_t>(random_() % count); }
  Register any() { return static_cast<Register>(pick(11)); }
  Register target() { return static_cast<Register>(pick(6)); }
  int32_t constant() {
    static constexpr int32_t kEdges[] = {0,   1,         -1,        2,      4,  8,   14,  15,
                                         16,  31,        32,        63,     64, 255, 256, 511,
                                         512, INT32_MAX, INT32_MIN, 0xffff, -8, -16};
    return kEdges[pick(std::size(kEdges))];
  }
  uint32_t size() { return 1u << pick(4); }

  void move_in(Register to) {
    switch (pick(5)) {
      case 0:
        code_.push_back(move(to, constant()));
        break;
      case 1:
        code_.push_back(move(to, r9));
        break;
      case 2:
        code_.push_back(move(to, r7));
        break;
      case 3:
        code_.push_back(move(to, r10));
        break;
      default:
        code_.push_back(load(4, to, r6, 12));
        break;
    }
  }

  void check_packet() {
    const auto bytes = static_cast<int32_t>(1 + pick(40));
    static constexpr uint8_t kComparisons[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE};
    code_.push_back(move(r5, r7));
    code_.push_back(alu(BPF_ADD, r5, bytes));
    const uint8_t comparison = kComparisons[pick(4)];
    code_.push_back(pick(2) != 0 ? jump(comparison, r5, r8, 2) : jump(comparison, r8, r5, 2));
    // Both ways end here or go on, by chance.
    if (pick(2) != 0) {
      code_.push_back(move(r0, 1));
      code_.push_back(leave());
    } else {
      code_.push_back(load(size(), target(), r7, static_cast<int16_t>(pick(42))));
      code_.push_back(move(r5, constant()));
    }
  }

  void look_up() {
    const Instructions call_it = Instructions{store(4, r10, -4, static_cast<int32_t>(pick(4))),
                                              move(r2, r10), alu(BPF_ADD, r2, -4)} +
                                 load_map(r1, kMapFd) +
                                 Instructions{call(BPF_FUNC_map_lookup_elem)};
    code_ = code_ + call_it;
    if (pick(3) != 0) {
      code_.push_back(jump(BPF_JNE, r0, 0, 2));
      code_.push_back(move(r0, 1));
      code_.push_back(leave());
    }
    for (const Register to : {r1, r2, r3, r4, r5}) move_in(to);
  }

  void step(uint32_t left) {
    static constexpr uint8_t kAlu[] = {BPF_ADD, BPF_SUB, BPF_AND,  BPF_OR,  BPF_LSH, BPF_RSH,
                                       BPF_MUL, BPF_XOR, BPF_ARSH, BPF_ADD, BPF_AND, BPF_MOV};
    static constexpr uint8_t kJumps[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
                                         BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};
    bpf_insn insn{};
    switch (pick(10)) {
      case 0:
      case 1:
        insn = alu(kAlu[pick(std::size(kAlu))], target(), constant());
        if (is_shift(insn)) insn.imm = static_cast<int32_t>(pick(32));
        break;
      case 2:
      case 3:
        insn = alu(kAlu[pick(std::size(kAlu))], target(), any());
        break;
      case 4:
      case 5: {
        const auto distance = static_cast<int16_t>(pick(std::min(left, 5u)));
        const uint8_t condition = kJumps[pick(std::size(kJumps))];
        insn = pick(2) != 0 ? jump(condition, target(), constant(), distance)
                            : jump(condition, target(), any(), distance);
        if (pick(3) == 0) insn.code = (insn.code & ~7) | BPF_JMP32;
        break;
      }
      case 6:
        insn = load(size(), target(), any(), static_cast<int16_t>(pick(20)));
        break;
      case 7:
        insn =
            load(size(), target(), r10, static_cast<int16_t>(-8 * (1 + static_cast<int>(pick(4)))));
        break;
      case 8:
        insn =
            store(size(), r10, static_cast<int16_t>(-8 * (1 + static_cast<int>(pick(4)))), any());
        break;
      default:
        insn = pick(2) != 0 ? store(size(), any(), static_cast<int16_t>(pick(20)), target())
                            : move(target(), any());
        break;
    }
    const bool wide = (insn.code & 7) == BPF_ALU64;
    if (wide && pick(4) == 0) insn.code = static_cast<uint8_t>((insn.code & ~7) | BPF_ALU);
    code_.push_back(insn);
  }

  static bool is_shift(const bpf_insn& insn) {
    const int operation = BPF_OP(insn.code);
    return operation == BPF_LSH || operation == BPF_RSH || operation == BPF_ARSH;
  }

  std::mt19937 random_;
  Instructions code_;
};

TEST(Analysis, AcceptsNoRandomProgramThatLinuxRejects) {
  XNIC_NEEDS_REAL_KERNEL();
  constexpr uint32_t kPrograms = 4000;
  uint32_t accepted = 0;
  uint32_t too_strict = 0;
  Hosts hosts;
  for (uint32_t seed = 0; seed < kPrograms; ++seed) {
    const Instructions code = Generator(seed).program();
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
  EXPECT_GT(accepted, kPrograms / 50);
  EXPECT_LT(accepted, kPrograms / 10 * 9);
}

}  // namespace
}  // namespace xnic::test

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

// Small programs that are mostly right, and often just not: at the edges of the packet, of a map
// value of 16 bytes and of the stack, with numbers near the edges of ranges.
class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  // r6: context, r7: data, r8: data_end or the value, r9: a number that nobody knows; r0 to r5
  // come and go.
  Instructions program() {
    code_ = {move(r6, r1), load(4, r7, r6, 0), load(4, r8, r6, 4), load(4, r9, r6, 12)};
    for (int16_t at = -8; at >= -32; at = static_cast<int16_t>(at - 8)) {
      code_.push_back(store(8, r10, at, constant()));
    }
    for (const Register to : {r0, r1, r2, r3, r4, r5}) write_number(to);
    if (odds(2)) {
      check_packet();
    } else {
      look_up();
    }
    const uint32_t length = 3 + pick(20);
    for (uint32_t i = 0; i < length; ++i) step(length - i);
    code_.push_back(move(r0, 2));
    code_.push_back(leave());
    return code_;
  }

 private:
  uint32_t pick(uint32_t count) { return static_cast<uint32_t>(random_() % count); }
  bool odds(uint32_t against) { return pick(against) == 0; }
  Register scratch() { return static_cast<Register>(pick(6)); }
  // Mostly one that holds a number.
  Register number() {
    if (odds(40)) return static_cast<Register>(pick(11));
    for (int tries = 0; tries < 20; ++tries) {
      const Register r = scratch();
      if (!is_pointer_[r]) return r;
    }
    return r9;
  }
  int32_t constant() {
    static constexpr int32_t kEdges[] = {0,  1,   -1,  2,   3,         4,         7,     8,   14,
                                         15, 16,  31,  32,  63,        64,        255,   256, -4,
                                         -8, 511, 512, -16, INT32_MAX, INT32_MIN, 0xffff};
    return kEdges[pick(std::size(kEdges))];
  }
  uint32_t size() { return 1u << pick(4); }
  int16_t slot() { return static_cast<int16_t>(-8 * (1 + static_cast<int>(pick(4)))); }

  void write_number(Register to) {
    code_.push_back(odds(2) ? move(to, constant()) : move(to, r9));
    is_pointer_[to] = false;
  }

  void check_packet() {
    bytes_ = 1 + pick(24);
    static constexpr uint8_t kComparisons[] = {BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE};
    code_.push_back(move(r5, r7));
    code_.push_back(alu(BPF_ADD, r5, static_cast<int32_t>(bytes_)));
    const bool exchange = odds(2);
    const uint8_t comparison = kComparisons[odds(4) ? pick(4) : pick(2) + (exchange ? 2 : 0)];
    code_.push_back(exchange ? jump(comparison, r8, r5, 2) : jump(comparison, r5, r8, 2));
    base_ = r7;
    code_.push_back(jump(BPF_JA, r0, 0, 2));
    code_.push_back(move(r0, 1));
    code_.push_back(leave());
    write_number(r5);
  }

  void look_up() {
    code_ = code_ +
            Instructions{store(4, r10, -8, static_cast<int32_t>(pick(4))), move(r2, r10),
                         alu(BPF_ADD, r2, -8)} +
            load_map(r1, kMapFd) + Instructions{call(BPF_FUNC_map_lookup_elem)};
    if (!odds(8)) {
      code_.push_back(jump(BPF_JNE, r0, 0, 2));
      code_.push_back(move(r0, 1));
      code_.push_back(leave());
    }
    code_.push_back(move(r8, r0));
    bytes_ = 16;
    base_ = r8;
    for (const Register to : {r0, r1, r2, r3, r4, r5}) write_number(to);
  }

  void step(uint32_t left) {
    switch (pick(9)) {
      case 0:
      case 1:
        compute();
        return;
      case 2:
      case 3:
        branch(left);
        return;
      case 4:
        access();
        return;
      case 5:
        access_at_number();
        return;
      case 6:
        code_.push_back(store(odds(2) ? 8 : size(), r10, slot(), number()));
        return;
      case 7: {
        const Register to = scratch();
        code_.push_back(load(odds(2) ? 8 : size(), to, r10, slot()));
        is_pointer_[to] = false;
        return;
      }
      default:
        write_number(scratch());
        return;
    }
  }

  void compute() {
    static constexpr uint8_t kAlu[] = {BPF_ADD, BPF_SUB, BPF_AND,  BPF_OR,  BPF_LSH, BPF_RSH,
                                       BPF_MUL, BPF_XOR, BPF_ARSH, BPF_ADD, BPF_AND, BPF_MOV};
    const uint8_t operation = kAlu[pick(std::size(kAlu))];
    const Register to = number();
    bpf_insn insn = odds(2) ? alu(operation, to, constant()) : alu(operation, to, number());
    const bool wide = !odds(3);
    const bool shifts = operation == BPF_LSH || operation == BPF_RSH || operation == BPF_ARSH;
    if (BPF_SRC(insn.code) == BPF_K && shifts)
      insn.imm = static_cast<int32_t>(pick(wide ? 64 : 32));
    if (!wide) insn.code = static_cast<uint8_t>((insn.code & ~7) | BPF_ALU);
    code_.push_back(insn);
  }

  void branch(uint32_t left) {
    static constexpr uint8_t kJumps[] = {BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
                                         BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET};
    const auto distance = static_cast<int16_t>(pick(std::min(left, 4u)));
    const uint8_t condition = kJumps[pick(std::size(kJumps))];
    bpf_insn insn = odds(2) ? jump(condition, number(), constant(), distance)
                            : jump(condition, number(), number(), distance);
    if (odds(3)) insn.code = static_cast<uint8_t>((insn.code & ~7) | BPF_JMP32);
    code_.push_back(insn);
  }

  void access() {
    const uint32_t bytes = size();
    const auto at = static_cast<int16_t>(
        odds(12) ? pick(bytes_ + 2) : (bytes_ < bytes ? 0 : pick(bytes_ - bytes + 1)));
    const Register to = scratch();
    if (odds(3)) {
      code_.push_back(store(bytes, base_, at, number()));
    } else {
      code_.push_back(load(bytes, to, base_, at));
      is_pointer_[to] = false;
    }
  }

  // base[number], with or without a check that is sometimes right.
  void access_at_number() {
    const Register index = number();
    const Register pointer = scratch();
    if (index == pointer || index > r9) return;
    if (!odds(8)) {
      if (odds(2)) {
        code_.push_back(alu(BPF_AND, index, static_cast<int32_t>(odds(6) ? 15 : 7)));
      } else {
        code_.push_back(jump(odds(4) ? BPF_JSGT : BPF_JGT, index,
                             static_cast<int32_t>(odds(6) ? bytes_ : bytes_ / 2), 4));
      }
    }
    code_.push_back(move(pointer, base_));
    code_.push_back(alu(odds(8) ? BPF_SUB : BPF_ADD, pointer, index));
    code_.push_back(load(1, pointer, pointer, static_cast<int16_t>(odds(4) ? -1 : pick(4))));
    code_.push_back(move(pointer, constant()));
    is_pointer_[pointer] = false;
  }

  std::mt19937 random_;
  Instructions code_;
  Register base_ = r7;
  uint32_t bytes_ = 0;  // that may be accessed there
  std::array<bool, 11> is_pointer_{false, false, false, false, false, false,
                                   true,  true,  true,  false, true};
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
  EXPECT_GT(accepted, kPrograms / 10);
  EXPECT_LT(accepted, kPrograms / 10 * 9);
}

}  // namespace
}  // namespace xnic::test

#include "jit/jit_engine.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/vm/instruction_cases.h"
#include "tests/vm/program_builder.h"
#include "vm/disassembler.h"
#include "vm/interpreter.h"

namespace xnic::test {
namespace {

struct Outcome {
  uint64_t r0 = 0;
  uint64_t instructions = 0;
  std::string fault;
  bool operator==(const Outcome&) const = default;
};

Outcome run(vm::Engine& engine, const vm::Program& program, vm::Packet& packet) {
  vm::Environment environment;
  vm::Invocation invocation(packet, environment);
  const uint64_t r0 = engine.compile(program)->run(invocation);
  if (invocation.fault) return {0, invocation.instructions, invocation.fault->message};
  return {r0, invocation.instructions, {}};
}

// A program whose values were followed, as machine code needs it.
tl::expected<std::shared_ptr<vm::Program>, vm::Rejection> follow(Code code, vm::MapResolver& maps) {
  vm::ProgramSpec spec;
  spec.type = BPF_PROG_TYPE_XDP;
  spec.name = "test";
  spec.license = "GPL";
  spec.instructions = std::move(code);
  return vm::Verifier::verify(std::move(spec), {}, maps, {.values = true});
}

tl::expected<std::shared_ptr<vm::Program>, vm::Rejection> follow(Code code) {
  Maps none;
  return follow(std::move(code), none);
}

std::string text(const vm::Program& program) {
  std::string result;
  for (uint32_t i = 0; i < program.instructions().size();
       i += vm::slots(program.instructions()[i])) {
    result += std::to_string(i) + ": " + vm::disassemble(program, i) + "\n";
  }
  return result;
}

// Random programs of arithmetic and jumps over values that sit on the edges.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Code program() {
    Code code;
    for (int reg = 0; reg < 10; ++reg) {
      for (const bpf_insn& insn : load64(reg, value())) code.push_back(insn);
    }
    const uint32_t length = 5 + below(60);
    const size_t start = code.size();
    for (uint32_t i = 0; i < length; ++i) {
      // The jump's target is chosen among what remains; the exit is at start + length.
      const uint32_t remaining = length - i - 1;
      if (below(5) == 0 && remaining > 0) {
        code.push_back(jump_insn(static_cast<int>(below(remaining))));
      } else {
        code.push_back(alu_insn());
      }
    }
    EXPECT_EQ(code.size(), start + length);
    // A counted loop around it all: backward jumps must count right too.
    if (below(3) == 0) {
      code.insert(code.begin(), mov(9, static_cast<int32_t>(1 + below(5))));
      for (bpf_insn& insn : code) {
        if (&insn != code.data() && insn.dst_reg == 9 &&
            vm::opcode(insn).kind != vm::Kind::jump_if) {
          insn.dst_reg = 8;
        }
      }
      code.push_back(alu64(BPF_SUB, 9, 1));
      code.push_back(jump(BPF_JNE, 9, 0, -static_cast<int>(length) - 2));
    }
    code.push_back(exit_());
    return code;
  }

 private:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  uint64_t value() {
    static constexpr uint64_t kEdges[] = {0,
                                          1,
                                          2,
                                          31,
                                          32,
                                          33,
                                          63,
                                          64,
                                          0x7f,
                                          0x80,
                                          0xff,
                                          0x7fff,
                                          0x8000,
                                          0xffff,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          0x100000000,
                                          kMin64 - 1,
                                          kMin64,
                                          kMin64 + 1,
                                          kAllOnes,
                                          kAllOnes - 1,
                                          0xffffffff00000000,
                                          0xffffffff80000000};
    return below(3) == 0 ? random_() : kEdges[below(std::size(kEdges))];
  }
  int32_t immediate() { return static_cast<int32_t>(value()); }
  int reg() { return static_cast<int>(below(10)); }

  bpf_insn alu_insn() {
    const int code_class = below(2) == 0 ? BPF_ALU64 : BPF_ALU;
    static constexpr int kOps[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND,  BPF_LSH,
                                   BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH, BPF_END};
    const int op = kOps[below(std::size(kOps))];
    if (op == BPF_NEG) return insn(code_class | op, reg(), 0, 0, 0);
    if (op == BPF_END) {
      const int order = code_class == BPF_ALU && below(2) == 0 ? BPF_TO_BE : BPF_TO_LE;
      return insn(code_class | op | order, reg(), 0, 0, 16 << below(3));
    }
    int off = 0;
    if (op == BPF_DIV || op == BPF_MOD) off = static_cast<int>(below(2));
    if (below(2) == 0) {
      if (op == BPF_MOV) off = static_cast<int>(below(code_class == BPF_ALU64 ? 4 : 3));
      if (op == BPF_MOV && off != 0) off = 4 << off;
      return insn(code_class | op | BPF_X, reg(), reg(), off, 0);
    }
    int32_t imm = immediate();
    if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) {
      imm = static_cast<int32_t>(below(code_class == BPF_ALU64 ? 64 : 32));
    }
    if ((op == BPF_DIV || op == BPF_MOD) && imm == 0) imm = 3;
    return insn(code_class | op | BPF_K, reg(), 0, off, imm);
  }

  bpf_insn jump_insn(int off) {
    static constexpr int kOps[] = {BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
                                   BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
    const int op = kOps[below(std::size(kOps))];
    const int code_class = below(2) == 0 ? BPF_JMP : BPF_JMP32;
    if (below(2) == 0) return insn(code_class | op | BPF_X, reg(), reg(), off, 0);
    return insn(code_class | op | BPF_K, reg(), 0, off, immediate());
  }

  std::mt19937_64 random_;
};

TEST(Jit, DoesWhatTheRfcSaysForEachInstruction) {
  jit::JitEngine counting;
  jit::JitEngine plain({.counts = false});
  vm::Packet packet;
  for (const auto& cases : {arithmetic_cases(), jump_cases(), memory_cases()}) {
    for (const InstructionCase& row : cases) {
      auto program = follow(row.code);
      ASSERT_TRUE(program) << row.name << ": " << program.error().message;
      ASSERT_EQ(jit::JitEngine::objection(**program), "") << row.name;
      EXPECT_EQ(run(counting, **program, packet).r0, row.r0) << row.name << "\n" << text(**program);
      EXPECT_EQ(run(plain, **program, packet).r0, row.r0) << row.name << "\n" << text(**program);
    }
  }
}

TEST(Jit, AgreesWithTheInterpreterOnRandomPrograms) {
  jit::JitEngine jit;
  jit::JitEngine plain({.counts = false});
  vm::Interpreter interpreter;
  vm::Packet packet;
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    auto program = follow(Generator(seed).program());
    ASSERT_TRUE(program) << "seed " << seed << ": " << program.error().message;
    ASSERT_EQ(jit::JitEngine::objection(**program), "") << "seed " << seed;
    const Outcome expected = run(interpreter, **program, packet);
    ASSERT_EQ(run(jit, **program, packet), expected) << "seed " << seed << "\n" << text(**program);
    ASSERT_EQ(run(plain, **program, packet).r0, expected.r0) << "seed " << seed << "\n"
                                                             << text(**program);
  }
}

TEST(Jit, ChangesTheByteOrderOfWhatItLoads) {
  constexpr uint64_t kPattern = 0x1122334455667788;
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  vm::Packet packet;
  for (const int size : {BPF_B, BPF_H, BPF_W, BPF_DW}) {
    for (const int order : {BPF_ALU | BPF_TO_BE, BPF_ALU | BPF_TO_LE, int{BPF_ALU64}}) {
      for (const int bits : {16, 32, 64}) {
        auto program = follow(load64(1, kPattern) + store(BPF_DW, 10, 1, -8) +
                              load(size, 0, 10, -8) + swap(order, 0, bits) + exit_());
        ASSERT_TRUE(program) << program.error().message;
        EXPECT_EQ(run(jit, **program, packet), run(interpreter, **program, packet))
            << text(**program);
      }
    }
  }
  auto program = follow(load64(1, kPattern) + store(BPF_DW, 10, 1, -8) + load(BPF_W, 0, 10, -8) +
                        swap(BPF_ALU | BPF_TO_BE, 0, 32) + exit_());
  ASSERT_TRUE(program);
  EXPECT_EQ(run(jit, **program, packet).r0, 0x88776655u);
}

// A value put together byte by byte, in either order, with all that may keep it from being loaded
// whole: a byte that is missing, one twice, a part that is wanted afterwards.
TEST(Jit, AssemblesBytesAsTheProgramDoes) {
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  vm::Packet packet;
  std::mt19937 random(7);
  for (int turn = 0; turn < 3000; ++turn) {
    const bool wide = random() % 2 == 0;
    const uint32_t parts = 2u << random() % (wide ? 3 : 2);
    const int alu_class = wide ? BPF_ALU64 : BPF_ALU;
    Code code = load64(1, random() * 0x100000001ull) + store(BPF_DW, 10, 1, -8);
    const bool big_endian = random() % 2 == 0;
    for (uint32_t i = 0; i < parts; ++i) {
      const int to = i == 0 ? 0 : 2;
      uint32_t byte = big_endian ? parts - 1 - i : i;
      if (random() % 16 == 0) byte = random() % 8;
      code.push_back(load(BPF_B, to, 10, static_cast<int>(byte) - 8));
      const bool off_by_one = random() % 24 == 0 && i + 1 < parts;
      if (i != 0) {
        code.push_back(insn(alu_class | BPF_LSH | BPF_K, to, 0, 0,
                            static_cast<int32_t>(8 * (i + (off_by_one ? 1 : 0)))));
        code.push_back(insn(alu_class | BPF_OR | BPF_X, 0, to, 0, 0));
      }
    }
    if (random() % 4 == 0) code.push_back(alu64_reg(BPF_ADD, 0, 2));
    code.push_back(exit_());
    auto program = follow(code);
    ASSERT_TRUE(program) << program.error().message;
    ASSERT_EQ(run(jit, **program, packet), run(interpreter, **program, packet)) << text(**program);
  }
}

// A value or constants stored part by part, in either order, with all that may keep it from being
// stored whole: a part in a wrong place, over another or of another value, a copy that is wanted
// afterwards.
TEST(Jit, TakesValuesApartAsTheProgramDoes) {
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  vm::Packet packet;
  std::mt19937 random(11);
  const auto one_in = [&](uint32_t n) { return random() % n == 0; };
  for (int turn = 0; turn < 6000; ++turn) {
    const bool wide = one_in(2);
    const int alu_class = wide ? BPF_ALU64 : BPF_ALU;
    const bool in_words = one_in(4);
    const uint32_t width = in_words ? 2 : 1;
    const uint32_t parts = (2u << random() % (wide ? 3 : 2)) / width;
    const bool big_endian = one_in(2);
    const bool constants = one_in(4);
    const auto first = static_cast<uint32_t>(random() % parts);
    Code code = load64(1, random() * 0x100000001ull + random()) + mov(2, 5) +
                store_imm(BPF_DW, 10, -16, -1) + store_imm(BPF_DW, 10, -8, -1);
    for (uint32_t i = 0; i < parts; ++i) {
      const uint32_t part = (first + i) % parts;
      const uint32_t place = (big_endian ? parts - 1 - part : part) + (one_in(24) ? 1 : 0);
      const auto bits = static_cast<int32_t>(8 * width * part);
      int from = 2;
      if (constants != one_in(32)) {
        code.push_back(insn(alu_class | BPF_MOV | BPF_K, 2, 0, 0, static_cast<int32_t>(random())));
      } else if (part == 0 && one_in(2)) {
        from = 1;
      } else if (i + 1 == parts && one_in(2)) {
        from = 1;
        code.push_back(insn(alu_class | BPF_RSH | BPF_K, 1, 0, 0, bits));
      } else {
        code.push_back(insn(alu_class | BPF_MOV | BPF_X, 2, 1, 0, 0));
        if (bits != 0) {
          code.push_back(insn(alu_class | BPF_RSH | BPF_K, 2, 0, 0, bits - (one_in(24) ? 8 : 0)));
        }
      }
      code.push_back(
          store(in_words ? BPF_H : BPF_B, 10, from, static_cast<int>(place * width) - 12));
    }
    code.push_back(load(BPF_DW, 0, 10, -16));
    code.push_back(alu64(BPF_MUL, 0, 31));
    code.push_back(load(BPF_DW, 3, 10, -8));
    code.push_back(alu64_reg(BPF_XOR, 0, 3));
    if (one_in(4)) code.push_back(alu64_reg(BPF_ADD, 0, 2));
    if (one_in(4)) code.push_back(alu64_reg(BPF_ADD, 0, 1));
    code.push_back(exit_());
    auto program = follow(code);
    ASSERT_TRUE(program) << program.error().message;
    ASSERT_EQ(run(jit, **program, packet), run(interpreter, **program, packet)) << text(**program);
  }
}

// Rotations as compilers write them, and what only looks like one.
TEST(Jit, RotatesAsTheProgramDoes) {
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  vm::Packet packet;
  std::mt19937 random(9);
  for (int turn = 0; turn < 3000; ++turn) {
    const bool wide = random() % 2 == 0;
    const int alu_class = wide ? BPF_ALU64 : BPF_ALU;
    const int32_t bits = wide ? 64 : 32;
    const auto by = static_cast<int32_t>(1 + random() % static_cast<uint32_t>(bits - 1));
    const int32_t rest = random() % 8 == 0 ? (by + 1) % bits : bits - by;
    const bool left_first = random() % 2 == 0;
    const int first = left_first ? BPF_LSH : BPF_RSH;
    const int second = random() % 8 == 0 ? first : (left_first ? BPF_RSH : BPF_LSH);
    const bool copies_again = random() % 2 == 0;
    const int to = copies_again ? 3 : 1;
    Code code = load64(1, random() * 0x100000001ull + random());
    code.push_back(insn(alu_class | BPF_MOV | BPF_X, 2, 1, 0, 0));
    code.push_back(insn(alu_class | first | BPF_K, 2, 0, 0, by));
    if (copies_again) code.push_back(insn(alu_class | BPF_MOV | BPF_X, 3, 1, 0, 0));
    code.push_back(insn(alu_class | second | BPF_K, to, 0, 0, rest));
    code.push_back(insn(alu_class | BPF_OR | BPF_X, to, 2, 0, 0));
    code.push_back(mov_reg(0, to));
    code.push_back(alu64_reg(BPF_XOR, 0, 1));
    if (random() % 4 == 0) code.push_back(alu64_reg(BPF_ADD, 0, 2));
    code.push_back(exit_());
    auto program = follow(code);
    ASSERT_TRUE(program) << program.error().message;
    ASSERT_EQ(run(jit, **program, packet), run(interpreter, **program, packet)) << text(**program);
  }
}

TEST(Jit, EndsALoopThatTakesTooLongWithTheInterpretersFault) {
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  vm::Packet packet;
  // may_goto calls a function of six instructions 8,388,608 times.
  const bpf_insn may_goto = insn(BPF_JMP | vm::kJumpCounted, 0, 0, 2, 0);
  const Code code = {may_goto,  call_function(3), go(-3),    mov(0, 0), exit_(), mov(0, 0),
                     mov(0, 1), mov(0, 2),        mov(0, 3), mov(0, 4), exit_()};
  auto program = follow(code);
  ASSERT_TRUE(program) << program.error().message;
  const Outcome expected = run(interpreter, **program, packet);
  EXPECT_NE(expected.fault, "");
  EXPECT_EQ(run(jit, **program, packet), expected);
}

TEST(Jit, LeavesProgramsWithoutProofToTheInterpreter) {
  jit::JitEngine engine;
  vm::Packet packet;
  for (const InstructionCase& row : memory_cases()) {
    auto program = verify(row.code);
    ASSERT_TRUE(program) << row.name << ": " << program.error().message;
    EXPECT_NE(jit::JitEngine::objection(**program), "") << row.name;
    EXPECT_EQ(run(engine, **program, packet).r0, row.r0) << row.name;
  }
}

TEST(Jit, CodeOutlivesItsEngine) {
  auto program = follow({mov(0, 2), exit_()});
  ASSERT_TRUE(program);
  std::unique_ptr<vm::Code> code = jit::JitEngine().compile(**program);
  vm::Packet packet;
  vm::Environment environment;
  vm::Invocation invocation(packet, environment);
  EXPECT_EQ(code->run(invocation), 2u);
  EXPECT_EQ(invocation.instructions, 2u);
}

TEST(Jit, LeavesToTheInterpreterWhatWouldBeTooLarge) {
  Code code;
  for (int i = 0; i < 1000; ++i) code.push_back(mov(0, 2));
  code.push_back(exit_());
  auto program = follow(code);
  ASSERT_TRUE(program);
  vm::Packet packet;
  jit::JitEngine large;
  EXPECT_NE(large.compile(**program)->entry(), nullptr);
  jit::JitEngine small({.most_code_bytes = 1000});
  EXPECT_EQ(small.compile(**program)->entry(), nullptr);
  EXPECT_EQ(run(small, **program, packet).r0, 2u);
}

TEST(Jit, GivesTheContextInR1) {
  auto program = follow({mov_reg(0, 1), exit_()});
  ASSERT_TRUE(program);
  jit::JitEngine engine;
  vm::Packet packet;
  EXPECT_EQ(run(engine, **program, packet).r0, reinterpret_cast<uintptr_t>(&packet));
}

// The bounds of a packet of 60 bytes, with metadata in front and without, moved to where there is
// room and to where there is none.
TEST(Jit, MovesThePacketsBoundsAsTheInterpreterDoes) {
  vm::Interpreter interpreter;
  jit::JitEngine engine;
  const auto adjust = [](int helper, int32_t delta) {
    return Code{mov_reg(1, 6), mov(2, delta), call(helper)};
  };
  for (const int32_t metadata : {0, -4, -8, -40, -3, -252, -256, 4, INT32_MIN}) {
    for (const int32_t head : {0, 1, -1, -14, -164, -176, -208, -212, -216, -217, 45, 46, 47, 300,
                               INT32_MAX, INT32_MIN}) {
      SCOPED_TRACE(std::to_string(metadata) + ", " + std::to_string(head));
      const Code code = Code{mov_reg(6, 1)} + adjust(BPF_FUNC_xdp_adjust_meta, metadata) +
                        Code{mov_reg(7, 0)} + adjust(BPF_FUNC_xdp_adjust_head, head) +
                        Code{mov_reg(8, 0)} + adjust(BPF_FUNC_xdp_adjust_meta, 4) +
                        Code{alu64(BPF_MUL, 0, 1 << 10), alu64_reg(BPF_ADD, 0, 8),
                             alu64(BPF_MUL, 0, 1 << 10), alu64_reg(BPF_ADD, 0, 7), exit_()};
      auto program = follow(code);
      ASSERT_TRUE(program) << program.error().message;
      const std::vector<uint8_t> frame(60, 0xab);
      vm::Packet expected(frame);
      vm::Packet packet(frame);
      EXPECT_EQ(run(engine, **program, packet), run(interpreter, **program, expected));
      EXPECT_EQ(packet.bytes(), expected.bytes());
      EXPECT_EQ(packet.metadata_length(), expected.metadata_length());
      EXPECT_EQ(packet.data() - packet.hard_start(), expected.data() - expected.hard_start());
    }
  }
}

}  // namespace
}  // namespace xnic::test

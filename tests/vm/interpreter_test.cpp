#include "vm/interpreter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "tests/vm/instruction_cases.h"
#include "tests/vm/kernel_oracle.h"
#include "tests/vm/program_builder.h"
#include "vm/map.h"

namespace xnic::test {
namespace {

struct Outcome {
  uint64_t r0 = 0;
  uint64_t instructions = 0;
  std::string fault;
};

Outcome run(const vm::Program& program, vm::Packet& packet) {
  vm::Environment environment;
  vm::Invocation invocation(packet, environment);
  vm::Interpreter interpreter;
  const uint64_t r0 = interpreter.compile(program)->run(invocation);
  return {r0, invocation.instructions, invocation.fault ? invocation.fault->message : ""};
}

Outcome run(const Code& code, size_t packet_size = 64) {
  const auto program = verify(code);
  if (!program) return {0, 0, program.error().message};
  const std::vector<uint8_t> frame(packet_size, 0x5a);
  vm::Packet packet(frame);
  return run(**program, packet);
}

std::vector<InstructionCase> all_cases() {
  std::vector<InstructionCase> all = arithmetic_cases();
  for (auto more : {jump_cases(), memory_cases()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(Interpreter, DoesWhatTheRfcSaysForEachInstruction) {
  for (const InstructionCase& row : all_cases()) {
    const Outcome outcome = run(row.code);
    EXPECT_EQ(outcome.fault, "") << row.name;
    EXPECT_EQ(outcome.r0, row.r0) << row.name;
  }
}

TEST(Interpreter, ReturnsWhatTheKernelReturns) {
  if (!kernel_permits_bpf()) GTEST_SKIP() << "bpf(2) is not permitted here.";
  const std::vector<uint8_t> frame(64, 0x5a);
  for (const InstructionCase& row : all_cases()) {
    const KernelProgram low(row.code);
    ASSERT_EQ(low.error(), 0) << row.name << "\n" << low.log();
    EXPECT_EQ(low.run(frame), static_cast<uint32_t>(row.r0)) << row.name;
    // The kernel shows 32 bits of r0: the upper ones are moved down before the main exit. A
    // program with subprograms has its exit elsewhere.
    const bool calls = std::ranges::any_of(row.code, vm::calls_subprogram);
    if (calls) continue;
    Code upper = row.code;
    upper.back() = alu64(BPF_RSH, 0, 32);
    const KernelProgram high(upper + exit_());
    ASSERT_EQ(high.error(), 0) << row.name << "\n" << high.log();
    EXPECT_EQ(high.run(frame), static_cast<uint32_t>(row.r0 >> 32)) << row.name;
  }
}

// r2 = data, r3 = data_end, then an access of `size` at data + off or data_end + off.
Code packet_access(int base, int size, int off, bool write) {
  return Code{load(BPF_W, 2, 1, 0), load(BPF_W, 3, 1, 4)} +
         (write ? store_imm(size, base, off, 1) : load(size, 4, base, off)) + mov(0, 0) + exit_();
}

TEST(Interpreter, ChecksPacketAccessesToTheByte) {
  for (const bool write : {false, true}) {
    EXPECT_EQ(run(packet_access(2, BPF_B, 0, write)).fault, "");
    EXPECT_EQ(run(packet_access(2, BPF_W, 60, write)).fault, "");
    EXPECT_EQ(run(packet_access(3, BPF_DW, -8, write)).fault, "");
    EXPECT_NE(run(packet_access(2, BPF_B, -1, write)).fault, "");
    EXPECT_NE(run(packet_access(2, BPF_W, 61, write)).fault, "");
    EXPECT_NE(run(packet_access(3, BPF_B, 0, write)).fault, "");
    EXPECT_NE(run(packet_access(3, BPF_DW, -7, write)).fault, "");
  }
  EXPECT_EQ(run(packet_access(2, BPF_W, 67, false)).fault,
            "program test, instruction 2 (r4 = *(u32 *)(r2 +67)): reads 4 bytes at 3 bytes past "
            "the end of the packet of 64 bytes");
}

TEST(Interpreter, SeesTheNewBoundsAfterAdjustHead) {
  const auto access = [](int32_t delta, int off) {
    return Code{mov_reg(6, 1),
                mov(2, delta),
                call(BPF_FUNC_xdp_adjust_head),
                load(BPF_W, 2, 6, 0),
                load(BPF_B, 3, 2, off),
                mov(0, 0),
                exit_()};
  };
  EXPECT_EQ(run(access(10, 53)).fault, "");
  EXPECT_NE(run(access(10, 54)).fault, "");
  EXPECT_EQ(run(access(-4, 67)).fault, "");
  EXPECT_NE(run(access(-4, 68)).fault, "");
}

TEST(Interpreter, ChecksStackAccessesToTheByte) {
  const auto access = [](int off, int size) {
    return Code{mov_reg(2, 10), alu64(BPF_ADD, 2, off), load(size, 0, 2, 0), exit_()};
  };
  EXPECT_EQ(run(access(-512, BPF_DW)).fault, "");
  EXPECT_EQ(run(access(-1, BPF_B)).fault, "");
  EXPECT_NE(run(access(-513, BPF_B)).fault, "");
  EXPECT_NE(run(access(-1, BPF_H)).fault, "");
  EXPECT_NE(run(access(0, BPF_B)).fault, "");
}

TEST(Interpreter, TakesAFrameBackWhenItsFunctionReturns) {
  // The subprogram returns a pointer into its own frame.
  const Outcome outcome = run({call_function(2), load(BPF_DW, 0, 0, 0), exit_(), mov_reg(0, 10),
                               alu64(BPF_ADD, 0, -8), exit_()});
  EXPECT_NE(outcome.fault.find("stack frame"), std::string::npos) << outcome.fault;
}

TEST(Interpreter, RefusesWhatBelongsToNothing) {
  EXPECT_NE(run({mov(2, 0), load(BPF_B, 0, 2, 8), exit_()}).fault.find("NULL+8"),
            std::string::npos);
  EXPECT_NE(run(load64(2, 0xffff800000000000) + load(BPF_B, 0, 2, 0) + exit_())
                .fault.find("belongs to nothing"),
            std::string::npos);
  EXPECT_NE(run(load64(2, kAllOnes) + load(BPF_DW, 0, 2, 0) + exit_()).fault, "");
}

TEST(Interpreter, RefusesContextAccessesThatLinuxRefuses) {
  EXPECT_EQ(run({load(BPF_W, 0, 1, 12), exit_()}).fault, "");
  EXPECT_NE(run({load(BPF_W, 0, 1, 3), exit_()}).fault.find("offset 3 of the context"),
            std::string::npos);
  EXPECT_NE(run({store_imm(BPF_W, 1, 0, 1), mov(0, 0), exit_()}).fault, "");
  EXPECT_NE(run({mov(2, 1), atomic(BPF_W, 1, 2, 12, BPF_ADD), mov(0, 0), exit_()}).fault, "");
}

TEST(Interpreter, RefusesAtomicsOnThePacketAndUnalignedOnes) {
  EXPECT_NE(
      run({load(BPF_W, 2, 1, 0), mov(3, 1), atomic(BPF_W, 2, 3, 0, BPF_ADD), mov(0, 0), exit_()})
          .fault,
      "");
  EXPECT_NE(run({mov(3, 1), store_imm(BPF_DW, 10, -8, 0), store_imm(BPF_DW, 10, -16, 0),
                 atomic(BPF_W, 10, 3, -9, BPF_ADD), mov(0, 0), exit_()})
                .fault.find("multiple of 4"),
            std::string::npos);
}

TEST(Interpreter, CountsEachInstructionOnceAndLdImm64AsOne) {
  EXPECT_EQ(run(load64(0, 5) + exit_()).instructions, 2u);
  EXPECT_EQ(run({call(BPF_FUNC_get_smp_processor_id), exit_()}).instructions, 2u);
  EXPECT_EQ(run({mov(0, 0), mov(1, 3), alu64(BPF_SUB, 1, 1), jump(BPF_JNE, 1, 0, -2), exit_()})
                .instructions,
            2u + 3 * 2 + 1);
}

TEST(Interpreter, EndsAProgramThatLoopsForever) {
  const Outcome outcome = run({mov(0, 0), jump(BPF_JEQ, 0, 0, -1), exit_()});
  EXPECT_NE(outcome.fault.find("does not end"), std::string::npos) << outcome.fault;
}

std::shared_ptr<vm::Map> make_map(bpf_map_type type, uint32_t value_size, uint32_t entries,
                                  uint32_t flags = 0, const vm::MapContext& context = {}) {
  vm::MapSpec spec;
  spec.type = type;
  spec.key_size = 4;
  spec.value_size = value_size;
  spec.max_entries = entries;
  spec.flags = flags;
  spec.name = "m";
  return *vm::find_map_type(type)->create(spec, context);
}

// Looks up key 0 and accesses the value at `off`.
Code value_access(int size, int off, bool write) {
  return Code{store_imm(BPF_W, 10, -4, 0), mov_reg(2, 10), alu64(BPF_ADD, 2, -4)} +
         load64(1, 0, BPF_PSEUDO_MAP_FD) + call(BPF_FUNC_map_lookup_elem) +
         (write ? store_imm(size, 0, off, 1) : load(size, 3, 0, off)) + mov(0, 0) + exit_();
}

Outcome run_with_map(const Code& code, std::shared_ptr<vm::Map> map) {
  Maps maps;
  maps.add(std::move(map));
  const auto program = verify(code, maps);
  if (!program) return {0, 0, program.error().message};
  vm::Packet packet;
  return run(**program, packet);
}

TEST(Interpreter, ChecksMapValueAccessesToTheByte) {
  for (const bool write : {false, true}) {
    const auto map = make_map(BPF_MAP_TYPE_ARRAY, 16, 4);
    EXPECT_EQ(run_with_map(value_access(BPF_DW, 8, write), map).fault, "");
    EXPECT_NE(run_with_map(value_access(BPF_DW, 9, write), map).fault, "");
    EXPECT_NE(run_with_map(value_access(BPF_B, 16, write), map).fault, "");
    EXPECT_NE(run_with_map(value_access(BPF_B, -1, write), map).fault, "");
  }
}

TEST(Interpreter, HonoursReadOnlyMaps) {
  const auto map = make_map(BPF_MAP_TYPE_ARRAY, 8, 1, BPF_F_RDONLY_PROG);
  EXPECT_EQ(run_with_map(value_access(BPF_W, 0, false), map).fault, "");
  EXPECT_NE(run_with_map(value_access(BPF_W, 0, true), map).fault.find("may not write"),
            std::string::npos);
}

TEST(Interpreter, ReadsADirectMapValue) {
  const auto map = make_map(BPF_MAP_TYPE_ARRAY, 8, 1);
  const uint32_t key = 0;
  const uint64_t value = kPattern;
  map->user_update(reinterpret_cast<const uint8_t*>(&key), reinterpret_cast<const uint8_t*>(&value),
                   0);
  const auto at = [](uint32_t offset, int size) {
    return load64(1, uint64_t{offset} << 32, BPF_PSEUDO_MAP_VALUE) + load(size, 0, 1, 0) + exit_();
  };
  EXPECT_EQ(run_with_map(at(0, BPF_DW), map).r0, kPattern);
  EXPECT_EQ(run_with_map(at(4, BPF_W), map).r0, kPattern >> 32);
  EXPECT_NE(run_with_map(at(5, BPF_W), map).fault, "");
}

TEST(Interpreter, ChecksTheKeyThatAHelperReads) {
  const auto map = make_map(BPF_MAP_TYPE_ARRAY, 8, 1);
  const Code code = Code{mov_reg(2, 10), alu64(BPF_ADD, 2, -3)} + load64(1, 0, BPF_PSEUDO_MAP_FD) +
                    call(BPF_FUNC_map_lookup_elem) + mov(0, 0) + exit_();
  EXPECT_NE(run_with_map(code, map).fault.find("no key of 4 readable bytes"), std::string::npos);
}

// A prog_array that gives the same program in slot 0 and nothing elsewhere.
class OneProgram : public vm::ObjectResolver {
 public:
  std::shared_ptr<const vm::Program> program_by_fd(int) override { return program; }
  std::shared_ptr<const vm::Program> program;
};

TEST(Interpreter, MakesThirtyThreeTailCallsAndThenFallsThrough) {
  OneProgram objects;
  Maps maps;
  const auto slots = make_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 2, 0, {.objects = &objects});
  maps.add(slots);
  // Each run adds 1 to the packet's first byte, calls itself, and returns that byte in the end.
  const auto code = [](int32_t index) {
    return Code{mov_reg(6, 1), load(BPF_W, 2, 1, 0), load(BPF_B, 3, 2, 0), alu64(BPF_ADD, 3, 1),
                store(BPF_B, 2, 3, 0)} +
           load64(2, 0, BPF_PSEUDO_MAP_FD) + mov(3, index) + call(BPF_FUNC_tail_call) +
           load(BPF_W, 2, 6, 0) + load(BPF_B, 0, 2, 0) + exit_();
  };
  const auto program = verify(code(0), maps);
  ASSERT_TRUE(program) << program.error().message;
  objects.program = *program;
  const uint32_t key = 0;
  // Any live descriptor: the resolver above gives the program for all of them.
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(slots->user_update(reinterpret_cast<const uint8_t*>(&key),
                               reinterpret_cast<const uint8_t*>(&fd), 0),
            0);
  vm::Packet packet(std::vector<uint8_t>(64, 0));
  EXPECT_EQ(run(**program, packet).r0, 34u);

  for (const int32_t empty : {1, 2, -1}) {
    const auto falls = verify(code(empty), maps);
    ASSERT_TRUE(falls);
    vm::Packet other(std::vector<uint8_t>(64, 0));
    const Outcome outcome = run(**falls, other);
    EXPECT_EQ(outcome.fault, "");
    EXPECT_EQ(outcome.r0, 1u) << "slot " << empty;
  }
  // The slot holds the program and the program the map: the ring must be opened.
  slots->user_erase(reinterpret_cast<const uint8_t*>(&key));
  ::close(fd);
}

}  // namespace
}  // namespace xnic::test

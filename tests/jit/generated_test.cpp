// Random programs that the verifier lets through, by the interpreter and as machine code, counted
// and not, on the same random packets and map values at the same addresses: the same answer, bytes,
// values, instruction counts and costs. Then such programs as machine code and in Linux, by
// BPF_PROG_TEST_RUN: the same answer, bytes and values. A small number of them usually;
// XNIC_NIGHTLY=1 in the environment asks for ten million pairs of program and packet of each.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <random>

#include "jit/jit_engine.h"
#include "tests/support/bpf_host.h"
#include "tests/vm/verifier/random_program.h"
#include "vm/disassembler.h"
#include "vm/interpreter.h"
#include "vm/isa.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

constexpr uint32_t kPacketsPerProgram = 25;
constexpr uint32_t kMostBytes = 72;
constexpr uint32_t kValues = 2;
using Value = std::array<uint64_t, 2>;

// The stack lies elsewhere in machine code: where a program tells its address, answers differ.
bool tells_stack_address(const Instructions& code) {
  for (size_t i = 0; i < code.size(); ++i) {
    const vm::Opcode& op = vm::opcode(code[i]);
    const bool reads_register =
        op.kind == vm::Kind::alu || op.kind == vm::Kind::store || op.kind == vm::Kind::jump_if;
    const bool names_stack = (op.source_register && code[i].src_reg == r10) ||
                             (code[i].dst_reg == r10 && op.kind != vm::Kind::store);
    const bool is_key = i + 1 < code.size() && code[i].dst_reg == r2 && code[i + 1].imm == -8;
    if (reads_register && names_stack && !is_key) return true;
  }
  return false;
}

struct Outcome {
  uint64_t r0 = 0;
  uint64_t instructions = 0;
  uint64_t cost = 0;
  std::string fault;
  std::vector<uint8_t> packet;
  std::array<Value, kValues> values{};
  bool operator==(const Outcome&) const = default;
};

std::vector<uint32_t> any_costs(const vm::Program& program) {
  std::vector<uint32_t> costs(program.instructions().size());
  for (uint32_t i = 0; i < costs.size(); ++i) costs[i] = i * 2'654'435'761u;
  return costs;
}

class Machine {
 public:
  Machine() : kernel_(interpreter_, {.cost_model = any_costs}), host_(kernel_) {}

  // Null for a program that is refused.
  std::shared_ptr<const vm::Program> load(const Instructions& program) {
    map_ = host_.create_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(Value), kValues);
    program_ = host_.load(BPF_PROG_TYPE_XDP, with_map(program, map_.fd()));
    return program_.error() != 0 ? nullptr : kernel_.program_by_fd(program_.fd());
  }

  Outcome run(const vm::Code& code, uint32_t seed) {
    std::mt19937 random(seed);
    std::array<uint8_t, kMostBytes> bytes;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    vm::Map& map = *kernel_.map_by_fd(map_.fd());
    for (uint32_t key = 0; key < kValues; ++key) {
      const Value value = {random() * uint64_t{random()}, random() % 64};
      std::memcpy(value_at(map, key), &value, sizeof(value));
    }
    packet_.assign({bytes.data(), random() % kMostBytes});
    packet_.ingress_ifindex = random() % 2 == 0 ? 1 : static_cast<uint32_t>(random());
    environment_.prng = vm::Prng(random());
    vm::Invocation invocation{packet_, environment_};
    Outcome outcome;
    outcome.r0 = code.run(invocation);
    outcome.instructions = invocation.instructions;
    outcome.cost = invocation.cost;
    if (invocation.fault) outcome.fault = invocation.fault->message;
    outcome.packet = packet_.bytes();
    for (uint32_t key = 0; key < kValues; ++key) {
      std::memcpy(&outcome.values[key], value_at(map, key), sizeof(Value));
    }
    return outcome;
  }

 private:
  static uint8_t* value_at(vm::Map& map, uint32_t key) {
    return map.lookup(reinterpret_cast<const uint8_t*>(&key), 0);
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_;
  EmulatedKernel host_;
  Descriptor map_;
  Descriptor program_;
  vm::Packet packet_;
  vm::Environment environment_;
};

std::string text(const vm::Program& program) {
  std::string result;
  const auto insns = program.instructions();
  for (uint32_t i = 0; i < insns.size(); i += vm::slots(insns[i])) {
    result += std::to_string(i) + ": " + vm::disassemble(program, i) + "\n";
  }
  return result;
}

uint64_t pairs_or(uint64_t usually) {
  const char* nightly = std::getenv("XNIC_NIGHTLY");
  return nightly != nullptr && std::string_view(nightly) == "1" ? 10'000'000 : usually;
}

TEST(JitGenerated, ProgramsDoWhatTheyDoInTheInterpreter) {
  const uint64_t pairs = pairs_or(50'000);
  vm::Interpreter interpreter;
  jit::JitEngine counting;
  jit::JitEngine plain({.counts = false});
  uint32_t seed = 1u << 22;
  uint64_t done = 0;
  while (done < pairs) {
    Machine machine;  // a fresh one now and then, so that nothing piles up
    for (uint32_t i = 0; i < 1000; ++i) {
      const Instructions code = RandomProgram(++seed).make();
      if (tells_stack_address(code)) continue;
      const std::shared_ptr<const vm::Program> program = machine.load(code);
      if (program == nullptr) continue;
      ASSERT_EQ(jit::JitEngine::objection(*program), "");
      const auto reference = interpreter.compile(*program);
      const auto counted = counting.compile(*program);
      const auto uncounted = plain.compile(*program);
      for (uint32_t n = 0; n < kPacketsPerProgram; ++n) {
        Outcome expected = machine.run(*reference, seed + n);
        ASSERT_EQ(machine.run(*counted, seed + n), expected)
            << "seed " << seed << ", packet " << n << "\n"
            << text(*program);
        expected.instructions = 0;
        ASSERT_EQ(machine.run(*uncounted, seed + n), expected)
            << "seed " << seed << ", packet " << n << "\n"
            << text(*program);
      }
      done += kPacketsPerProgram;
    }
  }
  // About half of the programs are let through.
  EXPECT_LT(seed - (1u << 22), pairs / kPacketsPerProgram * 10 + 1000);
}

// A program with its map in one of the two kernels.
class Side {
 public:
  struct Result {
    RunAnswer answer;
    std::array<Value, kValues> values;
  };

  Side(BpfHost& host, const Instructions& program)
      : host_(host),
        map_(host.create_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(Value), kValues)),
        program_(host.load(BPF_PROG_TYPE_XDP, with_map(program, map_.fd()))) {}

  long error() const { return program_.error(); }

  Result run(const Bytes& packet, std::array<Value, kValues> values) {
    for (uint32_t key = 0; key < kValues; ++key) {
      EXPECT_EQ(entry(BPF_MAP_UPDATE_ELEM, key, values[key]), 0);
    }
    RunAnswer answer = host_.run(program_.fd(), {.data = packet});
    for (uint32_t key = 0; key < kValues; ++key) {
      EXPECT_EQ(entry(BPF_MAP_LOOKUP_ELEM, key, values[key]), 0);
    }
    return {std::move(answer), values};
  }

 private:
  long entry(uint32_t command, uint32_t key, Value& value) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map_.fd());
    attr.key = address_of(&key);
    attr.value = address_of(value.data());
    return host_.bpf(command, attr);
  }

  BpfHost& host_;
  Descriptor map_;
  Descriptor program_;
};

TEST(JitGenerated, ProgramsDoWhatTheyDoInLinux) {
  XNIC_NEEDS_REAL_KERNEL();
  constexpr uint32_t kLeastBytes = 14;  // that Linux takes
  const uint64_t pairs = pairs_or(5'000);
  jit::JitEngine engine;
  RealKernel linux;
  std::mt19937 random(1);
  uint32_t seed = 1u << 24;
  uint64_t done = 0;
  while (done < pairs) {
    vm::Kernel kernel(engine);  // a fresh one now and then, so that nothing piles up
    EmulatedKernel emulated(kernel);
    for (uint32_t i = 0; i < 1000 && done < pairs; ++i) {
      const Instructions code = RandomProgram(++seed, false).make();
      Side ours(emulated, code);
      if (ours.error() != 0) continue;
      Side theirs(linux, code);
      ASSERT_EQ(theirs.error(), 0) << "seed " << seed;
      for (uint32_t n = 0; n < kPacketsPerProgram; ++n) {
        Bytes packet(kLeastBytes + random() % (kMostBytes - kLeastBytes));
        for (uint8_t& byte : packet) byte = static_cast<uint8_t>(random());
        std::array<Value, kValues> values;
        for (Value& value : values) value = {random() * uint64_t{random()}, random() % 64};
        const Side::Result here = ours.run(packet, values);
        const Side::Result there = theirs.run(packet, values);
        ASSERT_EQ(difference(here.answer, there.answer), "") << "seed " << seed << ", packet " << n;
        ASSERT_EQ(here.values, there.values) << "seed " << seed << ", packet " << n;
      }
      done += kPacketsPerProgram;
    }
  }
}

}  // namespace
}  // namespace xnic::test

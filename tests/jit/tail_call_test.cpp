// Slots of a prog_array are exchanged while machine code goes through them.
#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "jit/jit_engine.h"
#include "tests/vm/program_builder.h"
#include "vm/btf.h"
#include "vm/maps/prog_array.h"

namespace xnic::test {
namespace {

// Programs by a number that stands for a descriptor; the array wants real ones.
class Programs : public vm::ObjectResolver {
 public:
  std::shared_ptr<const vm::Program> program_by_fd(int) override { return next; }
  std::shared_ptr<const vm::Program> next;
};

class JitTailCalls : public testing::Test {
 protected:
  JitTailCalls() {
    vm::MapSpec spec;
    spec.type = BPF_MAP_TYPE_PROG_ARRAY;
    spec.key_size = spec.value_size = 4;
    spec.max_entries = 2;
    array_ = *vm::create_prog_array(spec, {.objects = &programs_});
  }

  // `functions` are the instructions at which its functions begin.
  std::shared_ptr<vm::Program> program(vm::Engine& engine, Code code,
                                       std::vector<uint32_t> functions = {0}) {
    Maps maps;
    const int fd = maps.add(array_);
    for (bpf_insn& insn : code) {
      if (insn.code == (BPF_LD | BPF_IMM | BPF_DW)) insn.imm = fd;  // of the array
    }
    vm::ProgramSpec spec;
    spec.type = BPF_PROG_TYPE_XDP;
    spec.name = "tail";
    spec.license = "GPL";
    spec.instructions = std::move(code);
    spec.btf = types();
    for (const uint32_t start : functions) spec.functions.push_back({start, kFunctionType});
    auto verified = vm::Verifier::verify(std::move(spec), {}, maps, {.values = true});
    EXPECT_TRUE(verified) << verified.error().message;
    if (!verified) return nullptr;
    (*verified)->set_code(engine.compile(**verified));
    return *verified;
  }
  // Of functions that return a number.
  static constexpr uint32_t kFunctionType = 3;
  static std::shared_ptr<vm::Btf> types() {
    btf* const all = btf__new_empty();
    const int number = btf__add_int(all, "int", 4, BTF_INT_SIGNED);
    const int prototype = btf__add_func_proto(all, number);
    EXPECT_EQ(btf__add_func(all, "function", BTF_FUNC_STATIC, prototype), int{kFunctionType});
    uint32_t size = 0;
    const auto* bytes = static_cast<const uint8_t*>(btf__raw_data(all, &size));
    auto blob = vm::Btf::parse({bytes, size});
    btf__free(all);
    return blob;
  }
  // Goes on in slot `index`; gives 7 if nothing is there.
  std::shared_ptr<vm::Program> caller(vm::Engine& engine, int32_t index) {
    return program(engine, load64(2, 0, BPF_PSEUDO_MAP_FD) + mov(3, index) +
                               call(BPF_FUNC_tail_call) + mov(0, 7) + exit_());
  }
  void put(uint32_t index, std::shared_ptr<const vm::Program> target) {
    programs_.next = std::move(target);
    const int fd = 0;  // any that is open
    EXPECT_EQ(array_->user_update(reinterpret_cast<const uint8_t*>(&index),
                                  reinterpret_cast<const uint8_t*>(&fd), BPF_ANY),
              0);
  }
  static uint64_t run(const vm::Program& program, vm::Packet& packet) {
    vm::Environment environment;
    vm::Invocation invocation(packet, environment);
    return program.code().run(invocation);
  }

  Programs programs_;
  std::shared_ptr<vm::Map> array_;
  vm::Packet packet_;
};

TEST_F(JitTailCalls, FollowEveryChangeOfTheSlot) {
  jit::JitEngine engine({.counts = false});
  const auto start = caller(engine, 1);
  EXPECT_EQ(run(*start, packet_), 7u);
  for (int value = 10; value < 15; ++value) {
    put(1, program(engine, {mov(0, value), exit_()}));
    for (int turn = 0; turn < 3; ++turn) {
      EXPECT_EQ(run(*start, packet_), static_cast<uint64_t>(value));
    }
  }
  const uint32_t index = 1;
  EXPECT_EQ(array_->erase(reinterpret_cast<const uint8_t*>(&index)), 0);
  EXPECT_EQ(run(*start, packet_), 7u);
  EXPECT_EQ(run(*caller(engine, 2), packet_), 7u) << "behind the array's end";
}

// The index as an atomic exchange leaves it, over a constant; and one that is known only at run
// time.
TEST_F(JitTailCalls, GoToTheSlotThatTheIndexSaysWhenItIsCalled) {
  for (const bool counts : {false, true}) {
    jit::JitEngine engine({.counts = counts});
    put(0, program(engine, {mov(0, 20), exit_()}));
    put(1, program(engine, {mov(0, 21), exit_()}));
    const auto exchanged =
        program(engine, load64(2, 0, BPF_PSEUDO_MAP_FD) + store_imm(BPF_DW, 10, -8, 1) + mov(3, 0) +
                            atomic(BPF_DW, 10, 3, -8, vm::kAtomicExchange) +
                            call(BPF_FUNC_tail_call) + mov(0, 7) + exit_());
    EXPECT_EQ(run(*exchanged, packet_), 21u);
    const auto chosen = program(engine, Code{load(BPF_W, 3, 1, offsetof(xdp_md, rx_queue_index))} +
                                            load64(2, 0, BPF_PSEUDO_MAP_FD) +
                                            call(BPF_FUNC_tail_call) + mov(0, 7) + exit_());
    for (const uint32_t queue : {0u, 1u, 2u, 1u, 0u, UINT32_MAX}) {
      packet_.rx_queue_index = queue;
      EXPECT_EQ(run(*chosen, packet_), queue < 2 ? 20 + queue : 7u);
    }
    array_->release_programs();
  }
}

TEST_F(JitTailCalls, EndAfter33) {
  for (const bool counts : {false, true}) {
    jit::JitEngine engine({.counts = counts});
    vm::Interpreter interpreter;
    // It calls itself until it may not any more.
    const auto loop = caller(engine, 0);
    put(0, loop);
    EXPECT_EQ(run(*loop, packet_), 7u);
    EXPECT_EQ(run(*caller(interpreter, 0), packet_), 7u);
    array_->release_programs();
  }
}

// What a function goes on to ends the whole run by its fault, and the function's caller runs no
// further instruction.
TEST_F(JitTailCalls, EndTheRunByTheFaultOfWhatAFunctionGoesOnTo) {
  const bpf_insn may_goto = insn(BPF_JMP | vm::kJumpCounted, 0, 0, 2, 0);
  const Code endless = {may_goto,  call_function(3), go(-3),    mov(0, 0), exit_(), mov(0, 0),
                        mov(0, 1), mov(0, 2),        mov(0, 3), mov(0, 4), exit_()};
  const Code from_function = Code{call_function(2), mov(0, 9), exit_()} +
                             load64(2, 0, BPF_PSEUDO_MAP_FD) + mov(3, 0) +
                             call(BPF_FUNC_tail_call) + mov(0, 7) + exit_();
  struct Outcome {
    std::string fault;
    uint64_t instructions;
  };
  const auto outcome = [&](vm::Engine& engine) {
    put(0, program(engine, endless, {0, 5}));
    const auto start = program(engine, from_function, {0, 3});
    vm::Environment environment;
    vm::Invocation invocation(packet_, environment);
    start->code().run(invocation);
    array_->release_programs();
    return Outcome{invocation.fault ? invocation.fault->message : "", invocation.instructions};
  };
  vm::Interpreter interpreter;
  jit::JitEngine engine;
  const Outcome expected = outcome(interpreter);
  const Outcome ours = outcome(engine);
  EXPECT_NE(expected.fault, "");
  EXPECT_EQ(ours.fault, expected.fault);
  EXPECT_EQ(ours.instructions, expected.instructions);
}

TEST_F(JitTailCalls, ReachProgramsThatAreInterpreted) {
  jit::JitEngine engine;
  vm::Interpreter interpreter;
  put(0, program(interpreter, {mov(0, 21), exit_()}));
  EXPECT_EQ(run(*caller(engine, 0), packet_), 21u);
}

TEST_F(JitTailCalls, NeverMeetAProgramThatIsGone) {
  jit::JitEngine engine({.counts = false});
  const auto start = caller(engine, 0);
  put(0, program(engine, {mov(0, 1), exit_()}));
  std::atomic<bool> done{false};
  std::atomic<uint64_t> runs{0};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      vm::Packet packet;
      while (!done) {
        const uint64_t r0 = run(*start, packet);
        if (r0 != 1 && r0 != 2) ++wrong;
        ++runs;
      }
    });
  }
  while (runs < 1000) std::this_thread::yield();
  // Each program dies when the next takes its slot, and its code's memory is used again.
  for (int turn = 0; turn < 100; ++turn) {
    put(0, program(engine, {mov(0, 1 + turn % 2), exit_()}));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace xnic::test

// Every access to a context that a program may make, as machine code and by the interpreter.
#include <gtest/gtest.h>

#include <array>

#include "jit/jit_engine.h"
#include "tests/vm/program_builder.h"
#include "vm/program_type.h"

namespace xnic::test {
namespace {

tl::expected<std::shared_ptr<vm::Program>, vm::Rejection> follow(Code code, bpf_prog_type type) {
  Maps none;
  vm::ProgramSpec spec;
  spec.type = type;
  spec.name = "context";
  spec.license = "GPL";
  spec.instructions = std::move(code);
  return vm::Verifier::verify(std::move(spec), {}, none, {.values = true});
}

// A packet in which no two fields are alike.
void fill(vm::Packet& packet) {
  std::array<uint8_t, 100> frame{};
  packet.assign(frame, {.metadata = 8});
  packet.ingress_ifindex = 0x01020304;
  packet.ifindex = 0x11121314;
  packet.rx_queue_index = 0x21222324;
  vm::SkbFields& skb = packet.skb;
  skb.pkt_type = 3;
  skb.mark = 0x31323334;
  skb.queue_mapping = 0x4142;
  skb.protocol = 0x5152;
  skb.vlan_tci = 0x6162;
  skb.vlan_proto = 0x7172;
  skb.vlan_present = true;
  skb.priority = 0x81828384;
  for (uint32_t i = 0; i < 5; ++i) skb.cb[i] = 0x91929394 + i;
  skb.hash = 0xa1a2a3a4;
  skb.tc_index = 0xb1b2;
  skb.tc_classid = 0xc1c2;
  skb.napi_id = 0xd1d2d3d4;
  skb.tstamp = 0xe1e2e3e4e5e6e7e8;
  skb.wire_len = 0xf1f2;
  skb.gso_segs = 0x1415;
  skb.gso_size = 0x1617;
  skb.hwtstamp = 0x2425262728292a2b;
}

constexpr std::array kTypes = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS};
constexpr std::array kSizes = {BPF_B, BPF_H, BPF_W, BPF_DW};

uint64_t run(vm::Engine& engine, const vm::Program& program, vm::Packet& packet) {
  vm::Environment environment;
  vm::Invocation invocation(packet, environment);
  const uint64_t r0 = engine.compile(program)->run(invocation);
  EXPECT_FALSE(invocation.fault) << invocation.fault->message;
  return r0;
}

TEST(JitContext, ReadsEveryFieldAsTheInterpreterDoes) {
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  vm::Packet packet;
  fill(packet);
  uint32_t fields = 0;
  for (const bpf_prog_type type : kTypes) {
    const vm::ProgramType& row = *vm::find_program_type(type);
    for (uint32_t offset = 0; offset < row.context_size; ++offset) {
      for (const int size : kSizes) {
        // Registers that the access must leave alone are summed up behind it.
        Code code = {mov_reg(6, 1), mov(0, 3), mov(2, 5), mov(3, 7), mov(4, 11), mov(5, 13)};
        code.push_back(load(size, 7, 6, static_cast<int>(offset)));
        for (const int other : {2, 3, 4, 5}) code.push_back(alu64_reg(BPF_ADD, 0, other));
        code.push_back(alu64_reg(BPF_MOV, 8, 0));
        code.push_back(alu64_reg(BPF_MOV, 0, 7));
        code.push_back(alu64(BPF_LSH, 8, 8));
        code.push_back(alu64_reg(BPF_XOR, 8, 7));
        code.push_back(alu64_reg(BPF_MOV, 0, 8));
        code.push_back(exit_());
        const auto program = follow(code, type);
        if (!program || !jit::JitEngine::objection(**program).empty()) continue;
        ++fields;
        EXPECT_EQ(run(jit, **program, packet), run(interpreter, **program, packet))
            << row.name << ", offset " << offset << ", size " << size;
      }
    }
  }
  EXPECT_GT(fields, 60u);
}

TEST(JitContext, WritesEveryFieldAsTheInterpreterDoes) {
  jit::JitEngine jit;
  vm::Interpreter interpreter;
  uint32_t fields = 0;
  const vm::ProgramType& row = *vm::find_program_type(BPF_PROG_TYPE_SCHED_CLS);
  for (uint32_t offset = 0; offset < row.context_size; ++offset) {
    for (const int size : kSizes) {
      for (const bool immediate : {false, true}) {
        Code code = {mov_reg(6, 1), mov(0, 3), mov(2, 5), mov(3, 7)};
        const Code value = load64(4, 0x0123456789abcdef);
        code.insert(code.end(), value.begin(), value.end());
        code.push_back(immediate ? store_imm(size, 6, static_cast<int>(offset), 0x1234)
                                 : store(size, 6, 4, static_cast<int>(offset)));
        for (const int other : {2, 3, 4}) code.push_back(alu64_reg(BPF_ADD, 0, other));
        code.push_back(exit_());
        const auto program = follow(code, BPF_PROG_TYPE_SCHED_CLS);
        if (!program) continue;
        ++fields;
        vm::Packet ours;
        vm::Packet theirs;
        fill(ours);
        fill(theirs);
        EXPECT_EQ(run(jit, **program, ours), run(interpreter, **program, theirs));
        for (const vm::ContextField& field : row.fields) {
          if (field.is_address()) continue;
          EXPECT_EQ(field.load(ours), field.load(theirs))
              << field.name << " after a store at offset " << offset << ", size " << size;
        }
      }
    }
  }
  EXPECT_GT(fields, 20u);
}

}  // namespace
}  // namespace xnic::test

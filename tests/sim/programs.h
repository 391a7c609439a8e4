#pragma once

#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "sim/path.h"
#include "sim/run.h"
#include "vm/interpreter.h"
#include "vm/verifier.h"

// A small vocabulary for tests of sim: hand-made programs, random frames, and a sink that keeps
// what it is given.
namespace xnic::sim {

using Instructions = std::vector<bpf_insn>;

inline bpf_insn instruction(int code, int dst, int src, int off, int32_t imm) {
  bpf_insn made{};
  made.code = static_cast<__u8>(code);
  made.dst_reg = static_cast<__u8>(dst & 15);
  made.src_reg = static_cast<__u8>(src & 15);
  made.off = static_cast<__s16>(off);
  made.imm = imm;
  return made;
}
inline bpf_insn mov(int dst, int32_t imm) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm);
}
inline bpf_insn mov_reg(int dst, int src) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}
inline bpf_insn load(int size, int dst, int src, int off) {
  return instruction(BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}
inline bpf_insn call(int32_t helper) { return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
inline bpf_insn leave() { return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

inline Instructions give(int32_t code) { return {mov(0, code), leave()}; }
inline Instructions redirect_to(int32_t ifindex, int32_t flags) {
  return {mov(1, ifindex), mov(2, flags), call(BPF_FUNC_redirect), leave()};
}
// Reads outside its stack: verification of structure lets it pass, the interpreter does not.
inline Instructions fault() { return {mov(1, 0), load(BPF_DW, 0, 1, 0), leave()}; }
// XDP: the verdict is the last byte of the source address modulo 4, and that byte becomes 0xee.
// So it aborts, drops, passes and transmits.
inline Instructions verdict_of_source_address() {
  return {load(BPF_W, 2, 1, 0),
          load(BPF_W, 3, 1, 4),
          mov_reg(4, 2),
          instruction(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 14),
          mov(0, XDP_PASS),
          instruction(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 3, 0),
          load(BPF_B, 0, 2, 11),
          instruction(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 3),
          instruction(BPF_ST | BPF_MEM | BPF_B, 2, 0, 11, 0xee),
          leave()};
}
// XDP: takes `bytes` off the front (or adds -bytes) and passes.
inline Instructions adjust_head(int32_t bytes) {
  return {mov(2, bytes), call(BPF_FUNC_xdp_adjust_head), mov(0, XDP_PASS), leave()};
}
// tc: marks the packet with random bits and shoots one in four.
inline Instructions random_shot() {
  return {mov_reg(6, 1),
          call(BPF_FUNC_get_prandom_u32),
          instruction(BPF_STX | BPF_MEM | BPF_W, 6, 0, offsetof(__sk_buff, mark), 0),
          instruction(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 3),
          instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1, TC_ACT_SHOT),
          mov(0, TC_ACT_OK),
          leave()};
}

class NoMaps : public vm::MapResolver {
 public:
  std::shared_ptr<vm::Map> map_by_fd(int) override { return nullptr; }
};

inline std::shared_ptr<const vm::Program> program(bpf_prog_type type, Instructions code) {
  vm::ProgramSpec spec;
  spec.type = type;
  spec.name = "test";
  spec.license = "GPL";
  spec.instructions = std::move(code);
  NoMaps maps;
  auto verified = vm::Verifier::verify(std::move(spec), {}, maps);
  if (!verified) {
    ADD_FAILURE() << verified.error().message;
    return nullptr;
  }
  (*verified)->set_code(vm::Interpreter().compile(**verified));
  return *verified;
}

inline Hooks no_hooks() { return vm::make_hooks(); }

inline void attach(Hooks& hooks, vm::HookPoint point, Instructions code) {
  hooks[static_cast<size_t>(point)].attach(program(vm::hook_program_type(point), std::move(code)));
}

struct Sent {
  std::vector<uint8_t> bytes;
  uint64_t time_ps;
};

// Ethernet frames of all lengths, most of them IPv4 of many flows, some with a VLAN tag, with
// times that never decrease and stand still now and then.
inline std::vector<Sent> random_traffic(size_t count, uint64_t mean_gap_ps, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Sent> traffic;
  uint64_t time = 0;
  for (size_t i = 0; i < count; ++i) {
    size_t length = 60 + random() % 1455;
    if (random() % 50 == 0) length = random() % 60;
    if (random() % 100 == 0) length = 3000 + random() % 9000;
    std::vector<uint8_t> bytes(length);
    for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
    if (length >= 38 && random() % 8 != 0) {
      size_t at = 12;
      if (random() % 4 == 0) {
        bytes[at++] = 0x81;
        bytes[at++] = 0x00;
        at += 2;
      }
      bytes[at++] = 0x08;
      bytes[at++] = 0x00;
      bytes[at] = 0x45;
    }
    traffic.push_back({std::move(bytes), time});
    if (random() % 4 != 0) time += mean_gap_ps ? random() % (2 * mean_gap_ps) : 0;
  }
  return traffic;
}

inline FrameSource source_of(const std::vector<Sent>& traffic) {
  return [&traffic, next = size_t{0}](std::span<traces::Frame> frames) mutable -> Result<size_t> {
    size_t count = 0;
    for (; count < frames.size() && next < traffic.size(); ++count) {
      const Sent& sent = traffic[next++];
      traces::Frame& frame = frames[count];
      frame.id = next;
      frame.time_ps = sent.time_ps;
      frame.bytes = sent.bytes;
      frame.original_length = static_cast<uint32_t>(sent.bytes.size());
    }
    return count;
  };
}

struct Kept {
  std::vector<uint8_t> bytes;
  uint32_t mark = 0;
  Outcome outcome;
};

// Keeps every packet by its id.
class KeepingSink : public OutcomeSink {
 public:
  void done(const vm::Packet& packet, const Outcome& outcome) override {
    if (packets.size() < outcome.packet_id) packets.resize(outcome.packet_id);
    Kept& kept = packets[outcome.packet_id - 1];
    EXPECT_EQ(kept.outcome.packet_id, 0u) << "packet " << outcome.packet_id << " ended twice";
    kept = {packet.bytes(), packet.skb.mark, outcome};
  }
  std::vector<Kept> packets;
};

inline RunOptions options() {
  RunOptions made;
  made.profile = nic::load_profile("generic-100g").value();
  made.seed = 42;
  return made;
}

inline uint64_t dropped(const RunSummary& summary, DropReason reason) {
  return summary.drops[static_cast<size_t>(reason)];
}

inline uint64_t all_drops(const RunSummary& summary) {
  uint64_t sum = 0;
  for (const uint64_t count : summary.drops) sum += count;
  return sum;
}

// What holds for every run: each packet ended once, packets are conserved, times do not go back.
inline void expect_whole(const std::vector<Sent>& traffic, const KeepingSink& sink,
                         const RunSummary& summary) {
  EXPECT_EQ(summary.frames, traffic.size());
  EXPECT_EQ(summary.frames, summary.delivered + summary.transmitted + all_drops(summary));
  ASSERT_EQ(sink.packets.size(), traffic.size());
  uint64_t latest = 0;
  for (size_t i = 0; i < traffic.size(); ++i) {
    const Outcome& outcome = sink.packets[i].outcome;
    ASSERT_EQ(outcome.packet_id, i + 1);
    EXPECT_GE(outcome.arrival_ps, traffic[i].time_ps);
    uint64_t time = outcome.arrival_ps;
    for (const HookEvent& event : outcome.events) {
      EXPECT_GE(event.time_ps, time) << "packet " << i + 1;
      time = event.time_ps;
    }
    EXPECT_GE(outcome.end_ps, time) << "packet " << i + 1;
    EXPECT_EQ(outcome.end == End::dropped, outcome.reason != DropReason::none);
    latest = std::max(latest, outcome.end_ps);
  }
  EXPECT_EQ(summary.simulated_ns, latest / 1000);
}

}  // namespace xnic::sim

// Prologues by their shape: which programs have one, and that it leaves no trace. Over whole
// objects: tests/jit/objects_test.cpp.
#include "vm/prologue.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/bpf_host.h"
#include "vm/hook.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::vm {
namespace {

using namespace test;  // NOLINT: the instructions' names

constexpr uint32_t kFlows = 1 << 16;
constexpr int16_t kSource = 26;  // of IPv4, in the frame

const uint8_t* address_of_key(const uint32_t& key) {
  return reinterpret_cast<const uint8_t*>(&key);
}

class PrologueTest : public testing::Test {
 protected:
  // Looks up the source address if the packet has one, and drops the unknown.
  static Instructions check_length() {
    return {load(4, r2, r1, 0),       load(4, r3, r1, 4), move(r4, r2), alu(BPF_ADD, r4, 34),
            jump(BPF_JLE, r4, r3, 2), move(r0, XDP_PASS), leave()};
  }
  static Instructions look_up(int fd) {
    return Instructions{load(4, r5, r2, kSource), store(4, r10, -4, r5)} + load_map(r1, fd) +
           Instructions{move(r2, r10),
                        alu(BPF_ADD, r2, -4),
                        call(BPF_FUNC_map_lookup_elem),
                        jump(BPF_JNE, r0, 0, 2),
                        move(r0, XDP_DROP),
                        leave(),
                        move(r0, XDP_PASS),
                        leave()};
  }

  std::shared_ptr<const Program> load_program(const Instructions& instructions) {
    const Descriptor fd = host_.load(BPF_PROG_TYPE_XDP, instructions);
    EXPECT_EQ(fd.error(), 0);
    return kernel_.program_by_fd(fd.fd());
  }

  static Bytes frame(uint32_t source, uint32_t length = 64) {
    Bytes bytes(length);
    if (length >= 34) std::memcpy(bytes.data() + kSource, &source, sizeof source);
    return bytes;
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  EmulatedKernel host_{kernel_};
  Environment environment_;
  Descriptor flows_ = host_.create_map(BPF_MAP_TYPE_HASH, 4, 8, kFlows);
  Descriptor counters_ = host_.create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4);
};

TEST_F(PrologueTest, FetchesForPacketsThatReachTheLookup) {
  const auto program = load_program(check_length() + look_up(flows_.fd()));
  ASSERT_NE(program->prologue(), nullptr);
  Packet whole(frame(1));
  Packet cut(frame(1, 20));
  const uint64_t handle = program->prologue()->fetch_bucket(whole, environment_);
  EXPECT_NE(handle, 0u);
  program->prologue()->fetch_entry(handle);
  EXPECT_EQ(program->prologue()->fetch_bucket(cut, environment_), 0u);
}

TEST_F(PrologueTest, LeavesOutWhatWritesToPacketsAndMaps) {
  const Instructions count = Instructions{store(4, r10, -8, 0), move(r6, r2)} +
                             load_map(r1, counters_.fd()) +
                             Instructions{move(r2, r10),
                                          alu(BPF_ADD, r2, -8),
                                          call(BPF_FUNC_map_lookup_elem),
                                          jump(BPF_JEQ, r0, 0, 1),
                                          store(8, r0, 0, 7),
                                          store(1, r6, 0, 0xee),
                                          move(r2, r6)};
  const auto program = load_program(check_length() + count + look_up(flows_.fd()));
  ASSERT_NE(program->prologue(), nullptr);
  Packet packet(frame(1));
  EXPECT_NE(program->prologue()->fetch_bucket(packet, environment_), 0u);
  EXPECT_EQ(packet.bytes(), frame(1));
  const uint32_t key = 0;
  uint64_t value = 0;
  std::memcpy(&value, kernel_.map_by_fd(counters_.fd())->lookup(address_of_key(key), 0),
              sizeof value);
  EXPECT_EQ(value, 0u);
}

TEST_F(PrologueTest, IsThereOnlyWhereItPays) {
  const Descriptor few = host_.create_map(BPF_MAP_TYPE_HASH, 4, 8, 16);
  EXPECT_EQ(load_program(check_length() + look_up(few.fd()))->prologue(), nullptr);
  EXPECT_EQ(load_program({move(r0, XDP_PASS), leave()})->prologue(), nullptr);
  Instructions much = {move(r7, 0)};
  for (int i = 0; i < 200; ++i) much.push_back(alu(BPF_ADD, r7, 1));
  EXPECT_EQ(load_program(much + check_length() + look_up(flows_.fd()))->prologue(), nullptr);
}

TEST_F(PrologueTest, GivesUpAtWhatHasEffectsOrComesAgain) {
  const Instructions random = {move(r6, r1), call(BPF_FUNC_get_prandom_u32), move(r1, r6)};
  EXPECT_EQ(load_program(random + check_length() + look_up(flows_.fd()))->prologue(), nullptr);
  const Instructions loop = {move(r7, 4), alu(BPF_SUB, r7, 1), jump(BPF_JNE, r7, 0, -2)};
  EXPECT_EQ(load_program(loop + check_length() + look_up(flows_.fd()))->prologue(), nullptr);
}

TEST_F(PrologueTest, RunsForBurstsOfAnyLength) {
  Hook hook(HookPoint::xdp_native);
  hook.prefetch({});
  hook.attach(load_program(check_length() + look_up(flows_.fd())));
  std::shared_ptr<Map> flows = kernel_.map_by_fd(flows_.fd());
  for (const size_t length : {size_t{1}, size_t{32}, size_t{100}}) {
    std::vector<std::unique_ptr<Packet>> packets;
    std::vector<Hook::Waiting> waiting;
    for (uint32_t i = 0; i < length; ++i) {
      packets.push_back(std::make_unique<Packet>(frame(i)));
      waiting.push_back({packets.back().get(), &environment_});
      const uint64_t value = i;
      if (i % 2 == 0) {
        flows->user_update(address_of_key(i), reinterpret_cast<const uint8_t*>(&value), BPF_ANY);
      }
    }
    hook.prefetch(waiting);
    for (uint32_t i = 0; i < length; ++i) {
      EXPECT_EQ(hook.run(*packets[i], environment_).code, i % 2 == 0 ? XDP_PASS : XDP_DROP);
    }
  }
}

}  // namespace
}  // namespace xnic::vm

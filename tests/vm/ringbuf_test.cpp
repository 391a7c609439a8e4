// What the interpreter does with programs that mistreat ring buffer records: Linux refuses to load
// them, so the sentence of the fault is what is checked.
#include "vm/maps/ringbuf.h"

#include <gtest/gtest.h>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"

namespace xnic::test {
namespace {

class Records : public testing::Test {
 protected:
  // The sentence of the fault; empty if there is none.
  std::string run(const Instructions& code) {
    const Descriptor program = host_.load(BPF_PROG_TYPE_XDP, code);
    EXPECT_EQ(program.error(), 0);
    vm::Packet packet{Bytes(64)};
    vm::Invocation invocation(packet, kernel_.environment());
    kernel_.programs.by_fd(program.fd())->code().run(invocation);
    return invocation.fault ? invocation.fault->message : "";
  }
  Instructions reserve(int32_t size) {
    return load_map(r1, map_.fd()) +
           Instructions{move(r2, size), move(r3, 0), call(BPF_FUNC_ringbuf_reserve), move(r6, r0)};
  }
  static Instructions finish(int32_t helper) { return {move(r1, r6), move(r2, 0), call(helper)}; }
  std::vector<Bytes> records() {
    std::vector<Bytes> all;
    vm::RingBuffer::of(*kernel_.map_by_fd(map_.fd()))->consume([&](std::span<const uint8_t> bytes) {
      all.emplace_back(bytes.begin(), bytes.end());
    });
    return all;
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_, {.verify_values = false}};
  EmulatedKernel host_{kernel_};
  Descriptor map_ = host_.create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
};

TEST_F(Records, AreMemoryOfTheProgramUntilTheyAreSubmitted) {
  const Instructions write = {store(8, r6, 0, 7), store(8, r6, 8, 9)};
  EXPECT_EQ(run(reserve(16) + write + finish(BPF_FUNC_ringbuf_submit) + Instructions{leave()}), "");
  EXPECT_EQ(records(), std::vector<Bytes>({{7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0}}));
}

TEST_F(Records, AreNobodysAfterTheyWereSubmitted) {
  const std::string fault = run(reserve(16) + finish(BPF_FUNC_ringbuf_submit) +
                                Instructions{store(8, r6, 8, 1), leave()});
  EXPECT_NE(fault.find("offset 8 of a ring buffer record of 16 bytes, which was submitted"),
            std::string::npos)
      << fault;
}

TEST_F(Records, EndWhereTheirSizeEnds) {
  const std::string fault = run(reserve(16) + Instructions{store(8, r6, 9, 1)} +
                                finish(BPF_FUNC_ringbuf_submit) + Instructions{leave()});
  EXPECT_NE(fault.find("offset 9 of a ring buffer record of 16 bytes"), std::string::npos) << fault;
}

TEST_F(Records, ThatAreLeftBehindAreAFaultAndDoNotBlockTheRing) {
  const std::string fault = run(reserve(16) + Instructions{leave()});
  EXPECT_NE(fault.find("unreleased reference"), std::string::npos) << fault;
  EXPECT_EQ(run(reserve(0) + finish(BPF_FUNC_ringbuf_submit) + Instructions{leave()}), "");
  EXPECT_EQ(records(), std::vector<Bytes>(1));
}

TEST_F(Records, CanBeSubmittedOnlyOnceAndOnlyFromTheirStart) {
  const std::string twice = run(reserve(16) + finish(BPF_FUNC_ringbuf_submit) +
                                finish(BPF_FUNC_ringbuf_discard) + Instructions{leave()});
  EXPECT_NE(twice.find("gives bpf_ringbuf_discard no open ring buffer record in r1"),
            std::string::npos)
      << twice;
  const std::string inside = run(reserve(16) + Instructions{alu(BPF_ADD, r6, 8)} +
                                 finish(BPF_FUNC_ringbuf_submit) + Instructions{leave()});
  EXPECT_NE(inside.find("gives bpf_ringbuf_submit no open ring buffer record in r1"),
            std::string::npos)
      << inside;
}

TEST_F(Records, GoOnlyToRingBuffers) {
  const Descriptor array = host_.create_map(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
  const std::string fault =
      run(load_map(r1, array.fd()) +
          Instructions{move(r2, 8), move(r3, 0), call(BPF_FUNC_ringbuf_reserve), leave()});
  EXPECT_NE(fault.find("calls bpf_ringbuf_reserve on a map of type array"), std::string::npos)
      << fault;
}

}  // namespace
}  // namespace xnic::test

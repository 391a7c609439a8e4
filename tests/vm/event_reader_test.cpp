// libbpf's own readers, ring_buffer and perf_buffer, over the emulated kernel and the real one.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/perf_event.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/vm/two_kernels.h"

namespace xnic::test {
namespace {

// What a reader told, call by call.
using Story = std::vector<std::string>;

std::string text_of(const void* data, size_t size) {
  std::string text = std::to_string(size) + ":";
  for (size_t i = 0; i < size; ++i) {
    text += std::to_string(static_cast<const uint8_t*>(data)[i]) + ",";
  }
  return text;
}

// Where two stories part; empty if they do not.
std::string difference(const Story& ours, const Story& theirs) {
  for (size_t i = 0; i < std::max(ours.size(), theirs.size()); ++i) {
    const std::string mine = i < ours.size() ? ours[i] : "the end";
    const std::string other = i < theirs.size() ? theirs[i] : "the end";
    if (mine != other) return "line " + std::to_string(i) + ": xnic " + mine + ", Linux " + other;
  }
  return {};
}

int on_record(void* story, void* data, size_t size) {
  static_cast<Story*>(story)->push_back(text_of(data, size));
  return 0;
}
void on_sample(void* story, int cpu, void* data, uint32_t size) {
  static_cast<Story*>(story)->push_back("cpu " + std::to_string(cpu) + " " + text_of(data, size));
}
void on_lost(void* story, int cpu, __u64 count) {
  static_cast<Story*>(story)->push_back("cpu " + std::to_string(cpu) + " lost " +
                                        std::to_string(count));
}

Instructions ring_output(int map, uint32_t size, int32_t flags) {
  return fill_stack(64, 0x31) + load_map(r1, map) +
         Instructions{move(r3, static_cast<int32_t>(size)), move(r4, flags),
                      call(BPF_FUNC_ringbuf_output), leave()};
}

Story ring_story(bool real) {
  OneKernel kernel(real);
  Story story;
  const Descriptor first = kernel->create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
  const Descriptor second = kernel->create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 8192);
  const auto scope = kernel.scope();
  ring_buffer* reader = ring_buffer__new(first.fd(), on_record, &story, nullptr);
  if (reader == nullptr) return {"no reader"};
  story.push_back("add " +
                  std::to_string(ring_buffer__add(reader, second.fd(), on_record, &story)));
  const Descriptor noisy = kernel->load(BPF_PROG_TYPE_XDP, ring_output(first.fd(), 20, 0));
  const Descriptor quiet =
      kernel->load(BPF_PROG_TYPE_XDP, ring_output(first.fd(), 9, BPF_RB_NO_WAKEUP));
  const Descriptor other = kernel->load(BPF_PROG_TYPE_XDP, ring_output(second.fd(), 64, 0));
  const auto run = [&](const Descriptor& program) {
    const RunAnswer answer = kernel->run(program.fd(), on_packet(Bytes(64)));
    story.push_back("run " + std::to_string(static_cast<int32_t>(answer.code)));
  };
  const auto poll = [&] {
    story.push_back("poll " + std::to_string(ring_buffer__poll(reader, 20)));
  };
  poll();
  run(noisy);
  run(other);
  poll();
  poll();
  run(quiet);
  poll();  // asleep, for nobody woke it
  story.push_back("consume " + std::to_string(ring_buffer__consume(reader)));
  run(noisy);
  story.push_back("consume " + std::to_string(ring_buffer__consume(reader)));
  poll();
  for (int i = 0; i < 200; ++i) run(noisy);
  poll();
  for (int i = 0; i < 50; ++i) {
    run(i % 3 == 0 ? quiet : noisy);
    if (i % 7 == 0) poll();
  }
  poll();
  ring_buffer__free(reader);
  return story;
}

TEST(RingBufferReader, TellsTheSameStoryOverBothKernels) {
  XNIC_NEEDS_REAL_KERNEL();
  stay_on_cpu_0();
  const Story theirs = ring_story(true);
  EXPECT_GT(theirs.size(), 400u);
  EXPECT_EQ(difference(ring_story(false), theirs), "");
}

TEST(RingBufferReader, SeesRecordsThatWereThereBeforeIt) {
  OneKernel kernel(false);
  Story story;
  const Descriptor map = kernel->create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
  const Descriptor program = kernel->load(BPF_PROG_TYPE_XDP, ring_output(map.fd(), 1, 0));
  ASSERT_EQ(kernel->run(program.fd(), on_packet(Bytes(64))).code, 0u);
  const auto scope = kernel.scope();
  ring_buffer* reader = ring_buffer__new(map.fd(), on_record, &story, nullptr);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(ring_buffer__poll(reader, 100), 1);
  EXPECT_EQ(story, Story{"1:49,"});
  ring_buffer__free(reader);
}

Story perf_story(bool real) {
  OneKernel kernel(real);
  Story story;
  const Descriptor map = kernel->create_map(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1);
  const auto program = [&](uint64_t flags, int32_t size) {
    return kernel->load(
        BPF_PROG_TYPE_XDP,
        Instructions{move(r6, r1)} + fill_stack(64, 0x41) + Instructions{move(r4, r2)} +
            load_map(r2, map.fd()) + load_value(r3, flags) +
            Instructions{move(r1, r6), move(r5, size), call(BPF_FUNC_perf_event_output), leave()});
  };
  const Descriptor plain = program(BPF_F_CURRENT_CPU, 12);
  const Descriptor with_packet = program(BPF_F_CURRENT_CPU | 48ull << 32, 20);
  const auto run = [&](const Descriptor& which) {
    const RunAnswer answer = kernel->run(which.fd(), on_packet(Bytes(64, 7)));
    story.push_back("run " + std::to_string(static_cast<int32_t>(answer.code)));
  };
  run(plain);
  const auto scope = kernel.scope();
  perf_buffer* reader = perf_buffer__new(map.fd(), 1, on_sample, on_lost, &story, nullptr);
  if (reader == nullptr) return {"no reader"};
  const auto poll = [&] {
    story.push_back("poll " + std::to_string(perf_buffer__poll(reader, 20)));
  };
  poll();
  run(plain);
  run(with_packet);
  poll();
  poll();
  for (int i = 0; i < 100; ++i) run(with_packet);
  poll();
  run(plain);
  story.push_back("consume " + std::to_string(perf_buffer__consume(reader)));
  perf_buffer__free(reader);
  run(plain);
  return story;
}

TEST(PerfBufferReader, TellsTheSameStoryOverBothKernels) {
  XNIC_NEEDS_REAL_KERNEL();
  stay_on_cpu_0();
  const Story theirs = perf_story(true);
  if (theirs == Story{"no reader"}) GTEST_SKIP() << "The kernel here permits no perf events.";
  EXPECT_GT(theirs.size(), 100u);
  EXPECT_EQ(difference(perf_story(false), theirs), "");
}

}  // namespace
}  // namespace xnic::test

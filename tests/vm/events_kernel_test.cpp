// Ring buffers and perf events against the running kernel's: the same programs in both, and what
// user space maps must be the same bytes.
#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "tests/vm/two_kernels.h"

namespace xnic::test {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kRing = 4096;

Bytes packet(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + 1);
  return bytes;
}

Instructions output(int map, uint32_t size, uint64_t flags) {
  return fill_stack(64, 0x1000) + load_map(r1, map) +
         Instructions{move(r3, static_cast<int32_t>(size))} + load_value(r4, flags) +
         Instructions{call(BPF_FUNC_ringbuf_output), leave()};
}

// 99 where nothing could be reserved.
Instructions reserve(int map, uint32_t size, int32_t end_helper, int32_t flags) {
  Instructions code = load_map(r1, map) + Instructions{move(r2, static_cast<int32_t>(size)),
                                                       move(r3, 0),
                                                       call(BPF_FUNC_ringbuf_reserve),
                                                       jump(BPF_JNE, r0, 0, 2),
                                                       move(r0, 99),
                                                       leave()};
  if (size >= 8) code.push_back(store(8, r0, 0, 0x22334455));
  if (size >= 32) code.push_back(store(4, r0, static_cast<int16_t>(size - 4), 0x66));
  return code + Instructions{move(r1, r0), move(r2, flags), call(end_helper), move(r0, 0), leave()};
}

Instructions query(int map, uint64_t what) {
  return load_map(r1, map) + load_value(r2, what) +
         Instructions{call(BPF_FUNC_ringbuf_query), leave()};
}

// A ring buffer in one kernel, mapped as a reader maps it, and the programs of the test.
class MappedRing {
 public:
  explicit MappedRing(bool real) : kernel_(real) {
    map_ = kernel_->create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, kRing);
    const auto scope = kernel_.scope();
    consumer_ = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, map_.fd(), 0);
    producer_ = mmap(nullptr, kPage + 2 * kRing, PROT_READ, MAP_SHARED, map_.fd(), kPage);
  }
  ~MappedRing() {
    if (consumer_ != MAP_FAILED) munmap(consumer_, kPage);
    if (producer_ != MAP_FAILED) munmap(producer_, kPage + 2 * kRing);
  }

  bool mapped() const { return consumer_ != MAP_FAILED && producer_ != MAP_FAILED; }
  int fd() const { return map_.fd(); }
  OneKernel& kernel() { return kernel_; }
  void add(const Instructions& code) {
    programs_.push_back(kernel_->load(BPF_PROG_TYPE_XDP, code));
  }
  long error_of(size_t program) const { return programs_[program].error(); }
  RunAnswer run(size_t program) {
    return kernel_->run(programs_[program].fd(), on_packet(packet(64)));
  }

  uint64_t produced() const { return *static_cast<const volatile uint64_t*>(producer_); }
  void consume_all() { *static_cast<volatile uint64_t*>(consumer_) = produced(); }
  Bytes bytes() const {
    const auto* data = static_cast<const uint8_t*>(producer_) + kPage;
    return {data, data + 2 * kRing};
  }

 private:
  OneKernel kernel_;
  Descriptor map_;
  void* consumer_;
  void* producer_;
  std::vector<Descriptor> programs_;
};

TEST(RingBufferAgainstKernel, HoldsTheSameBytesAfterAnySequenceOfRecords) {
  XNIC_NEEDS_REAL_KERNEL();
  stay_on_cpu_0();
  MappedRing ours(false);
  MappedRing theirs(true);
  ASSERT_TRUE(ours.mapped());
  ASSERT_TRUE(theirs.mapped());
  for (MappedRing* ring : {&ours, &theirs}) {
    for (const uint32_t size : {0u, 1u, 7u, 8u, 9u, 64u}) ring->add(output(ring->fd(), size, 0));
    ring->add(output(ring->fd(), 8, BPF_RB_NO_WAKEUP));
    ring->add(output(ring->fd(), 8, BPF_RB_FORCE_WAKEUP));
    ring->add(output(ring->fd(), 8, 4));
    ring->add(output(ring->fd(), 8, 1ull << 40));
    for (const uint32_t size : {0u, 8u, 33u, 1000u, 4000u, 4080u, 4088u, 4089u, 8192u}) {
      ring->add(reserve(ring->fd(), size, BPF_FUNC_ringbuf_submit, 0));
      ring->add(reserve(ring->fd(), size, BPF_FUNC_ringbuf_discard, BPF_RB_FORCE_WAKEUP));
    }
    for (uint64_t what = 0; what < 6; ++what) ring->add(query(ring->fd(), what));
  }
  constexpr size_t kPrograms = 10 + 18 + 6;
  for (size_t i = 0; i < kPrograms; ++i) {
    ASSERT_EQ(theirs.error_of(i), 0) << "program " << i;
    ASSERT_EQ(ours.error_of(i), 0) << "program " << i;
  }
  std::mt19937 random(5);
  int full = 0;
  for (int step = 0; step < 4000; ++step) {
    const size_t program = random() % kPrograms;
    const RunAnswer mine = ours.run(program);
    const RunAnswer other = theirs.run(program);
    ASSERT_EQ(mine, other) << "step " << step << ", program " << program << ": "
                           << difference(mine, other);
    ASSERT_EQ(ours.produced(), theirs.produced()) << "step " << step;
    ASSERT_EQ(ours.bytes(), theirs.bytes()) << "step " << step << ", program " << program;
    full += other.code == 99 || other.code == static_cast<uint32_t>(-EAGAIN);
    if (random() % 8 == 0) {
      ours.consume_all();
      theirs.consume_all();
    }
  }
  EXPECT_GT(full, 100);
  EXPECT_GT(theirs.produced(), 10 * kRing);
}

TEST(RingBufferAgainstKernel, AnswersBadSizesFlagsAndMappingsAlike) {
  XNIC_NEEDS_REAL_KERNEL();
  struct Spec {
    uint32_t key, value, entries, flags;
  };
  std::vector<std::vector<long>> answers;
  for (const bool real : {false, true}) {
    OneKernel kernel(real);
    std::vector<long> seen;
    for (const Spec& s :
         {Spec{0, 0, 4096, 0}, Spec{0, 0, 0, 0}, Spec{0, 0, 4095, 0}, Spec{0, 0, 2048, 0},
          Spec{0, 0, 12288, 0}, Spec{4, 0, 4096, 0}, Spec{0, 4, 4096, 0},
          Spec{0, 0, 4096, BPF_F_NO_PREALLOC}, Spec{0, 0, 4096, BPF_F_RDONLY},
          Spec{0, 0, 4096, BPF_F_MMAPABLE}, Spec{0, 0, 1 << 20, 0}}) {
      seen.push_back(
          kernel->create_map(BPF_MAP_TYPE_RINGBUF, s.key, s.value, s.entries, s.flags).error());
    }
    const Descriptor map = kernel->create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, kRing);
    const auto scope = kernel.scope();
    struct Mapping {
      size_t length;
      int protection;
      int flags;
      off_t offset;
    };
    for (const Mapping& m :
         {Mapping{kPage, PROT_READ | PROT_WRITE, MAP_SHARED, 0},
          Mapping{2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, 0},
          Mapping{kPage, PROT_READ | PROT_WRITE, MAP_SHARED, kPage},
          Mapping{kPage, PROT_READ, MAP_PRIVATE, 0}, Mapping{4 * kPage, PROT_READ, MAP_SHARED, 0},
          Mapping{5 * kPage, PROT_READ, MAP_SHARED, 0},
          Mapping{4 * kPage, PROT_READ, MAP_SHARED, kPage}}) {
      void* at = mmap(nullptr, m.length, m.protection, m.flags, map.fd(), m.offset);
      seen.push_back(at == MAP_FAILED ? -errno : 0);
      if (at != MAP_FAILED) munmap(at, m.length);
    }
    answers.push_back(seen);
  }
  EXPECT_EQ(answers[0], answers[1]);
}

// A perf event array of one kernel with one mapped event in slot 0.
class MappedEvent {
 public:
  explicit MappedEvent(bool real) : kernel_(real) {
    map_ = kernel_->create_map(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 4);
    const auto scope = kernel_.scope();
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_BPF_OUTPUT;
    attr.sample_type = PERF_SAMPLE_RAW;
    attr.sample_period = attr.wakeup_events = 1;
    event_ = Descriptor(syscall(__NR_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
  }
  ~MappedEvent() {
    if (ring_ != MAP_FAILED) munmap(ring_, kPage + kRing);
  }

  long event_error() const { return event_.error(); }
  int fd() const { return map_.fd(); }
  void add(const Instructions& code) { programs_.push_back(kernel_->load(type_, code)); }
  bool map_ring() {
    const auto scope = kernel_.scope();
    ring_ = mmap(nullptr, kPage + kRing, PROT_READ | PROT_WRITE, MAP_SHARED, event_.fd(), 0);
    return ring_ != MAP_FAILED;
  }
  long enable(bool on) {
    const auto scope = kernel_.scope();
    return ioctl(event_.fd(), on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0);
  }
  long element(bpf_cmd command, uint32_t index, int fd, uint64_t flags = 0) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map_.fd());
    attr.key = address_of(&index);
    if (command != BPF_MAP_DELETE_ELEM) attr.value = address_of(&fd);
    attr.flags = flags;
    return kernel_->bpf(command, attr);
  }
  long store(uint32_t index) { return element(BPF_MAP_UPDATE_ELEM, index, event_.fd()); }
  int event_fd() const { return event_.fd(); }
  // r0 of a run, or the error of TEST_RUN.
  long run(size_t program) {
    const RunAnswer answer = kernel_->run(programs_[program].fd(), on_packet(packet(64)));
    return answer.error != 0 ? answer.error * 1000 : static_cast<int32_t>(answer.code);
  }
  uint64_t head() const { return page()->data_head; }
  void consume_all() { page()->data_tail = page()->data_head; }
  // The bytes between tail and head, without the number of the event in records of losses.
  Bytes unread() const {
    const auto* data = static_cast<const uint8_t*>(ring_) + kPage;
    Bytes bytes;
    for (uint64_t at = page()->data_tail; at < page()->data_head; ++at) {
      bytes.push_back(data[at % kRing]);
    }
    for (size_t at = 0; at + 8 <= bytes.size();) {
      perf_event_header header;
      std::memcpy(&header, &bytes[at], sizeof header);
      if (header.size == 0) break;
      if (header.type == PERF_RECORD_LOST) std::memset(&bytes[at + 8], 0, 8);
      at += header.size;
    }
    return bytes;
  }

  bpf_prog_type type_ = BPF_PROG_TYPE_XDP;

 private:
  volatile perf_event_mmap_page* page() const { return static_cast<perf_event_mmap_page*>(ring_); }

  OneKernel kernel_;
  Descriptor map_;
  Descriptor event_;
  void* ring_ = MAP_FAILED;
  std::vector<Descriptor> programs_;
};

Instructions event_output(int map, uint64_t flags, uint32_t size) {
  return Instructions{move(r6, r1)} + fill_stack(64, 0x2000) + Instructions{move(r4, r2)} +
         load_map(r2, map) + load_value(r3, flags) +
         Instructions{move(r1, r6), move(r5, static_cast<int32_t>(size)),
                      call(BPF_FUNC_perf_event_output), leave()};
}

class PerfEventsAgainstKernel : public testing::TestWithParam<bpf_prog_type> {};

TEST_P(PerfEventsAgainstKernel, HaveTheSameRecordsAndAnswers) {
  XNIC_NEEDS_REAL_KERNEL();
  stay_on_cpu_0();
  MappedEvent ours(false);
  MappedEvent theirs(true);
  if (theirs.event_error() != 0) GTEST_SKIP() << "The kernel here permits no perf events.";
  ASSERT_EQ(ours.event_error(), 0);
  const uint64_t flags[] = {BPF_F_CURRENT_CPU,
                            0,
                            1,
                            4,
                            14ull << 32 | BPF_F_CURRENT_CPU,
                            64ull << 32,
                            65ull << 32,
                            1ull << 52,
                            33ull << 32 | BPF_F_CURRENT_CPU};
  size_t programs = 0;
  for (const uint64_t flag : flags) {
    for (const uint32_t size : {0u, 1u, 4u, 12u, 63u, 64u}) {
      for (MappedEvent* event : {&ours, &theirs}) {
        event->type_ = GetParam();
        event->add(event_output(event->fd(), flag, size));
      }
      ++programs;
    }
  }
  const auto agree_on_all = [&](const char* when) {
    for (size_t i = 0; i < programs; ++i) {
      ASSERT_EQ(ours.run(i), theirs.run(i)) << when << ", program " << i;
    }
  };
  agree_on_all("before an event is stored");
  ASSERT_EQ(ours.store(0), 0);
  ASSERT_EQ(theirs.store(0), 0);
  ASSERT_EQ(ours.store(1), theirs.store(1));
  agree_on_all("before the ring is mapped");
  ASSERT_TRUE(ours.map_ring());
  ASSERT_TRUE(theirs.map_ring());
  std::mt19937 random(9);
  int full = 0;
  int with_losses = 0;
  for (int step = 0; step < 3000; ++step) {
    const size_t program = random() % programs;
    const long expected = theirs.run(program);
    ASSERT_EQ(ours.run(program), expected) << "step " << step << ", program " << program;
    full += expected == -ENOSPC;
    ASSERT_EQ(ours.head(), theirs.head()) << "step " << step << ", program " << program;
    ASSERT_EQ(ours.unread(), theirs.unread()) << "step " << step << ", program " << program;
    if (const Bytes unread = theirs.unread(); !unread.empty()) {
      with_losses += unread[0] == PERF_RECORD_LOST;
    }
    if (random() % 60 == 0) {
      ours.consume_all();
      theirs.consume_all();
    }
  }
  EXPECT_GT(full, 50);
  EXPECT_GT(with_losses, 5);
  ASSERT_EQ(ours.enable(false), theirs.enable(false));
  agree_on_all("while the event is disabled");
  ASSERT_EQ(ours.enable(true), theirs.enable(true));
  agree_on_all("after it was enabled again");
}

INSTANTIATE_TEST_SUITE_P(AtBothHooks, PerfEventsAgainstKernel,
                         testing::Values(BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS));

TEST(PerfEventArrayAgainstKernel, AnswersElementCommandsAlike) {
  XNIC_NEEDS_REAL_KERNEL();
  MappedEvent ours(false);
  MappedEvent theirs(true);
  if (theirs.event_error() != 0) GTEST_SKIP() << "The kernel here permits no perf events.";
  std::vector<std::vector<long>> answers;
  for (MappedEvent* event : {&ours, &theirs}) {
    std::vector<long> seen;
    for (const uint32_t index : {0u, 3u, 4u}) {
      seen.push_back(event->element(BPF_MAP_DELETE_ELEM, index, 0));
      seen.push_back(event->element(BPF_MAP_LOOKUP_ELEM, index, 0));
      for (const int fd : {event->event_fd(), -1, 1 << 20, event->fd(), STDOUT_FILENO}) {
        seen.push_back(event->element(BPF_MAP_UPDATE_ELEM, index, fd));
      }
      seen.push_back(event->element(BPF_MAP_UPDATE_ELEM, index, event->event_fd(), BPF_NOEXIST));
      seen.push_back(event->element(BPF_MAP_LOOKUP_ELEM, index, 0));
      seen.push_back(event->element(BPF_MAP_DELETE_ELEM, index, 0));
      seen.push_back(event->element(BPF_MAP_DELETE_ELEM, index, 0));
    }
    answers.push_back(seen);
  }
  EXPECT_EQ(answers[0], answers[1]);
}

}  // namespace
}  // namespace xnic::test

// The untimed replay: the capture's timestamps are the clock. Packets go in bursts, so that what
// they need can be fetched ahead; each burst is read, run and given to the sink in the capture's
// order. With several threads, one reads, steers packets to the lanes of their CPUs, which take
// them in and run programs, and gives finished ones to the sink; so many batches are under way that
// all are busy, and no more. What a lane leaves out is said in sim/lane.cpp. Test:
// tests/sim/untimed_test.cpp, tests/sim/threads_test.cpp.
#include "sim/untimed.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "nic/rss.h"
#include "sim/hook_copies.h"
#include "sim/lane.h"

namespace xnic::sim {
namespace {

constexpr size_t kBurst = 32;  // packets

Result<RunSummary> run_alone(const FrameSource& source, const InterfaceHooks& hooks,
                             const RunOptions& options, OutcomeSink& sink) {
  const bool wanted = sink.wants_packets();
  const nic::Rss rss(options.profile.queues.whole());
  // A hash that chooses no queue, and that nobody sees, is left out.
  const bool hashes = options.profile.queues.whole() > 1 || hooks.see_rss_hashes();
  Lane lane(hooks, options, false, wanted);
  std::array<traces::Frame, kBurst> frames;
  std::array<Journey, kBurst> journeys;
  std::array<Journey*, kBurst> burst;
  for (size_t i = 0; i < kBurst; ++i) burst[i] = &journeys[i];
  for (;;) {
    const auto got = source(frames);
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) return lane.tally().summary();
    for (size_t i = 0; i < *got; ++i) {
      const traces::Frame& frame = frames[i];
      const auto steering = hashes ? rss.steer(frame.bytes) : nic::Rss::Steering();
      Lane::enter(frame, steering, options.entrances[frame.source], journeys[i]);
    }
    lane.run(std::span(burst).first(*got), [&](const Journey& journey) {
      if (wanted) sink.done(journey.packet, journey.outcome);
    });
  }
}

// Batches of frames on their way from the thread that reads them, through all lanes, each of which
// runs its share, back to that thread.
class Pipeline {
 public:
  Pipeline(const InterfaceHooks& hooks, const RunOptions& options, uint32_t lanes, bool wanted)
      : options_(options), wanted_(wanted), rss_(options.profile.queues.whole()) {
    for (uint32_t i = 0; i < lanes; ++i) {
      HookCopies& copies = copies_.emplace_back(hooks);
      lanes_.emplace_back(copies.hooks(), options, true, wanted);
      passed_.emplace_back(0);
    }
    const auto cores = options.profile.cores.whole();
    for (uint32_t queue = 0; queue < options.profile.queues.whole(); ++queue) {
      lane_of_queue_.push_back(queue % cores % lanes);
    }
    for (Batch& batch : batches_) batch.journeys = std::vector<Journey>(wanted ? kBatch : 0);
    for (uint32_t i = 0; i < lanes; ++i) threads_.emplace_back([this, i] { work(i); });
  }
  ~Pipeline() { end(); }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Result<RunSummary> run(const FrameSource& source, OutcomeSink& sink);

 private:
  static constexpr size_t kBatch = 512;  // packets
  static constexpr size_t kBatches = 8;  // under way at most

  struct Batch {
    std::array<traces::Frame, kBatch> frames;
    std::array<nic::Rss::Steering, kBatch> steerings;
    std::vector<uint8_t> bytes;     // of the frames
    std::vector<Journey> journeys;  // of the frames, where somebody wants them
    size_t count = 0;
  };

  Result<bool> fill(const FrameSource& source, Batch& batch);
  void work(uint32_t lane);
  void run_share(uint32_t lane, Batch& batch, std::span<Journey, kBurst> own);
  void wait_until_passed(uint64_t number) const;
  bool passed(uint64_t number) const;
  void end();

  const RunOptions& options_;
  bool wanted_;
  nic::Rss rss_;
  std::deque<HookCopies> copies_;  // by lane
  std::deque<Lane> lanes_;
  std::vector<uint32_t> lane_of_queue_;
  std::array<Batch, kBatches> batches_;  // by number, modulo their count

  static constexpr uint64_t kEnd = uint64_t{1} << 63;
  std::atomic<uint64_t> filled_ = 0;          // batches for the lanes to run; with kEnd, the last
  std::deque<std::atomic<uint64_t>> passed_;  // by lane: so many it has run
  std::vector<std::jthread> threads_;
};

// False if nothing more comes.
Result<bool> Pipeline::fill(const FrameSource& source, Batch& batch) {
  batch.count = 0;
  batch.bytes.clear();
  Result<bool> more = true;
  while (batch.count < kBatch) {
    const auto got = source(std::span(batch.frames).subspan(batch.count));
    if (!got) more = tl::unexpected(got.error());
    if (got && *got == 0) more = false;
    if (!more || !*more) break;
    for (const size_t end = batch.count + *got; batch.count < end; ++batch.count) {
      const std::span<const uint8_t> frame = batch.frames[batch.count].bytes;
      batch.steerings[batch.count] = rss_.steer(frame);
      batch.bytes.insert(batch.bytes.end(), frame.begin(), frame.end());
    }
  }
  const uint8_t* at = batch.bytes.data();
  for (traces::Frame& frame : std::span(batch.frames).first(batch.count)) {
    frame.bytes = {at, frame.bytes.size()};
    at += frame.bytes.size();
  }
  return more;
}

void Pipeline::work(uint32_t lane) {
  std::array<Journey, kBurst> own;
  for (uint64_t number = 0;; ++number) {
    uint64_t filled = filled_.load(std::memory_order_acquire);
    while (filled == number) {
      filled_.wait(filled, std::memory_order_acquire);
      filled = filled_.load(std::memory_order_acquire);
    }
    if (filled == (number | kEnd)) return;
    run_share(lane, batches_[number % kBatches], own);
    passed_[lane].store(number + 1, std::memory_order_release);
    passed_[lane].notify_one();
  }
}

// Those packets of the batch that go to the lane.
void Pipeline::run_share(uint32_t lane, Batch& batch, std::span<Journey, kBurst> own) {
  std::array<Journey*, kBurst> burst;
  size_t count = 0;
  const auto run = [&] {
    lanes_[lane].run(std::span(burst).first(std::exchange(count, 0)), [](const Journey&) {});
  };
  for (size_t i = 0; i < batch.count; ++i) {
    const nic::Rss::Steering& steering = batch.steerings[i];
    if (lane_of_queue_[steering.queue] != lane) continue;
    Journey& journey = wanted_ ? batch.journeys[i] : own[count];
    const traces::Frame& frame = batch.frames[i];
    Lane::enter(frame, steering, options_.entrances[frame.source], journey);
    burst[count++] = &journey;
    if (count == kBurst) run();
  }
  run();
}

// Whether all lanes have run the batch of this number.
bool Pipeline::passed(uint64_t number) const {
  return std::ranges::all_of(passed_, [&](const std::atomic<uint64_t>& count) {
    return count.load(std::memory_order_acquire) > number;
  });
}

void Pipeline::wait_until_passed(uint64_t number) const {
  for (const std::atomic<uint64_t>& passed : passed_) {
    for (uint64_t count; (count = passed.load(std::memory_order_acquire)) <= number;) {
      passed.wait(count, std::memory_order_acquire);
    }
  }
}

void Pipeline::end() {
  filled_.fetch_or(kEnd, std::memory_order_release);
  filled_.notify_all();
  threads_.clear();
}

Result<RunSummary> Pipeline::run(const FrameSource& source, OutcomeSink& sink) {
  uint64_t given = 0;  // batches whose packets the sink has
  const auto give = [&] {
    Batch& batch = batches_[given++ % kBatches];
    if (!wanted_) return;
    for (Journey& journey : std::span(batch.journeys).first(batch.count)) {
      for (const Journey::Copy& copy : journey.copies) {
        options_.copy_sent(*copy.packet, copy.ifindex, copy.time_ps);
      }
      journey.copies.clear();
      sink.done(journey.packet, journey.outcome);
    }
  };
  uint64_t filled = 0;
  Result<bool> more = true;
  while (more && *more) {
    if (filled - given == kBatches) wait_until_passed(given);
    while (given < filled && passed(given)) give();
    more = fill(source, batches_[filled % kBatches]);
    filled_.store(++filled, std::memory_order_release);
    filled_.notify_all();
  }
  for (; given < filled; give()) wait_until_passed(given);
  end();
  for (const HookCopies& copies : copies_) copies.report();
  if (!more) return tl::unexpected(more.error());
  Tally tally;
  for (const Lane& lane : lanes_) tally.add(lane.tally());
  return tally.summary();
}

}  // namespace

Result<RunSummary> run_untimed(const FrameSource& source, const InterfaceHooks& hooks,
                               const RunOptions& options, OutcomeSink& sink) {
  // Programs count their runs for all CPUs together.
  const uint32_t threads = options.counts_runs ? 1 : options.threads;
  const uint32_t lanes = std::min(threads, options.profile.cores.whole());
  if (lanes <= 1) return run_alone(source, hooks, options, sink);
  return Pipeline(hooks, options, lanes, sink.wants_packets()).run(source, sink);
}

}  // namespace xnic::sim

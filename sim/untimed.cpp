// The untimed replay: the capture's timestamps are the clock. Packets go in bursts, so that what
// they need can be fetched ahead; each burst is read, run and given to the sink in the capture's
// order. With several threads, one reads, steers packets to the lanes of their CPUs, and gives
// finished ones to the sink, while the others run programs; so many batches are under way that
// all are busy, and no more.
// What a lane leaves out is said in sim/lane.cpp.
// Test: tests/sim/untimed_test.cpp, tests/sim/threads_test.cpp.
#include "sim/untimed.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "nic/rss.h"
#include "sim/lane.h"

namespace xnic::sim {
namespace {

constexpr size_t kBurst = 32;

// Takes frames from the capture into packets of their own.
class Intake {
 public:
  Intake(const FrameSource& source, const RunOptions& options)
      : source_(source), entrances_(options.entrances), rss_(options.profile.queues.whole()) {}

  // Gives how many came, 0 at the end.
  Result<size_t> fill(std::span<Journey> journeys) {
    const auto got = source_(std::span(frames_).first(std::min(journeys.size(), frames_.size())));
    if (!got) return got;
    for (size_t i = 0; i < *got; ++i) {
      Journey& journey = journeys[i];
      enter(frames_[i], journey.packet, journey.outcome, entrances_[frames_[i].source]);
      rss_.steer(journey.packet);
      journey.outcome.queue = journey.packet.rx_queue_index;
    }
    return got;
  }

 private:
  const FrameSource& source_;
  const std::vector<uint32_t>& entrances_;  // by Frame::source
  nic::Rss rss_;
  std::array<traces::Frame, kBurst> frames_;
};

Result<RunSummary> run_alone(Intake& intake, const InterfaceHooks& hooks, const RunOptions& options,
                             OutcomeSink& sink) {
  const bool wanted = sink.wants_packets();
  Lane lane(hooks, options, false, wanted);
  std::array<Journey, kBurst> journeys;
  std::array<Journey*, kBurst> burst;
  for (size_t i = 0; i < kBurst; ++i) burst[i] = &journeys[i];
  for (;;) {
    const auto got = intake.fill(journeys);
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) return lane.tally().summary();
    lane.run(std::span(burst).first(*got), [&](const Journey& journey) {
      if (wanted) sink.done(journey.packet, journey.outcome);
    });
  }
}

// Copies of the hooks of a machine, which count for themselves.
class HookCopies {
 public:
  explicit HookCopies(const InterfaceHooks& originals) : originals_(originals) {
    for (const InterfaceHooks::Entry& entry : originals_.all()) {
      Hooks& copy = copies_.emplace_back(vm::make_hooks());
      for (size_t i = 0; i < copy.size(); ++i) copy[i] = (*entry.hooks)[i].fresh_copy();
    }
  }

  InterfaceHooks hooks() {
    std::vector<InterfaceHooks::Entry> entries(originals_.all().begin(), originals_.all().end());
    for (size_t i = 0; i < entries.size(); ++i) entries[i].hooks = &copies_[i];
    return InterfaceHooks(std::move(entries));
  }
  // Adds what they counted to the originals.
  void report() const {
    for (size_t i = 0; i < copies_.size(); ++i) {
      Hooks& hooks = *originals_.all()[i].hooks;
      for (size_t point = 0; point < hooks.size(); ++point) hooks[point].add(copies_[i][point]);
    }
  }

 private:
  InterfaceHooks originals_;
  std::deque<Hooks> copies_;  // by interface
};

// Batches of packets on their way from the thread that takes them in, through all lanes, each of
// which runs its share, back to that thread.
class Pipeline {
 public:
  Pipeline(const InterfaceHooks& hooks, const RunOptions& options, uint32_t lanes, bool wanted) {
    for (uint32_t i = 0; i < lanes; ++i) {
      HookCopies& copies = copies_.emplace_back(hooks);
      lanes_.emplace_back(copies.hooks(), options, true, wanted);
    }
    passed_.resize(lanes);
    const auto cores = options.profile.cores.whole();
    for (uint32_t queue = 0; queue < options.profile.queues.whole(); ++queue) {
      lane_of_queue_.push_back(queue % cores % lanes);
    }
    for (uint32_t i = 0; i < lanes; ++i) threads_.emplace_back([this, i] { work(i); });
  }
  ~Pipeline() { end(); }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Result<RunSummary> run(Intake& intake, const RunOptions& options, OutcomeSink& sink, bool wanted);

 private:
  static constexpr size_t kBatch = 256;  // packets
  static constexpr size_t kBatches = 8;  // under way at most

  struct Batch {
    std::vector<Journey> journeys = std::vector<Journey>(kBatch);
    size_t count = 0;
  };

  Result<bool> fill(Intake& intake, Batch& batch);
  void work(uint32_t lane);
  // Whether all lanes have run the batch of this number; with `waits`, once they have.
  bool passed(uint64_t number, bool waits);
  void end();

  std::deque<HookCopies> copies_;  // by lane
  std::deque<Lane> lanes_;
  std::vector<uint32_t> lane_of_queue_;
  std::array<Batch, kBatches> batches_;  // by number, modulo their count

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t filled_ = 0;           // so many batches are for the lanes to run
  bool ended_ = false;            // no more will come
  std::vector<uint64_t> passed_;  // by lane: so many it has run
  std::vector<std::jthread> threads_;
};

// False if nothing more comes.
Result<bool> Pipeline::fill(Intake& intake, Batch& batch) {
  batch.count = 0;
  while (batch.count < kBatch) {
    const auto got = intake.fill(std::span(batch.journeys).subspan(batch.count));
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) return false;
    batch.count += *got;
  }
  return true;
}

void Pipeline::work(uint32_t lane) {
  std::array<Journey*, kBurst> burst;
  for (uint64_t number = 0;; ++number) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return filled_ > number || ended_; });
      if (filled_ == number) return;
    }
    Batch& batch = batches_[number % kBatches];
    size_t count = 0;
    const auto run = [&] {
      lanes_[lane].run(std::span(burst).first(std::exchange(count, 0)), [](const Journey&) {});
    };
    for (Journey& journey : std::span(batch.journeys).first(batch.count)) {
      if (lane_of_queue_[journey.outcome.queue] != lane) continue;
      burst[count++] = &journey;
      if (count == kBurst) run();
    }
    run();
    {
      const std::lock_guard lock(mutex_);
      passed_[lane] = number + 1;
    }
    changed_.notify_all();
  }
}

bool Pipeline::passed(uint64_t number, bool waits) {
  std::unique_lock lock(mutex_);
  const auto by_all = [&] {
    return std::ranges::all_of(passed_, [&](uint64_t count) { return count > number; });
  };
  if (waits) changed_.wait(lock, by_all);
  return by_all();
}

void Pipeline::end() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  threads_.clear();
}

Result<RunSummary> Pipeline::run(Intake& intake, const RunOptions& options, OutcomeSink& sink,
                                 bool wanted) {
  uint64_t given = 0;  // batches whose packets the sink has
  const auto give = [&] {
    Batch& batch = batches_[given++ % kBatches];
    if (!wanted) return;
    for (Journey& journey : std::span(batch.journeys).first(batch.count)) {
      for (const Journey::Copy& copy : journey.copies) {
        options.copy_sent(*copy.packet, copy.ifindex, copy.time_ps);
      }
      journey.copies.clear();
      sink.done(journey.packet, journey.outcome);
    }
  };
  uint64_t filled = 0;
  Result<bool> more = true;
  while (more && *more) {
    if (filled - given == kBatches) passed(given, true);
    while (given < filled && passed(given, false)) give();
    more = fill(intake, batches_[filled % kBatches]);
    {
      const std::lock_guard lock(mutex_);
      filled_ = ++filled;
    }
    changed_.notify_all();
  }
  for (; given < filled; give()) passed(given, true);
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
  Intake intake(source, options);
  // Programs count their runs for all CPUs together.
  const uint32_t threads = options.counts_runs ? 1 : options.threads;
  const uint32_t lanes = std::min(threads, options.profile.cores.whole());
  if (lanes <= 1) return run_alone(intake, hooks, options, sink);
  const bool wanted = sink.wants_packets();
  return Pipeline(hooks, options, lanes, wanted).run(intake, options, sink, wanted);
}

}  // namespace xnic::sim

// The untimed replay: one packet after the other, the capture's timestamps are the clock.
// It leaves out everything that takes time or room; only what the NIC's parser decides (runts,
// oversize, RSS queue) is there, because programs see it.
// Test: tests/sim/untimed_test.cpp.
#include "sim/untimed.h"

#include "nic/mac.h"
#include "nic/rss.h"
#include "sim/path.h"

namespace xnic::sim {

Result<RunSummary> run_untimed(const FrameSource& source, const InterfaceHooks& hooks,
                               const RunOptions& options, OutcomeSink& sink) {
  const nic::Rss rss(options.profile.queues.whole());
  Environments environments(options);
  Path path(hooks, PathCosts());
  path.set_copy_sent(options.copy_sent);
  path.set_socket_received(options.socket_received);
  Tally tally;
  vm::Packet packet;
  Outcome outcome;
  traces::Frame frame;
  while (true) {
    const auto more = source(frame);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return tally.summary();
    enter(frame, packet, outcome, options.entrances[frame.source]);
    rss.steer(packet);
    outcome.queue = packet.rx_queue_index;
    const auto check = nic::check_frame(packet.linear(), packet.length(), options.mtu);
    if (check != nic::FrameCheck::good) {
      drop(outcome, check == nic::FrameCheck::runt ? DropReason::runt : DropReason::oversize,
           frame.time_ps);
    } else {
      environments.run_timers(frame.time_ps / nic::kPicosecondsPerNanosecond);
      Way way{packet, environments.offload_of_queue(outcome.queue), outcome, frame.time_ps};
      Way host{packet, environments.of_queue(outcome.queue), outcome, frame.time_ps};
      if (path.offload(way) && path.native(host)) path.stack(host);
    }
    tally.add(outcome);
    sink.done(packet, outcome);
  }
}

}  // namespace xnic::sim

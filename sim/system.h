#pragma once

#include "sim/interface_hooks.h"
#include "sim/outcome.h"
#include "sim/run.h"

namespace xnic::sim {

// Plays the frames through the timed SystemC model of NIC, PCIe and host. The same frames, hooks,
// options and seed give the same outcomes to the bit. Without options.lossy a frame waits until
// there is room for it, so that nothing is lost to the pace of the source.
// Each hook of a queue sees its packets in the order in which they came; packets at different hooks
// of the NIC and of the host, and on different CPUs, overlap in time, and what they do to a map
// that they share interleaves accordingly. Errors: the source's; bad_input when the run is too long
// for the clock; usage for a second timed run in one process, since SystemC elaborates once.
Result<RunSummary> run_timed(const FrameSource& source, const InterfaceHooks& hooks,
                             const RunOptions& options, OutcomeSink& sink);

}  // namespace xnic::sim

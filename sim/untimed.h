#pragma once

#include "sim/interface_hooks.h"
#include "sim/outcome.h"
#include "sim/run.h"

namespace xnic::sim {

// Plays the frames through the hooks without a model of time: each packet's whole way happens at
// the time of its frame. Same hooks and same meaning as run_timed(). Errors: the source's.
Result<RunSummary> run_untimed(const FrameSource& source, const InterfaceHooks& hooks,
                               const RunOptions& options, OutcomeSink& sink);

}  // namespace xnic::sim

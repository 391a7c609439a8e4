#pragma once

#include <linux/perf_event.h>

#include "vm/kernel.h"

namespace xnic::vm {

// perf_event_open(2) of the emulated kernel: a descriptor, or -errno as PerfEvent::open answers.
// An event may be on a CPU that the emulated machine does not have, since libbpf asks the host for
// the CPUs; nothing ever arrives there.
//
// Other calls that readers of records make on descriptors of the emulated kernel are answered while
// a KernelScope is in scope on the thread, and leave every other descriptor alone:
//  - epoll_ctl gets an eventfd in place of a ring buffer's or perf event's memfd; epoll_wait takes
//    back the readiness of ring buffers that were read empty;
//  - mmap sizes a perf event's ring and refuses what Linux refuses of a ring buffer's pages;
//  - ioctl knows PERF_EVENT_IOC_ENABLE, _DISABLE and _RESET.
long perf_event_open(Kernel& kernel, const perf_event_attr* attributes, int cpu);

}  // namespace xnic::vm

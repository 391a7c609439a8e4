#pragma once

#include <cstdint>

#include "vm/invocation.h"

namespace xnic::vm {

// The helpers that give records to user space, with the arguments and answers of Linux. Addresses
// are host addresses that the caller has checked; maps are of the type that helper_takes_map asks
// for, records are what ringbuf_reserve gave in this run.
uint64_t ringbuf_output(Invocation& run, uint64_t map, uint64_t data, uint64_t size, uint64_t flags,
                        uint64_t);
uint64_t ringbuf_reserve(Invocation& run, uint64_t map, uint64_t size, uint64_t flags, uint64_t,
                         uint64_t);
uint64_t ringbuf_submit(Invocation& run, uint64_t record, uint64_t flags, uint64_t, uint64_t,
                        uint64_t);
uint64_t ringbuf_discard(Invocation& run, uint64_t record, uint64_t flags, uint64_t, uint64_t,
                         uint64_t);
uint64_t ringbuf_query(Invocation& run, uint64_t map, uint64_t flags, uint64_t, uint64_t, uint64_t);
// Of XDP, tc and socket filters: the upper half of `flags` is how many bytes of the packet follow
// the data.
uint64_t packet_event_output(Invocation& run, uint64_t context, uint64_t map, uint64_t flags,
                             uint64_t data, uint64_t size);

}  // namespace xnic::vm

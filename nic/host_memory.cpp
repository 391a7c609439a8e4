#include "nic/host_memory.h"

#include <algorithm>
#include <cassert>

namespace xnic::nic {
namespace {

constexpr uint64_t kLineBytes = 64;
constexpr uint64_t kKibibyte = 1024;

uint64_t lines_of(uint64_t bytes) { return (bytes + kLineBytes - 1) / kLineBytes; }

// Of an initiator that runs ahead of SystemC's clock.
Picoseconds local_time(const sc_core::sc_time& delay) {
  return sc_core::sc_time_stamp().value() + delay.value();
}

}  // namespace

HostMemory::HostMemory(const sc_core::sc_module_name& name, const NicProfile& profile,
                       size_t buffers)
    : sc_module(name),
      socket("socket"),
      dram_rate_(profile.dram_gbps.value),
      cpu_miss_(from_nanoseconds(profile.cpu_miss_ns.value)),
      card_miss_(from_nanoseconds(profile.card_miss_ns.value)),
      completion_lines_(lines_of(profile.ring_completion_bytes.whole())),
      capacity_(profile.ddio_kib.whole() * kKibibyte / kLineBytes),
      buffers_(buffers) {
  socket.register_b_transport(this, &HostMemory::b_transport);
}

void HostMemory::b_transport(tlm::tlm_generic_payload& access, sc_core::sc_time& delay) {
  const uint64_t address = access.get_address() / kBufferBytes;
  if (address >= buffers_.size())
    return access.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
  const auto buffer = static_cast<uint32_t>(address);
  const uint32_t bytes = access.get_data_length();
  access.set_response_status(tlm::TLM_OK_RESPONSE);
  if (access.is_read()) {
    const Picoseconds longer = card_reads(local_time(delay), buffer, bytes);
    delay += sc_core::sc_time::from_value(longer);
  } else if (const DmaBurst* burst = access.get_extension<DmaBurst>()) {
    for (const DmaBurst::Piece& piece : burst->pieces) card_writes(piece);
  } else {
    card_writes({local_time(delay), buffer, bytes});
  }
}

void HostMemory::card_writes(const DmaBurst::Piece& piece) {
  assert(piece.buffer < buffers_.size());
  Buffer& buffer = buffers_[piece.buffer];
  const uint64_t lines = lines_of(piece.bytes) + completion_lines_;
  if (buffer.lines == 0) {
    buffer.place = static_cast<uint32_t>(cached_.size());
    cached_.push_back(piece.buffer);
  }
  used_ += lines - buffer.lines;
  buffer.lines = static_cast<uint32_t>(lines);
  buffer.touched = false;
  while (used_ > capacity_) push_out(piece.time, cached_[random_() % cached_.size()]);
}

// The card wrote it, so that DRAM does not have it yet.
void HostMemory::push_out(Picoseconds now, uint32_t number) {
  Buffer& buffer = buffers_[number];
  move(now, buffer.lines);
  used_ -= buffer.lines;
  buffer.lines = 0;
  const uint32_t last = cached_.back();
  cached_[buffer.place] = last;
  buffers_[last].place = buffer.place;
  cached_.pop_back();
}

void HostMemory::cpu_touched(Picoseconds now, uint32_t buffer) {
  buffers_[buffer].touched = true;
  move(now, 1);
}

Picoseconds HostMemory::card_reads(Picoseconds now, uint32_t number, uint64_t bytes) {
  const Buffer& buffer = buffers_[number];
  if (buffer.lines != 0 || buffer.touched) return 0;
  return card_miss_ + move(now, lines_of(bytes));
}

// Gives how long lines wait for those before them. The card and the CPUs are at times of their own,
// so what counts is the work that is left, not when it ends.
Picoseconds HostMemory::move(Picoseconds now, uint64_t lines) {
  if (now > last_) {
    backlog_ -= std::min(backlog_, now - last_);
    last_ = now;
  }
  const Picoseconds wait = backlog_;
  const Picoseconds time = dram_rate_.time(lines * kLineBytes);
  backlog_ += time;
  work_.add(time);
  return wait;
}

}  // namespace xnic::nic

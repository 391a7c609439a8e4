#pragma once

#include <tlm.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstdint>
#include <random>
#include <systemc>
#include <vector>

#include "nic/profile.h"
#include "nic/resource.h"
#include "nic/time.h"

namespace xnic::nic {

// Of a write of the card: the packets of a burst, in their order, which one transaction stands for.
struct DmaBurst : tlm::tlm_extension<DmaBurst> {
  struct Piece {
    Picoseconds time;
    uint32_t buffer;
    uint32_t bytes;
  };

  tlm::tlm_extension_base* clone() const override { return new DmaBurst(*this); }
  void copy_from(const tlm::tlm_extension_base& other) override {
    *this = static_cast<const DmaBurst&>(other);
  }

  std::vector<Piece> pieces;
};

// Host memory as the packets in it meet it: a part of the last-level cache, into which the card
// writes (Intel's DDIO), and DRAM behind it. Packet buffers are numbered; a ring uses its own one
// after the other. What the card writes finds room by pushing out others, whichever: where more
// buffers take turns than the part holds, many are in DRAM when they are read.
// It leaves out: what else is in the cache, lines of one buffer that fare differently, and sizes of
// the CPUs' own caches.
// Test: tests/nic/host_memory_test.cpp.
class HostMemory : public sc_core::sc_module {
 public:
  static constexpr uint64_t kBufferBytes = 4096;  // of Linux: a page for each packet

  // Buffers are 0 to `buffers` - 1.
  HostMemory(const sc_core::sc_module_name& name, const NicProfile& profile, size_t buffers);

  // What the card's DMA reads and writes, as a TLM-2.0 target: a buffer's address is its number
  // times kBufferBytes. Adds to the delay of a read what DRAM takes longer than a cache. A write is
  // of one packet, or of those of its DmaBurst. No bytes are moved: the packet is handed on.
  tlm_utils::simple_target_socket<HostMemory> socket;

  // How much longer than from the cache a CPU's first touch of a packet takes.
  Picoseconds cpu_miss(uint32_t buffer) const {
    return buffers_[buffer].lines != 0 ? 0 : cpu_miss_;
  }
  // A CPU has touched a packet that was in DRAM: its caches have it now.
  void cpu_touched(Picoseconds now, uint32_t buffer);

  // Of the channels to DRAM.
  const Work& dram() const { return work_; }

 private:
  void b_transport(tlm::tlm_generic_payload& access, sc_core::sc_time& delay);
  // A packet, and its completion entry with it.
  void card_writes(const DmaBurst::Piece& piece);
  Picoseconds card_reads(Picoseconds now, uint32_t number, uint64_t bytes);
  void push_out(Picoseconds now, uint32_t number);
  Picoseconds move(Picoseconds now, uint64_t lines);

  LinkRate dram_rate_;
  Picoseconds cpu_miss_;
  Picoseconds card_miss_;
  uint64_t completion_lines_;
  uint64_t capacity_;  // lines
  uint64_t used_ = 0;
  struct Buffer {
    uint32_t lines = 0;    // in the cache; 0: it is not there
    uint32_t place = 0;    // in cached_, if it is there
    bool touched = false;  // a CPU's caches have it
  };
  std::vector<Buffer> buffers_;
  std::vector<uint32_t> cached_;  // buffers, in no order
  std::minstd_rand random_;
  Picoseconds last_ = 0;     // the latest time at which DRAM was used
  Picoseconds backlog_ = 0;  // of work that DRAM had left then
  Work work_;
};

}  // namespace xnic::nic

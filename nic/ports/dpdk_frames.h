#pragma once

#include <rte_mbuf.h>

#include <atomic>
#include <span>
#include <vector>

#include "nic/port.h"

namespace xnic::nic {

// Frames of DPDK ports are mbufs of this pool, each laid out as a packet's buffer: the mbuf's
// private area makes its headroom vm::kHeadroom bytes, and skb_shared_info has its room behind what
// drivers may fill. Null, with rte_errno set, where memory does not suffice.
rte_mempool* make_pool(const char* name, uint32_t frames);

inline rte_mbuf* mbuf_of(PortFrame* frame) { return reinterpret_cast<rte_mbuf*>(frame); }
inline PortFrame* frame_of(rte_mbuf* mbuf) { return reinterpret_cast<PortFrame*>(mbuf); }

// What all ports of DPDK have in common: how mbufs become packets and packets mbufs, and what waits
// to be sent.
class MbufPort : public Port {
 public:
  MbufPort(rte_mempool* pool, uint32_t threads) : pool_(pool), waiting_(threads) {}

  void wrap(std::span<PortFrame* const> frames, std::span<vm::Packet* const> packets) final;
  void send(uint32_t thread, PortFrame* frame, const vm::Packet& packet) final;
  void send(uint32_t thread, std::span<PortFrame* const> frames,
            std::span<vm::Packet* const> packets) final;
  void send(uint32_t thread, PortFrame* frame) final;
  size_t flush(uint32_t thread) final;
  PortFrame* make(uint32_t length) final;
  std::span<uint8_t> bytes(PortFrame* frame) final;
  void free(std::span<PortFrame* const> frames) final;

 protected:
  // Hands mbufs to the device; gives how many it took.
  virtual uint16_t transmit(uint32_t thread, std::span<rte_mbuf*> mbufs) = 0;

 private:
  static constexpr size_t kBurst = 64;

  // Mbufs of a thread that wait to be sent.
  struct alignas(64) Waiting {
    rte_mbuf* mbufs[kBurst];
    size_t count = 0;
    size_t lost = 0;  // since the last flush
  };
  void transmit_waiting(uint32_t thread);
  void queue(Waiting& waiting, uint32_t thread, rte_mbuf* mbuf) {
    waiting.mbufs[waiting.count++] = mbuf;
    if (waiting.count == kBurst) transmit_waiting(thread);
  }
  bool lay_out(rte_mbuf* mbuf, const vm::Packet& packet);
  bool lay_out_anew(rte_mbuf* mbuf, const vm::Packet& packet);

  rte_mempool* pool_;
  std::vector<Waiting> waiting_;  // by thread
};

}  // namespace xnic::nic

// A cable within the process: a ring of frames for each direction and receiving thread.
// Test: tests/sim/line_traffic_test.cpp.
#include "nic/ports/dpdk_cable.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_ring.h>

#include <atomic>
#include <vector>

namespace xnic::nic {
namespace {

constexpr unsigned kRingFrames = 1024;

// One direction.
class Lead {
 public:
  Lead() = default;
  Lead(const Lead&) = delete;
  Lead& operator=(const Lead&) = delete;
  ~Lead() {
    if (ring_ == nullptr) return;
    void* left = nullptr;
    while (rte_ring_dequeue(ring_, &left) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(left));
    rte_ring_free(ring_);
  }

  bool lay(const std::string& name) {
    ring_ = rte_ring_create(name.c_str(), kRingFrames, SOCKET_ID_ANY, 0);
    return ring_ != nullptr;
  }
  uint16_t put(std::span<rte_mbuf*> mbufs) {
    return static_cast<uint16_t>(
        rte_ring_enqueue_burst(ring_, reinterpret_cast<void**>(mbufs.data()),
                               static_cast<unsigned>(mbufs.size()), nullptr));
  }
  size_t take(std::span<PortFrame*> frames) {
    return rte_ring_dequeue_burst(ring_, reinterpret_cast<void**>(frames.data()),
                                  static_cast<unsigned>(frames.size()), nullptr);
  }

 private:
  rte_ring* ring_ = nullptr;
};

class CableEnd final : public MbufPort {
 public:
  CableEnd(const std::string& name, rte_mempool* pool, uint32_t threads, uint8_t end,
           std::shared_ptr<Lead> in, std::shared_ptr<Lead> out)
      : MbufPort(pool, threads), in_(std::move(in)), out_(std::move(out)), sent_(threads) {
    facts_.name = fmt::format("{}/{}", name, end);
    facts_.driver = "cable";
    // Locally administered.
    facts_.mac = {0x02, 0, 0, 0, 0, end};
  }

  size_t receive(uint32_t, std::span<PortFrame*> frames) override {
    const size_t got = in_->take(frames);
    received_.fetch_add(got, std::memory_order_relaxed);
    return got;
  }
  PortCounters counters() const override {
    PortCounters sum;
    sum.received = received_.load(std::memory_order_relaxed);
    for (const Sent& one : sent_) sum.sent += one.frames.load(std::memory_order_relaxed);
    return sum;
  }
  PortLink link() const override { return {.up = true, .mbps = 0}; }

 private:
  struct alignas(64) Sent {
    std::atomic<uint64_t> frames = 0;
  };

  uint16_t transmit(uint32_t thread, std::span<rte_mbuf*> mbufs) override {
    const uint16_t sent = out_->put(mbufs);
    sent_[thread].frames.fetch_add(sent, std::memory_order_relaxed);
    return sent;
  }

  std::shared_ptr<Lead> in_;
  std::shared_ptr<Lead> out_;
  std::atomic<uint64_t> received_ = 0;
  std::vector<Sent> sent_;  // by thread
};

}  // namespace

Result<std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>>> make_cable(const std::string& name,
                                                                           rte_mempool* pool,
                                                                           uint32_t threads) {
  const auto there = std::make_shared<Lead>();
  const auto back = std::make_shared<Lead>();
  if (!there->lay(name + ">") || !back->lay(name + "<")) {
    return fail(ExitCode::bad_input, "cable {}: {}", name, rte_strerror(rte_errno));
  }
  return std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>>(
      std::make_unique<CableEnd>(name, pool, threads, 0, back, there),
      std::make_unique<CableEnd>(name, pool, threads, 1, there, back));
}

}  // namespace xnic::nic

// Any ethdev of DPDK as a port: one receive and one transmit queue a thread where it has as many.
// What it leaves out: flow rules, and offloads other than scattered frames, RSS hashes, VLAN tags
// and multi-segment sending. Test: tests/sim/line_command_test.cpp,
// tests/sim/line_network_test.cpp.
#include "nic/ports/dpdk_ethdev.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <string_view>
#include <vector>

namespace xnic::nic {
namespace {

constexpr uint16_t kDescriptors = 1024;
constexpr uint32_t kSmallFrames = 8191;

class Ethdev final : public MbufPort {
 public:
  Ethdev(uint16_t number, rte_mempool* pool, const EthdevOptions& options)
      : MbufPort(pool, options.threads), number_(number), pool_(pool), options_(options) {}
  ~Ethdev() override {
    rte_eth_dev_stop(number_);
    rte_eth_dev_close(number_);
    rte_mempool_free(small_frames_);
  }

  Result<void> start(const std::string& device);

  size_t receive(uint32_t queue, std::span<PortFrame*> frames) override {
    return rte_eth_rx_burst(number_, static_cast<uint16_t>(queue),
                            reinterpret_cast<rte_mbuf**>(frames.data()),
                            static_cast<uint16_t>(frames.size()));
  }
  PortCounters counters() const override;
  PortLink link() const override;

 private:
  uint16_t transmit(uint32_t thread, std::span<rte_mbuf*> mbufs) override {
    const auto queue = static_cast<uint16_t>(thread % transmit_queues_);
    const auto count = static_cast<uint16_t>(mbufs.size());
    if (transmit_queues_ >= options_.threads) {
      return rte_eth_tx_burst(number_, queue, mbufs.data(), count);
    }
    const std::lock_guard lock(shared_queues_);
    return rte_eth_tx_burst(number_, queue, mbufs.data(), count);
  }

  uint16_t number_;
  rte_mempool* pool_;
  rte_mempool* small_frames_ = nullptr;  // of a device that takes no larger ones
  EthdevOptions options_;
  uint16_t transmit_queues_ = 1;
  std::mutex shared_queues_;  // where threads share transmit queues
};

// A key that is the same both ways, and as good as another, is not asked for: the device's own.
rte_eth_conf configuration_of(const rte_eth_dev_info& info, uint16_t queues, bool strips) {
  rte_eth_conf configuration{};
  const uint64_t hashes =
      info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
  if (queues > 1 && hashes != 0) {
    configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    configuration.rx_adv_conf.rss_conf.rss_hf = hashes;
  }
  configuration.rxmode.offloads =
      info.rx_offload_capa & (RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_RSS_HASH);
  if (strips) configuration.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
  configuration.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  return configuration;
}

Result<void> Ethdev::start(const std::string& device) {
  const auto failed = [&](int error, std::string_view what) {
    return fail(ExitCode::bad_input, "port dpdk:{}: {}: {}", device, what, rte_strerror(-error));
  };
  rte_eth_dev_info info{};
  if (const int error = rte_eth_dev_info_get(number_, &info); error != 0) {
    return failed(error, "the device does not say what it is");
  }
  const auto queues_of = [](uint32_t wanted, uint16_t most) {
    return static_cast<uint16_t>(std::clamp<uint32_t>(wanted, 1, std::max<uint16_t>(most, 1)));
  };
  const uint16_t receive_queues = queues_of(options_.receive_queues, info.max_rx_queues);
  transmit_queues_ = queues_of(options_.threads, info.max_tx_queues);
  if (options_.strip_vlan_tags && (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) == 0) {
    return failed(-ENOTSUP, "it cannot take VLAN tags out of frames (--strip-vlan)");
  }
  const rte_eth_conf configuration =
      configuration_of(info, receive_queues, options_.strip_vlan_tags);
  if (const int error =
          rte_eth_dev_configure(number_, receive_queues, transmit_queues_, &configuration);
      error != 0) {
    return failed(error, fmt::format("{} receive and {} transmit queues cannot be configured",
                                     receive_queues, transmit_queues_));
  }
  uint16_t receive_descriptors = kDescriptors;
  uint16_t transmit_descriptors = kDescriptors;
  rte_eth_dev_adjust_nb_rx_tx_desc(number_, &receive_descriptors, &transmit_descriptors);
  const int socket = rte_eth_dev_socket_id(number_);
  const auto socket_id = static_cast<unsigned>(socket < 0 ? SOCKET_ID_ANY : socket);
  // AF_XDP takes buffers of a page at most, with all that stands in front of the frame: packets are
  // copied out of them.
  rte_mempool* receive_pool = pool_;
  if (std::string_view(info.driver_name) == "net_af_xdp") {
    small_frames_ =
        rte_pktmbuf_pool_create(fmt::format("xnic_small_{}", number_).c_str(), kSmallFrames, 0, 0,
                                RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (small_frames_ == nullptr) return failed(-rte_errno, "there is no memory for its frames");
    receive_pool = small_frames_;
  }
  for (uint16_t queue = 0; queue < receive_queues; ++queue) {
    rte_eth_rxconf rx = info.default_rxconf;
    rx.offloads = configuration.rxmode.offloads;
    if (const int error = rte_eth_rx_queue_setup(number_, queue, receive_descriptors, socket_id,
                                                 &rx, receive_pool);
        error != 0) {
      return failed(error, fmt::format("receive queue {} cannot be set up", queue));
    }
  }
  for (uint16_t queue = 0; queue < transmit_queues_; ++queue) {
    rte_eth_txconf tx = info.default_txconf;
    tx.offloads = configuration.txmode.offloads;
    if (const int error =
            rte_eth_tx_queue_setup(number_, queue, transmit_descriptors, socket_id, &tx);
        error != 0) {
      return failed(error, fmt::format("transmit queue {} cannot be set up", queue));
    }
  }
  if (const int error = rte_eth_dev_start(number_); error != 0) {
    return failed(error, "it does not start");
  }
  // Not all devices know the mode; those that do not take every frame.
  static_cast<void>(rte_eth_promiscuous_enable(number_));

  std::array<char, RTE_ETH_NAME_MAX_LEN> name{};
  rte_eth_dev_get_name_by_port(number_, name.data());
  facts_.name = name.data();
  facts_.driver = info.driver_name != nullptr ? info.driver_name : "";
  rte_ether_addr mac{};
  if (rte_eth_macaddr_get(number_, &mac) == 0) {
    std::copy_n(mac.addr_bytes, facts_.mac.size(), facts_.mac.begin());
  }
  uint16_t mtu = 0;
  if (rte_eth_dev_get_mtu(number_, &mtu) == 0 && mtu != 0) facts_.mtu = mtu;
  facts_.receive_queues = receive_queues;
  facts_.spreads = receive_queues > 1 && configuration.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS;
  const auto has = [&](const char* word) { return device.find(word) != std::string::npos; };
  facts_.ends = facts_.driver == "net_pcap" && !has("iface=") && !has("infinite_rx=1");
  facts_.numa_node = socket;
  return {};
}

PortCounters Ethdev::counters() const {
  rte_eth_stats stats{};
  if (rte_eth_stats_get(number_, &stats) != 0) return {};
  return {.received = stats.ipackets,
          .received_bytes = stats.ibytes,
          .sent = stats.opackets,
          .sent_bytes = stats.obytes,
          .missed = stats.imissed,
          .no_memory = stats.rx_nombuf,
          .receive_errors = stats.ierrors,
          .send_errors = stats.oerrors};
}

PortLink Ethdev::link() const {
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(number_, &link) != 0) return {};
  const bool known = link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN;
  return {.up = link.link_status == RTE_ETH_LINK_UP, .mbps = known ? link.link_speed : 0};
}

}  // namespace

Result<std::unique_ptr<Port>> open_ethdev(uint16_t number, const std::string& device,
                                          rte_mempool* pool, const EthdevOptions& options) {
  auto port = std::make_unique<Ethdev>(number, pool, options);
  if (auto started = port->start(device); !started) return tl::unexpected(started.error());
  return port;
}

}  // namespace xnic::nic

#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sim/bpf_host.h"
#include "sim/interface_hooks.h"
#include "sim/kernel_side.h"
#include "sim/net_file.h"
#include "sim/untimed.h"
#include "tests/sim/programs.h"
#include "vm/loader.h"

// Two machines with the same network: the real kernel in a namespace of the test's own, and the
// emulated one, which reads what ip says of that. Both load one object and attach its programs.
namespace xnic::sim {

// Indices of the interfaces: three veth pairs.
enum Index : uint32_t { lo = 1, a0 = 2, a1 = 3, b0 = 4, b1 = 5, c0 = 6, c1 = 7 };
constexpr const char* kUp[] = {
    "ip link set lo up",
    "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
    "ip link add name a0 index 2 type veth peer name a1 index 3",
    "ip link add name b0 index 4 type veth peer name b1 index 5",
    "ip link add name c0 index 6 type veth peer name c1 index 7",
    "ip link set a1 address 02:00:00:00:00:a1",
    "ip link set b1 address 02:00:00:00:00:b1 mtu 1000",
    "for i in a0 a1 b0 b1 c0 c1; do ip link set $i up || exit 1; done",
};
constexpr vm::MacAddress kOfA1 = {2, 0, 0, 0, 0, 0xa1};

using Frame = std::vector<uint8_t>;

// One of the two: its maps, its hooks, and a way to give it a frame.
class Machine {
 public:
  virtual ~Machine() = default;
  virtual BpfHost& host() = 0;
  virtual int program(const std::string& name) = 0;  // descriptors
  virtual int map(const std::string& name) = 0;
  // The frame leaves a0, b0 or c0 by its wire, and comes in at the other end.
  virtual void receive(const Frame& frame, uint32_t out_of = a0) = 0;
  // What left by the wire of `ifindex` since watch(ifindex).
  virtual void watch(uint32_t ifindex) = 0;
  virtual std::vector<Frame> left() = 0;
  virtual void classic(uint32_t ifindex, bool ingress, const std::string& options) = 0;

  void link(const std::string& name, uint32_t ifindex, uint32_t attach_type, uint32_t flags = 0) {
    link(program(name), ifindex, attach_type, flags);
  }
  void link(int program, uint32_t ifindex, uint32_t attach_type, uint32_t flags = 0) {
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program);
    attr.link_create.target_ifindex = ifindex;
    attr.link_create.attach_type = attach_type;
    attr.link_create.flags = flags;
    links_.emplace_back(host().bpf(BPF_LINK_CREATE, attr));
    EXPECT_EQ(links_.back().error(), 0) << ifindex;
  }
  void put(const std::string& name, uint32_t key, const void* value) { put(name, &key, value); }
  void put(const std::string& name, const void* key, const void* value) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map(name));
    attr.key = address_of(key);
    attr.value = address_of(value);
    EXPECT_EQ(host().bpf(BPF_MAP_UPDATE_ELEM, attr), 0) << name;
  }
  void get(const std::string& name, uint32_t key, void* value) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map(name));
    attr.key = address_of(&key);
    attr.value = address_of(value);
    EXPECT_EQ(host().bpf(BPF_MAP_LOOKUP_ELEM, attr), 0) << name << " " << key;
  }

 private:
  std::vector<Descriptor> links_;
};

class Linux : public Machine {
 public:
  explicit Linux(std::unique_ptr<KernelSide> side) : side_(std::move(side)) {
    socket_ = ::socket(AF_PACKET, SOCK_RAW, 0);
  }
  ~Linux() override {
    close(socket_);
    close(tap_);
    for (const std::string& pin : pins_) unlink(pin.c_str());
  }
  BpfHost& host() override { return host_; }
  int program(const std::string& name) override { return side_->program(name)->fd; }
  int map(const std::string& name) override { return side_->map(name)->fd; }
  void receive(const Frame& frame, uint32_t out_of) override {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(out_of);
    const auto sent = sendto(socket_, frame.data(), frame.size(), 0,
                             reinterpret_cast<const sockaddr*>(&to), sizeof to);
    EXPECT_EQ(sent, static_cast<ssize_t>(frame.size())) << std::strerror(errno);
    // What other CPUs and threads do with it comes later.
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
  }
  // By a tap at the other end of the wire.
  void watch(uint32_t ifindex) override {
    tap_ = ::socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(ifindex ^ 1);
    EXPECT_EQ(bind(tap_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    const int room = 32 << 20;
    setsockopt(tap_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  }
  std::vector<Frame> left() override {
    std::vector<Frame> frames;
    for (Frame frame(1 << 16);; frame.resize(1 << 16)) {
      sockaddr_ll from{};
      socklen_t size = sizeof from;
      const ssize_t got = recvfrom(tap_, frame.data(), frame.size(), MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return frames;
      frame.resize(static_cast<size_t>(got));
      if (from.sll_pkttype != PACKET_OUTGOING) frames.push_back(frame);
    }
  }
  int pause_ms = 50;  // after each frame
  void classic(uint32_t ifindex, bool ingress, const std::string& options) override {
    const std::string pin =
        "/sys/fs/bpf/xnic-stack-" + std::to_string(getpid()) + "-" + std::to_string(pins_.size());
    bpf_attr attr{};
    attr.pathname = address_of(pin.c_str());
    attr.bpf_fd = static_cast<uint32_t>(program(ingress ? "enter" : "leave"));
    ASSERT_EQ(host_.bpf(BPF_OBJ_PIN, attr), 0);
    pins_.push_back(pin);
    const std::string device =
        "$(ip -o link | sed -n 's/^" + std::to_string(ifindex) + ": \\([a-z0-9]*\\).*/\\1/p')";
    const std::string commands = "tc qdisc add dev " + device + " clsact && tc filter add dev " +
                                 device + (ingress ? " ingress" : " egress") +
                                 " bpf object-pinned " + pin + " " + options;
    EXPECT_EQ(std::system(commands.c_str()), 0) << commands;
  }

 private:
  std::unique_ptr<KernelSide> side_;
  RealKernel host_;
  int socket_;
  int tap_ = -1;
  std::vector<std::string> pins_;
};

class Emulated : public Machine {
 public:
  Emulated(const vm::Network& network, const std::string& object)
      : kernel_(engine_, {.possible_cpus = 2, .network = network}), host_(kernel_) {
    auto loaded = vm::Object::load(kernel_, object);
    EXPECT_TRUE(loaded) << loaded.error().message;
    object_ = std::move(*loaded);
  }
  BpfHost& host() override { return host_; }
  int program(const std::string& name) override {
    for (const vm::LoadedProgram& one : object_->programs()) {
      if (one.name == name) return descriptor(BPF_PROG_GET_FD_BY_ID, one.program->id);
    }
    ADD_FAILURE() << name;
    return -1;
  }
  int map(const std::string& name) override {
    for (const vm::LoadedMap& one : object_->maps()) {
      if (one.name == name) return descriptor(BPF_MAP_GET_FD_BY_ID, one.map->id);
    }
    ADD_FAILURE() << name;
    return -1;
  }
  void watch(uint32_t ifindex) override { watched_ = ifindex; }
  std::vector<Frame> left() override { return std::exchange(left_, {}); }
  void receive(const Frame& frame, uint32_t out_of) override {
    const std::vector<Sent> traffic = {{frame, 0}};
    RunOptions chosen = options();
    chosen.network = &kernel_.network();
    chosen.entrances = {out_of ^ 1};
    chosen.copy_sent = [this](const vm::Packet& packet, uint32_t ifindex, uint64_t) {
      if (ifindex == watched_) left_.push_back(packet.bytes());
    };
    sink = KeepingSink();
    EXPECT_TRUE(run_untimed(source_of(traffic), InterfaceHooks(kernel_), chosen, sink));
  }
  void classic(uint32_t ifindex, bool ingress, const std::string& options) override {
    vm::TcFilter filter;
    filter.direct_action = options.find("da") != std::string::npos;
    if (options.find("classid 1:22") != std::string::npos) filter.classid = 0x10022;
    const auto point = ingress ? vm::HookPoint::tc_ingress : vm::HookPoint::tc_egress;
    vm::Hook& hook = kernel_.device(ifindex)->hook(point);
    hook.attach(kernel_.program_by_fd(program(ingress ? "enter" : "leave")));
    hook.set_filter(filter);
  }
  KeepingSink sink;

 private:
  int descriptor(uint32_t command, uint32_t id) {
    bpf_attr attr{};
    attr.prog_id = id;
    descriptors_.emplace_back(host_.bpf(command, attr));
    return descriptors_.back().fd();
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_;
  EmulatedKernel host_;
  std::unique_ptr<vm::Object> object_;
  std::vector<Descriptor> descriptors_;
  uint32_t watched_ = 0;
  std::vector<Frame> left_;
};

// Enters a namespace with those interfaces and gives the network as ip says it is; an error where
// that cannot be done.
inline Result<vm::Network> enter_network() {
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    return fail(ExitCode::not_available, "{}", why);
  }
  if (unshare(CLONE_NEWNET) != 0) {
    return fail(ExitCode::not_available, "no network namespaces here");
  }
  for (const char* command : kUp) {
    if (std::system(command) != 0) {
      ADD_FAILURE() << command;
      return fail(ExitCode::bad_input, "{}", command);
    }
  }
  const std::string path =
      testing::TempDir() + "xnic-network-" + std::to_string(getpid()) + ".json";
  EXPECT_EQ(std::system(("ip -j -d addr > " + path).c_str()), 0);
  auto network = read_network({path});
  unlink(path.c_str());
  return network;
}

}  // namespace xnic::sim

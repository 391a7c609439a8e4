#include "sim/redirect.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <ctime>

#include "tests/sim/programs.h"
#include "vm/kernel.h"

namespace xnic::sim {
namespace {

constexpr uint32_t kNic1 = 3;
constexpr uint32_t kNic2 = 4;
constexpr vm::MacAddress kOwn = {2, 0, 0, 0, 0, 1};
constexpr vm::MacAddress kNeighbour = {2, 0, 0, 0, 0, 9};

// lo, nic0, nic1 with a route and a neighbour, nic2 that is down.
vm::Network three_ports() {
  vm::Network network = vm::Network::with_nic0();
  network.interfaces.push_back({.ifindex = kNic1, .name = "nic1", .mac = kOwn, .mtu = 1000});
  network.interfaces.push_back({.ifindex = kNic2, .name = "nic2", .up = false});
  network.neighbours.push_back(
      {.ifindex = kNic1, .address = *vm::IpAddress::parse("10.0.0.9"), .mac = kNeighbour});
  network.routes.push_back(
      {.destination = *vm::IpAddress::parse("192.0.2.0"),
       .prefix_length = 24,
       .next_hops = {{.ifindex = kNic1, .gateway = vm::IpAddress::parse("10.0.0.9")}}});
  return network;
}

std::vector<uint8_t> ipv4_frame(const char* destination) {
  std::vector<uint8_t> frame(64);
  frame[0] = frame[6] = 2;
  frame[12] = 8;
  frame[14] = 0x45;
  inet_pton(AF_INET, destination, frame.data() + 30);
  return frame;
}

class RedirectTest : public testing::Test {
 protected:
  RedirectTest() { environment.network = &network; }

  Outcome go(const std::vector<uint8_t>& bytes = ipv4_frame("192.0.2.1")) {
    Path path(hooks, {});
    path.set_copy_sent([this](const vm::Packet& copy, uint32_t ifindex, nic::Picoseconds) {
      copies.push_back({ifindex, copy.bytes()});
    });
    traces::Frame frame;
    frame.id = 1;
    frame.bytes = bytes;
    Outcome outcome;
    enter(frame, packet, outcome);
    Way way{packet, environment, outcome, 0};
    if (path.native(way)) path.stack(way);
    return outcome;
  }

  std::shared_ptr<vm::Map> devmap(std::initializer_list<uint32_t> ifindexes) {
    vm::MapSpec spec;
    spec.type = BPF_MAP_TYPE_DEVMAP;
    spec.key_size = spec.value_size = 4;
    spec.max_entries = 8;
    auto map = *vm::find_map_type(spec.type)->create(spec, {.objects = &kernel});
    uint32_t key = 0;
    for (const uint32_t ifindex : ifindexes) {
      EXPECT_EQ(map->user_update(reinterpret_cast<const uint8_t*>(&key),
                                 reinterpret_cast<const uint8_t*>(&ifindex), BPF_ANY),
                0);
      ++key;
    }
    return map;
  }

  const vm::Network network = three_ports();
  vm::Interpreter engine;
  vm::Kernel kernel{engine, {.network = network}};
  Hooks hooks = no_hooks();
  vm::Packet packet;
  vm::Environment environment;
  std::vector<std::pair<uint32_t, std::vector<uint8_t>>> copies;
};

TEST_F(RedirectTest, XdpLeavesByAnyInterfaceThatIsUpAndLongEnough) {
  attach(hooks, vm::HookPoint::xdp_native, redirect_to(kNic1, 0));
  const Outcome sent = go();
  EXPECT_EQ(sent.end, End::transmitted);
  EXPECT_EQ(sent.out_ifindex, kNic1);
  // 1000 bytes, an Ethernet header and a VLAN tag fit, and no byte more.
  EXPECT_EQ(go(std::vector<uint8_t>(1018, 2)).end, End::transmitted);
  EXPECT_EQ(go(std::vector<uint8_t>(1019, 2)).reason, DropReason::xdp_redirect);
  attach(hooks, vm::HookPoint::xdp_native, redirect_to(kNic2, 0));
  EXPECT_EQ(go().reason, DropReason::xdp_redirect);
  attach(hooks, vm::HookPoint::xdp_native, redirect_to(77, 0));
  EXPECT_EQ(go().reason, DropReason::xdp_redirect);
}

TEST_F(RedirectTest, ABroadcastReachesEachUsableEntryOnceAndMayLeaveOutTheIngress) {
  const auto map = devmap({kNic0, kNic1, kNic2, kNic0});
  packet.ingress_ifindex = kNic0;
  vm::Redirect redirect{
      .kind = vm::Redirect::Kind::map, .flags = BPF_F_BROADCAST, .map = map.get()};
  const auto reached = [&] {
    std::vector<uint32_t> ifindexes;
    for (const auto& entry : broadcast_targets(network, redirect, packet)) {
      ifindexes.push_back(entry.ifindex);
    }
    return ifindexes;
  };
  EXPECT_EQ(reached(), (std::vector<uint32_t>{kNic0, kNic1, kNic0}));
  redirect.flags |= BPF_F_EXCLUDE_INGRESS;
  EXPECT_EQ(reached(), (std::vector<uint32_t>{kNic1}));
}

TEST_F(RedirectTest, TcToANeighbourWritesBothEthernetAddresses) {
  attach(hooks, vm::HookPoint::tc_ingress,
         {mov(1, kNic1), mov(2, 0), mov(3, 0), mov(4, 0), call(BPF_FUNC_redirect_neigh), leave()});
  const Outcome sent = go();
  EXPECT_EQ(sent.end, End::transmitted);
  EXPECT_EQ(sent.out_ifindex, kNic1);
  const auto bytes = packet.bytes();
  EXPECT_TRUE(std::equal(kNeighbour.begin(), kNeighbour.end(), bytes.begin()));
  EXPECT_TRUE(std::equal(kOwn.begin(), kOwn.end(), bytes.begin() + 6));
  // On the link, as Linux takes an address without a route to be, but unknown there.
  EXPECT_EQ(go(ipv4_frame("8.8.8.8")).reason, DropReason::tc_redirect);
  EXPECT_EQ(go(ipv4_frame("10.0.0.9")).end, End::transmitted);
  // No IP packet, and one for many.
  EXPECT_EQ(go(std::vector<uint8_t>(64, 2)).reason, DropReason::tc_redirect);
  auto to_many = ipv4_frame("192.0.2.1");
  to_many[0] = 1;
  EXPECT_EQ(go(to_many).reason, DropReason::tc_redirect);
}

TEST_F(RedirectTest, FaultsOfEntryProgramsAreToldWhereNoHookCountsThem) {
  std::vector<std::string> told;
  environment.fault = [&](const vm::Fault& fault) { told.push_back(fault.message); };
  vm::RedirectEntry entry{.ifindex = kNic1};
  vm::Redirect redirect;
  uint64_t instructions = 0;
  const auto run = [&](Instructions code) {
    entry.program = program(BPF_PROG_TYPE_XDP, std::move(code));
    return run_entry_program(entry, kNic1, packet, environment, redirect, instructions);
  };
  EXPECT_EQ(run({mov(0, XDP_PASS), leave()}), vm::Action::pass);
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(run(fault()), vm::Action::aborted);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("instruction 1"), std::string::npos) << told[0];
}

TEST_F(RedirectTest, FaultsOfTimersAreToldWhereNoHookCountsThem) {
  std::vector<std::string> told;
  environment.fault = [&](const vm::Fault& fault) { told.push_back(fault.message); };
  vm::MapSpec spec;
  spec.type = BPF_MAP_TYPE_ARRAY;
  spec.key_size = 4;
  spec.value_size = 16;
  spec.max_entries = 1;
  const auto map = *vm::find_map_type(spec.type)->create(spec, {.objects = &kernel});
  const uint32_t key = 0;
  uint8_t* value = map->lookup(reinterpret_cast<const uint8_t*>(&key), 0);
  vm::Timers timers;
  ASSERT_EQ(timers.init(value, *map, value, CLOCK_MONOTONIC), 0);
  ASSERT_EQ(timers.set_callback(value, program(BPF_PROG_TYPE_XDP, fault()), 0), 0);
  ASSERT_EQ(timers.start(value, 100, 0, environment), 0);
  timers.run_until(99, environment);
  EXPECT_TRUE(told.empty());
  timers.run_until(100, environment);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("instruction 1"), std::string::npos) << told[0];
}

}  // namespace
}  // namespace xnic::sim

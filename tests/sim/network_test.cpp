// The emulated machine's network against network namespaces of the real kernel: the same programs
// ask both for ways through it. And the files that it is read from.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "sim/comparison.h"
#include "sim/kernel_side.h"
#include "sim/net_file.h"
#include "vm/interpreter.h"

namespace xnic::sim {
namespace {

constexpr uint32_t kNowhere = 99;

class TemporaryFile {
 public:
  TemporaryFile(const std::string& ending, const std::string& text)
      : path_(testing::TempDir() + "xnic-net-" + std::to_string(getpid()) + ending) {
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    text.append(buffer.data(), got);
  }
  pclose(pipe);
  return text;
}

bool enter_namespace() { return unshare(CLONE_NEWNET) == 0; }

bool run_all(std::initializer_list<const char*> commands) {
  for (const char* command : commands) {
    if (std::system(command) != 0) {
      ADD_FAILURE() << command;
      return false;
    }
  }
  return true;
}

// What tests/bpf/fib_lookup finds in a frame.
struct [[gnu::packed]] Request {
  uint8_t ethernet[14] = {};
  uint16_t size = sizeof(bpf_fib_lookup);
  uint32_t flags = 0;
  int32_t answer = 0;
  bpf_fib_lookup parameters{};
};

// Of what is the VLAN's tag afterwards.
constexpr size_t kTableAt = offsetof(Request, parameters) + offsetof(bpf_fib_lookup, h_vlan_proto);

struct Question {
  std::string what;
  Request request;
};

Question question(const char* source, const char* destination, uint32_t ifindex, uint32_t flags,
                  uint16_t length = 0, uint8_t tos = 0) {
  Question q;
  q.what = fmt::format("{} to {} at {}, flags {:#x}, length {}, tos {}", source, destination,
                       ifindex, flags, length, tos);
  bpf_fib_lookup p{};
  const bool v6 = std::strchr(destination, ':') != nullptr;
  p.family = v6 ? AF_INET6 : AF_INET;
  inet_pton(p.family, source, p.ipv6_src);
  inet_pton(p.family, destination, p.ipv6_dst);
  p.ifindex = ifindex;
  p.l4_protocol = IPPROTO_UDP;
  p.tot_len = length;
  if (!v6) p.tos = tos;
  q.request.parameters = p;
  q.request.flags = flags;
  return q;
}

class NetworkOracle : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
    if (!enter_namespace()) GTEST_SKIP() << "This process may not make a network namespace.";
  }

  // Loads the object into both kernels, ours with what ip says of the namespace.
  void load(const std::string& object) {
    const TemporaryFile file(
        ".json", output_of("ip -j -d addr; ip -j -N route show table all; ip -j neigh; ip -j "
                           "netconf"));
    auto network = read_network({file.path()});
    ASSERT_TRUE(network) << network.error().message;
    network_ = std::move(*network);
    const std::string path = std::string(XNIC_OBJECTS) + "/" + object + ".o";
    auto ours = KernelSide::emulated(path, engine_, 0, {.network = network_});
    ASSERT_TRUE(ours) << ours.error().message;
    ours_ = std::move(*ours);
    auto theirs = KernelSide::real(path);
    ASSERT_TRUE(theirs) << theirs.error().message;
    theirs_ = std::move(*theirs);
  }

  void ask(const Question& q) {
    for (const char* name : {"fib_at_xdp", "fib_at_tc"}) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&q.request);
      RunRequest request;
      request.data.assign(bytes, bytes + sizeof(q.request));
      const RunAnswer ours = ours_->run(*ours_->program(name), request);
      const RunAnswer theirs = theirs_->run(*theirs_->program(name), request);
      ASSERT_EQ(theirs.error, 0);
      ASSERT_EQ(ours.error, 0);
      Request mine;
      Request other;
      std::memcpy(&mine, ours.data.data(), sizeof(mine));
      std::memcpy(&other, theirs.data.data(), sizeof(other));
      EXPECT_EQ(mine.answer, other.answer) << name << ": " << q.what;
      EXPECT_EQ(ours.data, theirs.data) << name << ": " << q.what;
      ++answers_[other.answer];
    }
  }

  vm::Interpreter engine_;
  vm::Network network_;
  std::unique_ptr<KernelSide> ours_;
  std::unique_ptr<KernelSide> theirs_;
  std::map<int32_t, uint32_t> answers_;
};

TEST_F(NetworkOracle, FindsTheWaysThatLinuxFinds) {
  ASSERT_TRUE(run_all({
      "ip link set lo up",
      "ip link add name va index 10 type veth peer name vb index 11",
      "ip link add name vc index 12 type veth peer name vd index 13",
      "ip link set va address 02:00:00:00:00:0a mtu 1400",
      "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 "
      "net.ipv6.conf.va.accept_dad=0 net.ipv6.conf.vb.accept_dad=0 net.ipv6.conf.vc.accept_dad=0 "
      "net.ipv6.conf.vd.accept_dad=0",
      "ip link set va up && ip link set vb up && ip link set vc up && ip link set vd up",
      "ip addr add 10.0.0.1/24 dev va && ip addr add 10.0.1.1/24 dev va",
      "ip addr add 10.1.0.1/24 dev vc && ip addr add 10.2.0.1/32 dev lo",
      "ip addr add 2001:db8::1/64 dev va nodad && ip addr add 2001:db8:1::1/64 dev vc nodad",
      "ip route add 192.0.2.0/24 via 10.0.0.9",
      "ip route add 192.0.2.128/25 via 10.1.0.9 metric 20",
      "ip route add 192.0.2.128/25 via 10.0.1.9 metric 30",
      "ip route add 192.0.2.0/24 tos 0x10 via 10.1.0.9",
      "ip route add blackhole 198.51.100.0/24 && ip route add unreachable 203.0.113.0/25",
      "ip route add prohibit 203.0.113.128/25 && ip route add throw 100.64.0.0/10",
      "ip route add 172.16.0.0/12 dev vc src 10.2.0.1 metric 7",
      "ip route add 172.32.0.0/16 via inet6 2001:db8::99 dev va",
      "ip route add default via 10.1.0.254",
      "ip route add 10.99.0.0/16 via 10.0.0.9 table 100",
      "ip route add blackhole 10.98.0.0/16 table 100",
      "ip -6 route add 2001:db8:2::/48 via 2001:db8::99 metric 5",
      "ip -6 route add 2001:db8:2:1::/64 dev vc",
      "ip -6 route add blackhole 2001:db8:3::/48 && ip -6 route add unreachable 2001:db8:4::/48",
      "ip -6 route add prohibit 2001:db8:5::/48",
      "ip -6 route add 2001:db8:99::/48 via 2001:db8:1::9 table 100",
      "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev va nud permanent",
      "ip neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev va nud stale",
      "ip neigh add 10.1.0.9 lladdr 02:00:00:00:01:09 dev vc nud permanent",
      "ip neigh add 10.1.0.254 lladdr 02:00:00:00:01:fe dev vc nud permanent",
      "ip neigh add 10.1.0.50 lladdr 02:00:00:00:01:50 dev vc nud failed",
      "ip -6 neigh add 2001:db8::99 lladdr 02:00:00:00:00:99 dev va nud permanent",
      "ip -6 neigh add 2001:db8:2:1::5 lladdr 02:00:00:00:02:05 dev vc nud permanent",
      "sysctl -qw net.ipv4.conf.va.forwarding=1 net.ipv6.conf.va.forwarding=1 "
      "net.ipv4.conf.vc.forwarding=1 net.ipv6.conf.vc.forwarding=1 net.ipv4.conf.lo.forwarding=1",
  }));
  ASSERT_NO_FATAL_FAILURE(load("fib_lookup"));

  const char* const v4[] = {"10.0.0.9",      "10.0.0.77",   "10.0.0.78",    "10.0.0.1",
                            "10.0.0.255",    "10.1.0.50",   "10.2.0.1",     "127.0.0.1",
                            "192.0.2.5",     "192.0.2.200", "198.51.100.1", "203.0.113.1",
                            "203.0.113.200", "100.64.1.1",  "172.16.5.5",   "172.32.1.1",
                            "8.8.8.8",       "10.99.1.1",   "10.98.1.1",    "224.0.0.1"};
  const char* const v6[] = {
      "2001:db8::99",    "2001:db8::1",     "2001:db8::7",   "2001:db8:1::9", "2001:db8:2::1",
      "2001:db8:2:1::5", "2001:db8:2:1::6", "2001:db8:3::1", "2001:db8:4::1", "2001:db8:5::1",
      "2001:db8:99::1",  "2001:db8:aa::1",  "fe80::1",       "ff02::1",       "::1"};
  // DIRECT, OUTPUT, SKIP_NEIGH, TBID, SRC, MARK.
  for (const uint32_t flags : {0, 1, 2, 3, 4, 16, 20, 22, 32, 64}) {
    for (const uint32_t ifindex : {10u, 11u, 12u, 1u, kNowhere}) {
      for (const char* to : v4) ask(question("10.0.0.77", to, ifindex, flags));
      for (const char* to : v6) ask(question("2001:db8::77", to, ifindex, flags));
    }
  }
  // A table of the program's choice.
  for (const uint32_t table : {0u, 100u, 101u, 254u, 255u}) {
    for (const uint32_t flags : {9u, 13u}) {
      for (const char* to : {"10.99.1.1", "10.98.1.1", "192.0.2.5", "10.0.0.1", "2001:db8:99::1"}) {
        Question q = question(to[2] == '0' ? "2001:db8::77" : "10.0.0.77", to, 10, flags);
        std::memcpy(reinterpret_cast<uint8_t*>(&q.request) + kTableAt, &table, sizeof(table));
        q.what += fmt::format(", table {}", table);
        ask(q);
      }
    }
  }
  // Lengths at and past the limits; of the frame where none is given.
  for (const int bytes : {1, 1280, 1399, 1400, 1401, 1500, 1501, 65535}) {
    const auto length = static_cast<uint16_t>(bytes);
    for (const char* to : {"10.0.0.9", "192.0.2.200", "172.16.5.5"}) {
      ask(question("10.0.0.77", to, 10, 0, length));
    }
    for (const char* to : {"2001:db8::99", "2001:db8:2:1::5"}) {
      ask(question("2001:db8::77", to, 10, 0, length));
    }
  }
  for (const int tos : {0, 4, 0x10, 0x11, 0x13, 0x20, 255}) {
    ask(question("10.0.0.77", "192.0.2.5", 10, 0, 0, static_cast<uint8_t>(tos)));
  }
  // What Linux calls wrong at once.
  Question q = question("10.0.0.77", "10.0.0.9", 10, 0);
  q.request.parameters.family = AF_UNIX;
  ask(q);
  q = question("10.0.0.77", "10.0.0.9", 10, 0);
  q.request.size = 1;
  ask(q);
  q = question("fe80::1", "2001:db8::99", 10, 0);
  ask(q);
  // Every answer but those for tunnels must have come up.
  for (const int answer : {0, 1, 2, 3, 4, 5, 7, 8, -19, -22, -97}) {
    EXPECT_GT(answers_[answer], 0u) << answer;
  }
}

TEST(NetworkFile, TomlAndIpSayTheSame) {
  const TemporaryFile toml(".toml", R"(
[[interface]]
name = "nic0"
mac = "02:00:00:00:00:01"
addresses = ["10.0.0.1/24", "2001:db8::1/64"]
forwarding = true
[[interface]]
name = "nic1"
mtu = 9000
peer = "far0"
[[route]]
dst = "default"
gateway = "10.0.0.254"
dev = "nic0"
[[neighbour]]
dst = "10.0.0.254"
dev = "nic0"
lladdr = "02:00:00:00:00:fe"
)");
  const auto network = read_network({toml.path()});
  ASSERT_TRUE(network) << network.error().message;
  ASSERT_EQ(network->interfaces.size(), 3u);
  EXPECT_EQ(network->interfaces[0].name, "lo");
  EXPECT_EQ(network->by_name("nic0")->ifindex, vm::kNicIfindex);
  EXPECT_TRUE(network->by_name("nic1")->peer_elsewhere);
  const auto way = network->way_of({.destination = *vm::IpAddress::parse("8.8.8.8")});
  ASSERT_NE(way.hop, nullptr);
  EXPECT_NE(network->neighbour(way.hop->ifindex, *way.hop->gateway), nullptr);
}

TEST(NetworkFile, ErrorsNameFileAndPlace) {
  const auto error_of = [](const std::string& ending, const std::string& text) {
    const TemporaryFile file(ending, text);
    const auto network = read_network({file.path()});
    if (network) return std::string("no error");
    EXPECT_EQ(network.error().code, ExitCode::bad_input);
    return network.error().message.substr(file.path().size());
  };
  EXPECT_EQ(error_of(".toml", "\n[[interface]]\nnaem = 'x'\n"),
            ":3: [[interface]] has no key 'naem'.");
  EXPECT_EQ(error_of(".toml", "[[link]]\n"),
            ":1: a network has [[interface]], [[route]] and [[neighbour]], no 'link'.");
  EXPECT_EQ(error_of(".toml", "[[interface]]\nname = 'a'\nmac = '1'\n"),
            ":1: '1' is no Ethernet address (want 02:00:00:00:00:01).");
  EXPECT_EQ(error_of(".toml", "[[route]]\ndst = '10.0.0.0/33'\ndev = 'nic0'\n"),
            ":1: the prefix length of '10.0.0.0/33' is no number up to 32.");
  EXPECT_EQ(error_of(".toml", "[[route]]\ndst = '10.0.0.0/8'\ndev = 'nix'\n"),
            ":1: there is no interface called 'nix'.");
  EXPECT_EQ(error_of(".json", "[{\"ifname\":\"a\"},\n{\"ifname\":]\n"),
            ":2: this is no JSON as ip -j prints it.");
  EXPECT_EQ(error_of(".json", "[]\n{}\n"), ":2: ip -j prints lists, this is none.");
  EXPECT_EQ(error_of(".json", "[{\"ifname\":\"a\"},{\"ifname\":\"a\"}]"),
            ", list 1, entry 2: there are two interfaces called 'a'.");
  EXPECT_EQ(error_of(".json", "[{\"x\":1}]"),
            ", list 1, entry 1: is neither an interface, a route, a neighbour nor a netconf as ip "
            "-j prints them.");
}

}  // namespace
}  // namespace xnic::sim

// Metadata that an XDP program puts in front of a packet, as the tc program behind it finds it:
// here and on a veth device of the kernel of this machine.
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/support/bpf_host.h"
#include "tests/vm/two_sides.h"
#include "vm/hook.h"
#include "vm/interpreter.h"
#include "vm/uapi.h"

namespace xnic::test {
namespace {

constexpr uint32_t kNic0 = 2;
constexpr uint32_t kFar0 = 3;

// What the tc program keeps in a map.
struct Found {
  uint64_t runs;
  int64_t length;  // of the metadata
  uint64_t metadata;
  uint64_t first_bytes;  // of the packet

  bool operator==(const Found&) const = default;
};
void PrintTo(const Found& found, std::ostream* out) {
  *out << found.runs << " runs, metadata of " << found.length << " bytes: " << std::hex
       << found.metadata << ", then " << found.first_bytes << std::dec;
}

// r6 is the context and stays so; makes `size` bytes of metadata and writes the last 8 of them.
Instructions make_metadata(int32_t size) {
  return {move(r1, r6),
          move(r2, -size),
          call(BPF_FUNC_xdp_adjust_meta),
          load(4, r2, r6, offsetof(xdp_md, data_meta)),
          load(4, r3, r6, offsetof(xdp_md, data)),
          move(r4, r2),
          alu(BPF_ADD, r4, 8),
          jump(BPF_JGT, r4, r3, 2),
          store(4, r2, 0, 0x01020304 + size),
          store(4, r2, 4, 0x05060708)};
}
// Whatever lies in the headroom is overwritten.
Instructions adjust_head(int32_t by) {
  return {move(r1, r6),
          move(r2, by),
          call(BPF_FUNC_xdp_adjust_head),
          load(4, r2, r6, offsetof(xdp_md, data)),
          load(4, r3, r6, offsetof(xdp_md, data_end)),
          move(r4, r2),
          alu(BPF_ADD, r4, 4),
          jump(BPF_JGT, r4, r3, 1),
          store(4, r2, 0, 0x11121314)};
}
Instructions whole(const Instructions& body) {
  return Instructions{move(r6, r1)} + body + Instructions{move(r0, XDP_PASS), leave()};
}

Instructions tc_program(int map) {
  Instructions value = load_map(r7, map);
  value[0].src_reg = BPF_PSEUDO_MAP_VALUE & 0xf;
  return value + Instructions{load(8, r2, r7, 0),
                              alu(BPF_ADD, r2, 1),
                              store(8, r7, 0, r2),
                              load(4, r2, r1, offsetof(__sk_buff, data_meta)),
                              load(4, r3, r1, offsetof(__sk_buff, data)),
                              load(4, r5, r1, offsetof(__sk_buff, data_end)),
                              move(r4, r3),
                              alu(BPF_SUB, r4, r2),
                              store(8, r7, offsetof(Found, length), r4),
                              move(r4, r2),
                              alu(BPF_ADD, r4, 8),
                              jump(BPF_JGT, r4, r3, 2),
                              load(8, r4, r2, 0),
                              store(8, r7, offsetof(Found, metadata), r4),
                              move(r4, r3),
                              alu(BPF_ADD, r4, 8),
                              jump(BPF_JGT, r4, r5, 2),
                              load(8, r4, r3, 0),
                              store(8, r7, offsetof(Found, first_bytes), r4),
                              move(r0, 0),
                              leave()};
}

Found read(BpfHost& host, int map) {
  Found found{};
  const uint32_t key = 0;
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map);
  attr.key = address_of(&key);
  attr.value = address_of(&found);
  EXPECT_EQ(host.bpf(BPF_MAP_LOOKUP_ELEM, attr), 0);
  return found;
}

Bytes frame(bool tagged) {
  Bytes bytes(80, 0);
  std::memset(bytes.data(), 0xff, 6);
  bytes[6] = 2;
  bytes[12] = tagged ? 0x81 : 0x88;
  bytes[13] = tagged ? 0x00 : 0xb5;
  bytes[15] = 5;
  bytes[16] = 0x88;
  bytes[17] = 0xb5;
  return bytes;
}

class MetadataFromXdp : public testing::Test {
 protected:
  void SetUp() override {
    XNIC_NEEDS_REAL_KERNEL();
    if (!enter_private_network()) GTEST_SKIP() << "This process may not make a network namespace.";
    ASSERT_EQ(std::system("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 2>/dev/null; "
                          "ip link set nic0 up && ip link set far0 up"),
              0);
  }

  Descriptor attach(int program, uint32_t type, uint32_t flags) {
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program);
    attr.link_create.target_ifindex = kNic0;
    attr.link_create.attach_type = type;
    attr.link_create.flags = flags;
    return Descriptor(real_.bpf(BPF_LINK_CREATE, attr));
  }

  Found found_by_linux(const Instructions& xdp, uint32_t mode, const Bytes& bytes) {
    const Descriptor map = real_.create_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(Found), 1);
    const Descriptor first = real_.load(BPF_PROG_TYPE_XDP, xdp);
    const Descriptor second = real_.load(BPF_PROG_TYPE_SCHED_CLS, tc_program(map.fd()));
    const Descriptor xdp_link = attach(first.fd(), BPF_XDP, mode);
    const Descriptor tc_link = attach(second.fd(), vm::uapi::kTcxIngress, 0);
    EXPECT_EQ(xdp_link.error(), 0);
    EXPECT_EQ(tc_link.error(), 0);
    const int fd = socket(AF_PACKET, SOCK_RAW, 0);
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = kFar0;
    EXPECT_EQ(sendto(fd, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                     sizeof to),
              static_cast<ssize_t>(bytes.size()));
    close(fd);
    Found found{};
    for (int i = 0; i < 200 && found.runs == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      found = read(real_, map.fd());
    }
    return found;
  }

  Found found_here(const Instructions& xdp, uint32_t mode, const Bytes& bytes) {
    const Descriptor map = emulated_.create_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(Found), 1);
    const Descriptor first = emulated_.load(BPF_PROG_TYPE_XDP, xdp);
    const Descriptor second = emulated_.load(BPF_PROG_TYPE_SCHED_CLS, tc_program(map.fd()));
    const bool native = mode == XDP_FLAGS_DRV_MODE;
    vm::Hook at_xdp(native ? vm::HookPoint::xdp_native : vm::HookPoint::xdp_generic);
    at_xdp.attach(kernel_.program_by_fd(first.fd()));
    vm::Hook at_tc(vm::HookPoint::tc_ingress);
    at_tc.attach(kernel_.program_by_fd(second.fd()));
    vm::Packet packet(bytes);
    EXPECT_EQ(at_xdp.run(packet, kernel_.environment()).action, vm::Action::pass);
    packet.classify_ethernet(packet.linear().first<6>());
    packet.receive();
    EXPECT_EQ(at_tc.run(packet, kernel_.environment()).action, vm::Action::pass);
    return read(emulated_, map.fd());
  }

  void expect_same(const std::string& what, const Instructions& body) {
    for (const uint32_t mode : {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE}) {
      for (const bool tagged : {false, true}) {
        const Found theirs = found_by_linux(whole(body), mode, frame(tagged));
        EXPECT_EQ(theirs.runs, 1u) << what;
        EXPECT_EQ(found_here(whole(body), mode, frame(tagged)), theirs)
            << what << (mode == XDP_FLAGS_DRV_MODE ? ", native" : ", generic")
            << (tagged ? ", with a tag" : "") << ": xnic first, Linux second";
      }
    }
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_};
  EmulatedKernel emulated_{kernel_};
  RealKernel real_;
};

TEST_F(MetadataFromXdp, ReachesTc) {
  expect_same("none", {});
  expect_same("8 bytes", make_metadata(8));
  expect_same("32 bytes", make_metadata(32));
  expect_same("8 bytes, then more", make_metadata(8) + make_metadata(4));
  expect_same("8 bytes, then all but 4 taken back", make_metadata(8) + make_metadata(-4));
}

TEST_F(MetadataFromXdp, ReachesTcInFrontOfWhereTheHeadIsMoved) {
  expect_same("8 bytes in front of a header more", adjust_head(-4) + make_metadata(8));
  expect_same("8 bytes, then a header more", make_metadata(8) + adjust_head(-4));
  expect_same("8 bytes, then a header less", make_metadata(8) + adjust_head(4));
}

}  // namespace
}  // namespace xnic::test

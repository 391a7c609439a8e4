// What the verifier accepts does no harm: random programs that it lets through run on random
// packets and map values in the interpreter, which checks every access, and none may fault. A small
// number of them usually; XNIC_NIGHTLY=1 in the environment asks for ten million pairs of program
// and packet, each program held against Linux besides, where that can be asked.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/support/bpf_host.h"
#include "tests/vm/verifier/random_program.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

constexpr uint32_t kPacketsPerProgram = 25;
constexpr uint32_t kMostBytes = 72;

class Machine {
 public:
  Machine() : kernel_(interpreter_), host_(kernel_) {}

  // Null for a program that is refused.
  std::shared_ptr<const vm::Program> load(const Instructions& program) {
    map_ = host_.create_map(BPF_MAP_TYPE_ARRAY, 4, 16, 2);
    program_ = host_.load(BPF_PROG_TYPE_XDP, with_map(program, map_.fd()));
    return program_.error() != 0 ? nullptr : kernel_.program_by_fd(program_.fd());
  }

  // What is wrong with the run; empty if nothing.
  std::string run(const vm::Program& program, std::mt19937& random) {
    std::array<uint8_t, kMostBytes> bytes;
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    for (uint32_t key = 0; key < 2; ++key) fill_value(key, random);
    packet_.assign({bytes.data(), random() % kMostBytes});
    packet_.ingress_ifindex = random() % 2 == 0 ? 1 : static_cast<uint32_t>(random());
    environment_.prng = vm::Prng(random());
    vm::Invocation run{packet_, environment_};
    program.code().run(run);
    return run.fault ? run.fault->message : "";
  }

 private:
  void fill_value(uint32_t key, std::mt19937& random) {
    std::array<uint64_t, 2> value = {random() * uint64_t{random()}, random() % 64};
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map_.fd());
    attr.key = address_of(&key);
    attr.value = address_of(value.data());
    host_.bpf(BPF_MAP_UPDATE_ELEM, attr);
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_;
  EmulatedKernel host_;
  Descriptor map_;
  Descriptor program_;
  vm::Packet packet_;
  vm::Environment environment_;
};

bool linux_accepts(const Instructions& program) {
  RealKernel linux;
  const Descriptor map = linux.create_map(BPF_MAP_TYPE_ARRAY, 4, 16, 2);
  return linux.load(BPF_PROG_TYPE_XDP, with_map(program, map.fd())).error() == 0;
}

TEST(Soundness, NoAcceptedRandomProgramFaults) {
  const char* nightly = std::getenv("XNIC_NIGHTLY");
  const bool long_run = nightly != nullptr && std::string_view(nightly) == "1";
  const bool asks_linux = long_run && why_no_real_kernel().empty();
  const uint64_t pairs = long_run ? 10'000'000 : 50'000;
  // Programs that the fixed set of other tests has not seen.
  uint32_t seed = 1u << 20;
  uint64_t done = 0;
  std::mt19937 random(seed);
  while (done < pairs) {
    Machine machine;  // a fresh one now and then, so that nothing piles up
    for (uint32_t i = 0; i < 1000; ++i) {
      const Instructions code = RandomProgram(++seed).make();
      const std::shared_ptr<const vm::Program> program = machine.load(code);
      if (program == nullptr) continue;
      for (uint32_t n = 0; n < kPacketsPerProgram; ++n) {
        const std::string fault = machine.run(*program, random);
        ASSERT_EQ(fault, "") << "seed " << seed;
      }
      done += kPacketsPerProgram;
      if (asks_linux) {
        EXPECT_TRUE(linux_accepts(code)) << "seed " << seed;
      }
    }
  }
  // About half of the programs are let through.
  EXPECT_LT(seed - (1u << 20), pairs / kPacketsPerProgram * 10 + 1000);
}

}  // namespace
}  // namespace xnic::test

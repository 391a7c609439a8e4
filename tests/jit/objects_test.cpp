// Every program of tests/bpf, run by the interpreter and as machine code, counted and not, over the
// same packets: the same answers, bytes, context fields, maps, instruction counts and costs, which
// are as many as instructions where each costs 1.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "jit/jit_engine.h"
#include "vm/exceptions.h"
#include "vm/invocation.h"
#include "vm/kernel.h"
#include "vm/loader.h"
#include "vm/prologue.h"

namespace xnic::test {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

// Frames that lead programs to their corners: IPv4 and IPv6, tagged or not, TCP, UDP and ICMP,
// from cut headers to more than fits the linear area, with bytes by chance behind.
std::vector<Bytes> frames() {
  std::mt19937 random(1);
  const auto below = [&](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  static constexpr uint8_t kProtocols[] = {1, 6, 17, 58};
  std::vector<Bytes> result;
  for (uint32_t i = 0; i < 150; ++i) {
    const uint32_t length = i % 10 == 9 ? 1500 + below(6000) : 14 + below(200);
    Bytes frame(length);
    for (uint8_t& byte : frame) byte = static_cast<uint8_t>(random());
    Bytes header(12, static_cast<uint8_t>(i));
    if (below(4) == 0) header.insert(header.end(), {0x81, 0x00, 0x00, static_cast<uint8_t>(i)});
    const bool v6 = below(3) == 0;
    if (v6) {
      header.insert(header.end(), {0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, kProtocols[below(4)], 64});
    } else {
      header.insert(header.end(), {0x08, 0x00, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, kProtocols[below(4)],
                                   0, 0, 10, 0, 0, static_cast<uint8_t>(below(4))});
    }
    std::copy_n(header.begin(), std::min(header.size(), frame.size()), frame.begin());
    result.push_back(std::move(frame));
  }
  return result;
}

// One machine with one engine, and the object in it.
class Machine {
 public:
  Machine(const std::string& object, vm::Engine& engine) : kernel_(engine, options()) {
    auto loaded = vm::Object::load(kernel_, object);
    if (loaded) object_ = std::move(*loaded);
    if (!loaded) why_not = loaded.error().message;
  }

  struct Answer {
    uint64_t r0 = 0;
    uint64_t instructions = 0;
    uint64_t cost = 0;
    std::string fault;
    Bytes bytes;
    std::vector<uint64_t> fields;
    uint32_t redirect = 0;
    size_t clones = 0;
    bool operator==(const Answer&) const = default;
  };

  Answer run(size_t number, const Bytes& frame) {
    const vm::Program& program = *object_->programs()[number].program;
    vm::Packet packet(frame);
    packet.ingress_ifindex = packet.ifindex = vm::kNicIfindex;
    if (program.type() != BPF_PROG_TYPE_XDP) {
      packet.classify_ethernet(std::array<uint8_t, 6>{2, 0, 0, 0, 0, 1});
      packet.receive();
    }
    vm::Environment& environment = kernel_.environment();
    environment.now_ns += 1000;
    vm::Invocation invocation(packet, environment);
    Answer answer;
    answer.r0 = program.code().run(invocation);
    answer.instructions = invocation.instructions;
    answer.cost = invocation.cost;
    if (invocation.fault) answer.fault = invocation.fault->message;
    answer.bytes = packet.bytes();
    for (const vm::ContextField& field : vm::find_program_type(program.type())->fields) {
      if (!field.is_address()) answer.fields.push_back(field.load(packet));
    }
    answer.redirect = invocation.redirect.ifindex;
    answer.clones = invocation.clones.size();
    return answer;
  }

  // Whether it fetched anything for the packet, which it must leave as it was.
  bool run_prologue(const vm::Prologue& prologue, const Bytes& frame) {
    vm::Packet packet(frame);
    packet.ingress_ifindex = packet.ifindex = vm::kNicIfindex;
    const uint64_t handle = prologue.fetch_bucket(packet, kernel_.environment());
    prologue.fetch_entry(handle);
    EXPECT_EQ(packet.bytes(), frame);
    return handle != 0;
  }

  // All entries of all maps, and what maps without keys hold.
  std::vector<Bytes> maps() {
    std::vector<Bytes> result;
    for (const vm::LoadedMap& loaded : object_->maps()) {
      vm::Map& map = *loaded.map;
      Bytes key(map.spec().key_size);
      const uint8_t* last = nullptr;
      while (map.spec().key_size != 0 && map.next_key(last, key.data()) == 0) {
        last = key.data();
        Bytes value(map.user_value_size());
        // Ids go by what the kernel made before, which libbpf's first questions are part of.
        const bool ids = map.inner_spec() != nullptr || map.spec().type == BPF_MAP_TYPE_PROG_ARRAY;
        if (map.user_lookup(key.data(), value.data(), 0) != 0 || ids) value.clear();
        value.insert(value.begin(), key.begin(), key.end());
        result.push_back(std::move(value));
      }
      for (const Bytes& one : map.contents()) result.push_back(one);
    }
    return result;
  }

  size_t programs() const { return object_->programs().size(); }
  const vm::LoadedProgram& program(size_t number) const { return object_->programs()[number]; }
  std::string why_not;

 private:
  static vm::KernelOptions options() {
    vm::KernelOptions options;
    options.possible_cpus = 2;
    options.verify_values = true;
    options.cost_model = [](const vm::Program& program) {
      return std::vector<uint32_t>(program.instructions().size(), 1);
    };
    return options;
  }

  vm::Kernel kernel_;
  std::unique_ptr<vm::Object> object_;
};

class Objects : public testing::TestWithParam<std::string> {};

TEST_P(Objects, DoTheSameAsMachineCode) {
  vm::Interpreter interpreter;
  jit::JitEngine counting;
  jit::JitEngine plain({.counts = false});
  Machine expected(GetParam(), interpreter);
  Machine counted(GetParam(), counting);
  Machine fast(GetParam(), plain);
  ASSERT_EQ(expected.why_not, "");
  ASSERT_EQ(counted.why_not, "");
  ASSERT_EQ(fast.why_not, "");
  const std::vector<Bytes> packets = frames();
  for (size_t i = 0; i < expected.programs(); ++i) {
    const vm::LoadedProgram& program = counted.program(i);
    // Those that throw stay with the interpreter.
    const bool throws = std::ranges::any_of(program.program->instructions(), vm::is_throw);
    EXPECT_EQ(jit::JitEngine::objection(*program.program).empty(), !throws) << program.name;
    for (size_t packet = 0; packet < packets.size(); ++packet) {
      const Machine::Answer wanted = expected.run(i, packets[packet]);
      const Machine::Answer got = counted.run(i, packets[packet]);
      ASSERT_EQ(wanted.cost, wanted.instructions) << program.name << ", packet " << packet;
      ASSERT_EQ(got.r0, wanted.r0) << program.name << ", packet " << packet;
      ASSERT_EQ(got.instructions, wanted.instructions) << program.name << ", packet " << packet;
      ASSERT_EQ(got, wanted) << program.name << ", packet " << packet;
      Machine::Answer uncounted = fast.run(i, packets[packet]);
      EXPECT_EQ(uncounted.instructions, throws ? wanted.instructions : 0u);
      uncounted.instructions = wanted.instructions;
      ASSERT_EQ(uncounted, wanted) << program.name << ", packet " << packet;
    }
  }
  EXPECT_EQ(counted.maps(), expected.maps());
  EXPECT_EQ(fast.maps(), expected.maps());
}

// A prologue runs ahead for all packets and once more before each: nobody sees that it did.
TEST_P(Objects, DoTheSameBehindAPrologue) {
  jit::JitEngine engine;
  vm::Interpreter interpreter;
  Machine expected(GetParam(), engine);
  Machine ahead(GetParam(), engine);
  ASSERT_EQ(expected.why_not + ahead.why_not, "");
  const std::vector<Bytes> packets = frames();
  for (size_t i = 0; i < ahead.programs(); ++i) {
    const vm::LoadedProgram& program = ahead.program(i);
    const auto compiled = vm::Prologue::of(*program.program, engine, 2, 0);
    const auto interpreted = vm::Prologue::of(*program.program, interpreter, 2, 0);
    ASSERT_EQ(compiled == nullptr, interpreted == nullptr) << program.name;
    for (const Bytes& packet : packets) {
      if (compiled == nullptr) continue;
      ASSERT_EQ(ahead.run_prologue(*compiled, packet), ahead.run_prologue(*interpreted, packet))
          << program.name;
    }
    for (const Bytes& packet : packets) {
      const Machine::Answer wanted = expected.run(i, packet);
      if (compiled != nullptr) ahead.run_prologue(*compiled, packet);
      ASSERT_EQ(ahead.run(i, packet), wanted) << program.name;
    }
  }
  EXPECT_EQ(ahead.maps(), expected.maps());
}

TEST(Prologues, ExistForProgramsThatLookUpWhatThePacketSays) {
  jit::JitEngine engine;
  Machine machine(std::string(XNIC_OBJECTS) + "/map_kinds.o", engine);
  ASSERT_EQ(machine.why_not, "");
  size_t with_prologue = 0;
  for (size_t i = 0; i < machine.programs(); ++i) {
    with_prologue += vm::Prologue::of(*machine.program(i).program, engine, 2, 0) != nullptr;
  }
  EXPECT_GT(with_prologue, 0u);
}

std::vector<std::string> objects() {
  std::vector<std::string> result;
  for (const auto& entry : fs::directory_iterator(XNIC_OBJECTS)) {
    if (entry.path().extension() == ".o") result.push_back(entry.path().string());
  }
  std::ranges::sort(result);
  return result;
}

std::string test_name(const testing::TestParamInfo<std::string>& row) {
  std::string name = fs::path(row.param).stem().string();
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Jit, Objects, testing::ValuesIn(objects()), test_name);

}  // namespace
}  // namespace xnic::test

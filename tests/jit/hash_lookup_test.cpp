// Lookups in hash tables that machine code does in place, held against Map::lookup().
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "jit/jit_engine.h"
#include "tests/vm/program_builder.h"

namespace xnic::test {
namespace {

struct Kind {
  bpf_map_type type;
  uint32_t key_bytes;
  uint32_t entries = 500;
};

std::string name_of(const testing::TestParamInfo<Kind>& info) {
  return std::string(vm::find_map_type(info.param.type)->name) + "_" +
         std::to_string(info.param.key_bytes) + "_of_" + std::to_string(info.param.entries);
}

// A map, and programs that look into it.
class Table {
 public:
  static constexpr uint32_t kCpus = 2;
  static constexpr int32_t kNone = 1;

  explicit Table(const Kind& kind) : kind_(kind) {
    vm::MapSpec spec;
    spec.type = kind.type;
    spec.key_size = kind.key_bytes;
    spec.value_size = 8;
    spec.max_entries = kind.entries;
    const vm::MapContext context{.possible_cpus = kCpus, .seed = 0x1234567890abcdef};
    map_ = *vm::find_map_type(spec.type)->create(spec, context);
  }
  vm::Map& map() { return *map_; }

  // Gives the value of the key that the packet begins with, or kNone. `asks` is the comparison with
  // NULL, store_bytes the pieces in which the key comes to the stack.
  std::shared_ptr<vm::Program> look_up(vm::Engine& engine, uint8_t asks, uint32_t store_bytes) {
    const auto bytes = static_cast<int32_t>(kind_.key_bytes);
    const auto padded = (bytes + 7) / 8 * 8;
    Code code = {load(BPF_W, 2, 1, offsetof(xdp_md, data)),
                 load(BPF_W, 3, 1, offsetof(xdp_md, data_end)), mov_reg(4, 2),
                 alu64(BPF_ADD, 4, bytes), jump_reg(BPF_JGT, 4, 3, 0)};
    const size_t bounds = code.size() - 1;
    for (int32_t at = 0; at < bytes;) {
      const uint32_t piece = at + static_cast<int32_t>(store_bytes) <= bytes ? store_bytes : 1;
      const uint8_t size = piece == 8 ? BPF_DW : piece == 4 ? BPF_W : piece == 2 ? BPF_H : BPF_B;
      code.push_back(load(size, 5, 2, static_cast<int16_t>(at)));
      code.push_back(store(size, 10, 5, static_cast<int16_t>(at - padded)));
      at += static_cast<int32_t>(piece);
    }
    code = code + Code{mov_reg(2, 10), alu64(BPF_ADD, 2, -padded)} +
           load64(1, 0, BPF_PSEUDO_MAP_FD) + call(BPF_FUNC_map_lookup_elem);
    if (asks == BPF_JEQ) {
      code = code +
             Code{jump(BPF_JEQ, 0, 0, 2), load(BPF_DW, 0, 0, 0), exit_(), mov(0, kNone), exit_()};
    } else {
      code = code +
             Code{jump(BPF_JNE, 0, 0, 2), mov(0, kNone), exit_(), load(BPF_DW, 0, 0, 0), exit_()};
    }
    code[bounds].off = static_cast<int16_t>(code.size() - bounds - 1);
    code = code + Code{mov(0, 2), exit_()};
    Maps maps;
    const int fd = maps.add(map_);
    for (bpf_insn& insn : code) {
      if (insn.code == (BPF_LD | BPF_IMM | BPF_DW)) insn.imm = fd;
    }
    vm::ProgramSpec spec;
    spec.type = BPF_PROG_TYPE_XDP;
    spec.name = "look_up";
    spec.license = "GPL";
    spec.instructions = std::move(code);
    auto verified = vm::Verifier::verify(std::move(spec), {}, maps, {.values = true});
    EXPECT_TRUE(verified) << verified.error().message;
    if (!verified) return nullptr;
    (*verified)->set_code(engine.compile(**verified));
    return *verified;
  }

  std::vector<uint8_t> key(uint32_t number) const {
    std::vector<uint8_t> bytes(kind_.key_bytes);
    std::mt19937 random(number);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    return bytes;
  }
  // Values are the entry's number and the CPU's, from 1000 on.
  void add(uint32_t number) {
    for (uint32_t cpu = 0; cpu < (is_per_cpu() ? kCpus : 1); ++cpu) {
      const uint64_t value = value_of(number, cpu);
      map_->update(key(number).data(), reinterpret_cast<const uint8_t*>(&value), BPF_ANY, cpu);
    }
  }
  bool is_per_cpu() const {
    return kind_.type == BPF_MAP_TYPE_PERCPU_HASH || kind_.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
  }
  uint64_t value_of(uint32_t number, uint32_t cpu) const {
    return 1000 + uint64_t{number} * kCpus + (is_per_cpu() ? cpu : 0);
  }
  uint64_t run(const vm::Program& program, uint32_t number, uint32_t cpu) const {
    std::vector<uint8_t> frame = key(number);
    frame.resize(std::max<size_t>(64, frame.size()));
    vm::Packet packet(frame);
    vm::Environment environment;
    environment.cpu = cpu;
    vm::Invocation invocation(packet, environment);
    return program.code().run(invocation);
  }
  uint64_t expected(uint32_t number, uint32_t cpu) const {
    const uint8_t* found = map_->lookup(key(number).data(), cpu);
    if (found == nullptr) return kNone;
    uint64_t value;
    std::memcpy(&value, found, sizeof(value));
    return value;
  }

 private:
  Kind kind_;
  std::shared_ptr<vm::Map> map_;
};

class JitHashLookup : public testing::TestWithParam<Kind> {
 protected:
  Table table_{GetParam()};
};

TEST_P(JitHashLookup, FindsWhatTheMapFinds) {
  jit::JitEngine counting;
  jit::JitEngine plain({.counts = false});
  for (uint32_t i = 0; i < GetParam().entries; ++i) table_.add(i);
  for (uint32_t i = 0; i < GetParam().entries; i += 3) table_.map().erase(table_.key(i).data());
  for (vm::Engine* engine : std::initializer_list<vm::Engine*>{&counting, &plain}) {
    for (const uint8_t asks : std::initializer_list<uint8_t>{BPF_JEQ, BPF_JNE}) {
      for (const uint32_t store_bytes : {1u, 2u, 4u, 8u}) {
        const auto program = table_.look_up(*engine, asks, store_bytes);
        ASSERT_NE(program, nullptr);
        const uint32_t step = GetParam().entries / 100 + 1;
        for (uint32_t i = 0; i < GetParam().entries + 10 * step; i += step) {
          // The last CPU is one that the map has no values of.
          for (uint32_t cpu = 0; cpu <= Table::kCpus; ++cpu) {
            ASSERT_EQ(table_.run(*program, i, cpu), table_.expected(i, cpu))
                << "key " << i << ", CPU " << cpu;
          }
        }
      }
    }
  }
}

TEST_P(JitHashLookup, FindsAnEntryThatStaysWhileOthersComeAndGo) {
  jit::JitEngine engine({.counts = false});
  const auto program = table_.look_up(engine, BPF_JEQ, 4);
  ASSERT_NE(program, nullptr);
  constexpr uint32_t kStays = 1'000'000;
  table_.add(kStays);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (uint32_t turn = 0; turn < 60; ++turn) {
      for (uint32_t i = 0; i < 20; ++i) table_.add(i);
      for (uint32_t i = 0; i < 20; ++i) table_.map().erase(table_.key(i).data());
    }
    done = true;
  });
  uint64_t lost = 0;
  do {
    lost += table_.run(*program, kStays, 1) != table_.value_of(kStays, 1);
  } while (!done);
  writer.join();
  EXPECT_EQ(lost, 0u);
}

// Which entries of a full map are left when others have come, after `use` of the first ones.
template <class Use>
std::vector<uint32_t> survivors(Use use) {
  constexpr uint32_t kEntries = 64;
  Table table({BPF_MAP_TYPE_LRU_HASH, 4, kEntries});
  for (uint32_t i = 0; i < kEntries; ++i) table.add(i);
  for (uint32_t i = 0; i < 10; ++i) use(table, i);
  for (uint32_t i = kEntries; i < kEntries + 20; ++i) table.add(i);
  std::vector<uint32_t> left;
  for (uint32_t i = 0; i < kEntries; ++i) {
    uint64_t value;
    auto* bytes = reinterpret_cast<uint8_t*>(&value);
    if (table.map().user_lookup(table.key(i).data(), bytes, 0) == 0) left.push_back(i);
  }
  return left;
}

TEST(JitLruLookup, CountsAsUse) {
  jit::JitEngine engine({.counts = false});
  const auto by_program = survivors([&](Table& table, uint32_t number) {
    table.run(*table.look_up(engine, BPF_JEQ, 4), number, 0);
  });
  const auto by_map = survivors(
      [](Table& table, uint32_t number) { table.map().lookup(table.key(number).data(), 0); });
  EXPECT_EQ(by_program, by_map);
  EXPECT_NE(by_program, survivors([](Table&, uint32_t) {})) << "nothing was told by it";
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, JitHashLookup,
    testing::Values(Kind{BPF_MAP_TYPE_HASH, 1, 200}, Kind{BPF_MAP_TYPE_HASH, 2},
                    Kind{BPF_MAP_TYPE_HASH, 3}, Kind{BPF_MAP_TYPE_HASH, 4},
                    Kind{BPF_MAP_TYPE_HASH, 7}, Kind{BPF_MAP_TYPE_HASH, 8},
                    Kind{BPF_MAP_TYPE_HASH, 10}, Kind{BPF_MAP_TYPE_HASH, 12},
                    Kind{BPF_MAP_TYPE_HASH, 16}, Kind{BPF_MAP_TYPE_HASH, 33},
                    Kind{BPF_MAP_TYPE_HASH, 40}, Kind{BPF_MAP_TYPE_HASH, 64},
                    Kind{BPF_MAP_TYPE_HASH, 68}, Kind{BPF_MAP_TYPE_HASH, 4, 1},
                    Kind{BPF_MAP_TYPE_HASH, 4, 20000}, Kind{BPF_MAP_TYPE_PERCPU_HASH, 4},
                    Kind{BPF_MAP_TYPE_PERCPU_HASH, 16}, Kind{BPF_MAP_TYPE_LRU_HASH, 4},
                    Kind{BPF_MAP_TYPE_LRU_HASH, 40}, Kind{BPF_MAP_TYPE_LRU_PERCPU_HASH, 20}),
    name_of);

}  // namespace
}  // namespace xnic::test

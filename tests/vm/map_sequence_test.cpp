// Every map type through bpf(2) and through helpers: seeded random sequences of commands of user
// space and of runs of programs go to the emulated kernel and to the running one, and each step
// must answer with the same number and the same bytes. Keys, values and flags reach the programs in
// the packet. Now and then the whole map is walked, also while entries are deleted; since a hash's
// order is Linux's own, walks are compared as sets. All runs are on CPU 0, where LRU maps must
// evict the same keys. XNIC_MAP_SEQUENCES says how many sequences a type gets; without it, a few.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "tests/vm/map_kinds.h"
#include "tests/vm/two_kernels.h"

namespace xnic::test {
namespace {

constexpr uint32_t kPacketBytes = 64;  // key at 0, value at 8, flags at 16
constexpr uint32_t kNothing = 0xbad;   // what a program gives for a lookup that found nothing

// Key at r10 - 8, value at r10 - 16, zeros at r10 - 24, flags in r7, the context in r6.
Instructions unpack_packet() {
  return {move(r6, r1),
          load(4, r2, r1, 0),
          load(4, r3, r1, 4),
          move(r4, r2),
          alu(BPF_ADD, r4, static_cast<int32_t>(kPacketBytes)),
          jump(BPF_JLE, r4, r3, 2),
          move(r0, 0xdead),
          leave(),
          load(8, r5, r2, 0),
          store(8, r10, -8, r5),
          load(8, r5, r2, 8),
          store(8, r10, -16, r5),
          store(8, r10, -24, 0),
          load(8, r7, r2, 16)};
}
Instructions stack_at(Register to, int32_t offset) {
  return {move(to, r10), alu(BPF_ADD, to, offset)};
}
Instructions unless_found_leave() {
  return {jump(BPF_JNE, r0, 0, 2), move(r0, static_cast<int32_t>(kNothing)), leave()};
}
Instructions look_up(int map) {
  return load_map(r1, map) + stack_at(r2, -8) + Instructions{call(BPF_FUNC_map_lookup_elem)} +
         unless_found_leave();
}
// Both halves of r1 in the 32 bits of the answer.
Instructions give_r1() {
  return {move(r0, r1), alu(BPF_RSH, r1, 32), alu(BPF_XOR, r0, r1), leave()};
}
Instructions change_value() {
  return Instructions{load(8, r1, r0, 0), alu(BPF_ADD, r1, 1), store(8, r0, 0, r1)} + give_r1();
}
Instructions with_value(int map, int32_t helper) {
  return load_map(r1, map) + stack_at(r2, -16) + Instructions{move(r3, r7), call(helper)} +
         Instructions{load(8, r1, r10, -16), alu(BPF_ADD, r1, r0)} + give_r1();
}

struct ProgramUse {
  const char* name;
  Instructions (*code)(int map);
};

// What programs do with maps; the kernel says which types take which.
constexpr ProgramUse kProgramUses[] = {
    {"read", [](int m) { return look_up(m) + Instructions{load(8, r1, r0, 0)} + give_r1(); }},
    {"read_4", [](int m) { return look_up(m) + Instructions{load(4, r1, r0, 0)} + give_r1(); }},
    {"change", [](int m) { return look_up(m) + change_value(); }},
    {"update",
     [](int m) {
       return load_map(r1, m) + stack_at(r2, -8) + stack_at(r3, -16) +
              Instructions{move(r4, r7), call(BPF_FUNC_map_update_elem), leave()};
     }},
    {"delete",
     [](int m) {
       return load_map(r1, m) + stack_at(r2, -8) +
              Instructions{call(BPF_FUNC_map_delete_elem), leave()};
     }},
    {"push", [](int m) { return with_value(m, BPF_FUNC_map_push_elem); }},
    {"pop", [](int m) { return with_value(m, BPF_FUNC_map_pop_elem); }},
    {"peek", [](int m) { return with_value(m, BPF_FUNC_map_peek_elem); }},
    {"read_cpu",
     [](int m) {
       return load_map(r1, m) + stack_at(r2, -8) +
              Instructions{move(r3, r7), call(BPF_FUNC_map_lookup_percpu_elem)} +
              unless_found_leave() + Instructions{load(8, r1, r0, 0)} + give_r1();
     }},
    {"tail_call",
     [](int m) {
       return Instructions{move(r1, r6)} + load_map(r2, m) +
              Instructions{move(r3, r7), call(BPF_FUNC_tail_call), move(r0, 77), leave()};
     }},
    {"perf_output",
     [](int m) {
       return Instructions{move(r1, r6)} + load_map(r2, m) + Instructions{move(r3, r7)} +
              stack_at(r4, -16) +
              Instructions{move(r5, 8), call(BPF_FUNC_perf_event_output), leave()};
     }},
    {"ring_output",
     [](int m) {
       return load_map(r1, m) + stack_at(r2, -16) +
              Instructions{move(r3, 16), move(r4, r7), call(BPF_FUNC_ringbuf_output), leave()};
     }},
    {"ring_query",
     [](int m) {
       return load_map(r1, m) + Instructions{move(r2, r7), call(BPF_FUNC_ringbuf_query), leave()};
     }},
    {"change_inner",
     [](int m) {
       return look_up(m) + Instructions{move(r1, r0)} + stack_at(r2, -24) +
              Instructions{call(BPF_FUNC_map_lookup_elem)} + unless_found_leave() + change_value();
     }},
};
constexpr size_t kUses = std::size(kProgramUses);

// Helpers whose use the emulated kernel refuses when the program runs, Linux when it is loaded.
bool takes(const MapKind& kind, const ProgramUse& use) {
  const std::string_view name = use.name;
  if (kind.holds_maps) return name == "change_inner";
  if (name == "change_inner") return false;
  return !(kind.type == BPF_MAP_TYPE_XSKMAP && (name == "change" || name.starts_with("read")));
}

// The commands of user space.
enum class Command : uint8_t {
  look_up,
  update,
  erase,
  take,  // lookup and delete
  next_key,
  walk,
  walk_and_delete,  // every other entry, while walking
  update_batch,
  delete_batch,
  look_up_batch,
  take_batch,
};
constexpr uint32_t kCommands = 11;

// One step; the same for both kernels, but for the descriptors that values name.
struct Step {
  bool by_program;
  size_t use;       // of kProgramUses
  Command command;  // else
  Bytes keys;       // of three elements
  Bytes values;
  std::array<uint32_t, 3> choices;  // of the pool of descriptors
  uint64_t flags;
  bool from_start;  // of next_key
};

struct Answer {
  long number = 0;
  std::map<Bytes, Bytes> entries;
  bool operator==(const Answer&) const = default;
};

void PrintTo(const Answer& answer, std::ostream* out) {
  *out << answer.number << " " << testing::PrintToString(answer.entries);
}

class Machine {
 public:
  Machine(bool real, const MapKind& kind, uint32_t entries, uint32_t flags)
      : kind_(kind), kernel_(real) {
    for (uint32_t i = 0; i < 3; ++i) {
      pool_.push_back(pool_member(i));
      pool_fds_.push_back(pool_.back().fd());
    }
    pool_fds_.insert(pool_fds_.end(), {-1, 1 << 20, STDOUT_FILENO});
    bpf_attr attr{};
    attr.map_type = kind.type;
    attr.key_size = kind.key_size;
    attr.value_size = kind.value_size;
    attr.max_entries = entries;
    attr.map_flags = flags;
    if (kind.holds_maps) attr.inner_map_fd = static_cast<uint32_t>(pool_fds_[0]);
    map_ = Descriptor(kernel_->bpf(BPF_MAP_CREATE, attr));
    for (const ProgramUse& use : kProgramUses) {
      const bool wanted = map_.error() == 0 && takes(kind, use);
      programs_.push_back(
          wanted ? kernel_->load(BPF_PROG_TYPE_XDP, unpack_packet() + use.code(map_.fd()))
                 : Descriptor());
    }
  }

  long error() const { return map_.error(); }
  bool loaded(size_t use) const { return programs_[use].error() == 0; }

  Answer run(const Step& step) {
    if (step.by_program) return run_program(step);
    switch (step.command) {
      case Command::look_up:
        return take_out(BPF_MAP_LOOKUP_ELEM, step);
      case Command::take:
        return take_out(BPF_MAP_LOOKUP_AND_DELETE_ELEM, step);
      case Command::update: {
        Bytes value = value_of(step, 0);
        return {element(BPF_MAP_UPDATE_ELEM, key_of(step), &value, step.flags), {}};
      }
      case Command::erase:
        return {element(BPF_MAP_DELETE_ELEM, key_of(step), nullptr, 0), {}};
      case Command::next_key:
        return next_key(step);
      case Command::walk:
        return walk(false);
      case Command::walk_and_delete:
        return walk(true);
      case Command::update_batch:
        return batch(BPF_MAP_UPDATE_BATCH, step, 3);
      case Command::delete_batch:
        return batch(BPF_MAP_DELETE_BATCH, step, 3);
      case Command::look_up_batch:
        return batch(BPF_MAP_LOOKUP_BATCH, step, kBatchRoom);
      case Command::take_batch:
        return batch(BPF_MAP_LOOKUP_AND_DELETE_BATCH, step, kBatchRoom);
    }
    return {};
  }

 private:
  static constexpr uint32_t kBatchRoom = 64;

  // What values name: inner maps, or programs.
  Descriptor pool_member(uint32_t i) {
    if (kind_.holds_maps) return kernel_->create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 2);
    return kernel_->load(BPF_PROG_TYPE_XDP, {move(r0, static_cast<int32_t>(100 + i)), leave()});
  }
  bool names_descriptors() const {
    return kind_.holds_maps || kind_.type == BPF_MAP_TYPE_PROG_ARRAY ||
           kind_.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY || kind_.type == BPF_MAP_TYPE_XSKMAP;
  }
  uint32_t value_bytes() const {
    return kind_.per_cpu ? 8 * real_possible_cpus() : kind_.value_size;
  }

  Bytes key_of(const Step& step) const {
    return {step.keys.begin(), step.keys.begin() + kind_.key_size};
  }
  Bytes value_of(const Step& step, uint32_t number) const {
    Bytes value(value_bytes());
    if (names_descriptors()) {
      const int fd =
          kind_.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY || kind_.type == BPF_MAP_TYPE_XSKMAP
              ? pool_fds_[3 + step.choices[number] % 2]
              : pool_fds_[step.choices[number]];
      std::memcpy(value.data(), &fd, sizeof fd);
    } else {
      for (size_t i = 0; i < value.size(); ++i)
        value[i] = static_cast<uint8_t>(step.values[number * 8 + i % 8] + i / 8);
    }
    return value;
  }
  // Ids of the pool, which differ between kernels, become numbers from 0.
  void show(Bytes& value) {
    if (!names_descriptors()) return;
    uint32_t id = 0;
    std::memcpy(&id, value.data(), sizeof id);
    for (uint32_t i = 0; i < pool_.size(); ++i) {
      if (id_of(pool_fds_[i]) == id) id = i;
    }
    std::memcpy(value.data(), &id, sizeof id);
  }
  uint32_t id_of(int fd) {
    uint32_t ids[64] = {};  // of a map or program, both have theirs at the second place
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(fd);
    attr.info.info_len = sizeof ids;
    attr.info.info = address_of(ids);
    kernel_->bpf(BPF_OBJ_GET_INFO_BY_FD, attr);
    return ids[1];
  }

  long element(bpf_cmd command, const Bytes& key, Bytes* value, uint64_t flags) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map_.fd());
    if (!key.empty()) attr.key = address_of(key.data());
    if (value != nullptr) attr.value = address_of(value->data());
    attr.flags = flags;
    return kernel_->bpf(command, attr);
  }

  Answer take_out(bpf_cmd command, const Step& step) {
    Bytes value =
        kind_.type == BPF_MAP_TYPE_BLOOM_FILTER ? value_of(step, 0) : Bytes(value_bytes());
    Answer answer{element(command, key_of(step), &value, step.flags), {}};
    if (answer.number != 0) return answer;
    show(value);
    answer.entries[{}] = value;
    return answer;
  }

  Answer next_key(const Step& step) {
    Bytes next(kind_.key_size);
    const Bytes key = step.from_start || ordered_by_linux() ? Bytes() : key_of(step);
    Answer answer{element(BPF_MAP_GET_NEXT_KEY, key, &next, 0), {}};
    if (answer.number == 0 && !ordered_by_linux()) answer.entries[next] = {};
    return answer;
  }

  // The whole map; with `deletes`, entries go as soon as the key after them is known.
  Answer walk(bool deletes) {
    Answer answer;
    Bytes key;
    Bytes next(kind_.key_size);
    answer.number = element(BPF_MAP_GET_NEXT_KEY, key, &next, 0);
    for (int steps = 0; answer.number == 0 && steps < 10'000; ++steps) {
      key = next;
      Bytes value(value_bytes());
      const long found = element(BPF_MAP_LOOKUP_ELEM, key, &value, 0);
      if (found == 0) show(value);
      if (!answer.entries.emplace(key, found == 0 ? value : Bytes{}).second) return {-1, {}};
      answer.number = element(BPF_MAP_GET_NEXT_KEY, key, &next, 0);
      const bool odd = (key.front() + key.back()) % 2 != 0;
      if (deletes && odd) element(BPF_MAP_DELETE_ELEM, key, nullptr, 0);
    }
    return answer;
  }

  // Writes three elements, or reads all; the number is the answer and the count.
  Answer batch(bpf_cmd command, const Step& step, uint32_t count) {
    Bytes keys(size_t{count} * kind_.key_size);
    Bytes values(size_t{count} * value_bytes());
    for (uint32_t i = 0; i < 3; ++i) {
      std::copy_n(step.keys.begin() + i * 8, kind_.key_size, keys.begin() + i * kind_.key_size);
      const Bytes value = value_of(step, i);
      std::copy(value.begin(), value.end(), values.begin() + i * value_bytes());
    }
    uint8_t position[16] = {};
    bpf_attr attr{};
    attr.batch.map_fd = static_cast<uint32_t>(map_.fd());
    attr.batch.keys = address_of(keys.data());
    attr.batch.values = address_of(values.data());
    attr.batch.out_batch = address_of(position);
    attr.batch.count = count;
    Answer answer{kernel_->bpf(command, attr), {}};
    answer.number = answer.number * 1000 - attr.batch.count;
    const bool listed = answer.number == -long{attr.batch.count} ||
                        answer.number == -ENOENT * 1000L - long{attr.batch.count};
    if (count == 3 || !listed) return answer;
    for (uint32_t i = 0; i < attr.batch.count; ++i) {
      const auto key = keys.begin() + i * kind_.key_size;
      const auto start = values.begin() + i * value_bytes();
      Bytes value(start, start + value_bytes());
      show(value);
      answer.entries[Bytes(key, key + kind_.key_size)] = value;
    }
    return answer;
  }

  Answer run_program(const Step& step) {
    Bytes packet(kPacketBytes);
    std::copy_n(step.keys.begin(), 8, packet.begin());
    std::copy_n(step.values.begin(), 8, packet.begin() + 8);
    std::memcpy(packet.data() + 16, &step.flags, sizeof step.flags);
    RunRequest request = on_packet(std::move(packet));
    const RunAnswer answer = kernel_->run(programs_[step.use].fd(), request);
    return {answer.error != 0 ? answer.error : static_cast<long>(answer.code), {}};
  }

  bool ordered_by_linux() const {
    switch (kind_.type) {
      case BPF_MAP_TYPE_HASH:
      case BPF_MAP_TYPE_PERCPU_HASH:
      case BPF_MAP_TYPE_LRU_HASH:
      case BPF_MAP_TYPE_LRU_PERCPU_HASH:
      case BPF_MAP_TYPE_HASH_OF_MAPS:
        return true;
      default:
        return false;
    }
  }

  const MapKind& kind_;
  OneKernel kernel_;
  std::vector<Descriptor> pool_;
  std::vector<int> pool_fds_;  // the pool, then descriptors that are wrong
  Descriptor map_;
  std::vector<Descriptor> programs_;
};

class MapSequence : public testing::TestWithParam<MapKind> {
 protected:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  bool is(bpf_map_type type) const { return GetParam().type == type; }

  uint32_t entries() {
    switch (GetParam().type) {
      case BPF_MAP_TYPE_RINGBUF:
        return 4096;
      case BPF_MAP_TYPE_BLOOM_FILTER:
        // So many bits that no value is found by mistake in either kernel.
        return 100'000;
      case BPF_MAP_TYPE_LRU_HASH:
      case BPF_MAP_TYPE_LRU_PERCPU_HASH:
        return 1 + below(40);
      default:
        return 1 + below(8);
    }
  }

  Step any_step(uint32_t entries, const std::vector<size_t>& uses) {
    Step step;
    step.by_program = !uses.empty() && below(2) == 0;
    step.use = uses.empty() ? 0 : uses[below(static_cast<uint32_t>(uses.size()))];
    step.command = static_cast<Command>(below(kCommands));
    const bool rarely = below(8) == 0;
    // Walks that delete would keep maps empty.
    if (step.command >= Command::walk_and_delete && !rarely) step.command = Command::update;
    step.keys.resize(24);
    step.values.resize(24);
    for (uint32_t i = 0; i < 3; ++i) {
      uint32_t key = below(20) == 0 ? ~0u : below(std::min(entries, 40u) + 2);
      uint8_t* at = &step.keys[size_t{i} * 8];
      if (is(BPF_MAP_TYPE_LPM_TRIE)) {
        const uint32_t length = below(30) == 0 ? 33 : below(33);
        const uint32_t addresses[] = {0, 0x80, 0xff, 0x0100, 0xffffffff};
        key = addresses[below(5)];
        std::memcpy(at, &length, 4);
        at += 4;
      }
      std::memcpy(at, &key, 4);
      for (uint32_t byte = 0; byte < 8; ++byte)
        step.values[size_t{i} * 8 + byte] = static_cast<uint8_t>(random_());
      if (is(BPF_MAP_TYPE_BLOOM_FILTER)) {
        std::fill_n(&step.values[size_t{i} * 8], 8, static_cast<uint8_t>(below(32)));
      }
      if (is(BPF_MAP_TYPE_DEVMAP) || is(BPF_MAP_TYPE_DEVMAP_HASH) || is(BPF_MAP_TYPE_CPUMAP)) {
        const uint32_t targets[] = {0, 1, 1, 1, 1u << 20};
        std::memcpy(&step.values[size_t{i} * 8], &targets[below(5)], 4);
      }
      step.choices[i] = below(5) == 0 ? 3 + below(3) : below(3);
    }
    const uint64_t flags[] = {BPF_NOEXIST, BPF_EXIST, 3, BPF_F_LOCK, 8, 1ull << 32};
    step.flags = below(4) == 0 ? flags[below(std::size(flags))] : 0;
    if (step.by_program) {
      const std::string_view name = kProgramUses[step.use].name;
      // Flags that mean something else: a CPU, an index, what to query.
      if (name == "read_cpu") step.flags = below(real_possible_cpus() + 1);
      if (name == "tail_call") step.flags = below(entries + 2);
      if (name == "perf_output") step.flags = below(entries + 2);
      if (name == "ring_query") step.flags = below(5);
    }
    step.from_start = below(4) == 0;
    return step;
  }

  static std::string words(const Step& step) {
    return step.by_program
               ? fmt::format("program {}, flags {:#x}", kProgramUses[step.use].name, step.flags)
               : fmt::format("command {}, flags {:#x}", static_cast<int>(step.command), step.flags);
  }

  std::mt19937_64 random_{GetParam().type * 1000u + GetParam().flags};
};

TEST_P(MapSequence, AnswersEveryStepAsLinuxDoes) {
  XNIC_NEEDS_REAL_KERNEL();
  stay_on_cpu_0();
  const char* wanted = std::getenv("XNIC_MAP_SEQUENCES");
  const int sequences = wanted != nullptr ? std::atoi(wanted) : 6;
  std::set<std::string_view> ran;
  for (int sequence = 0; sequence < sequences; ++sequence) {
    const uint32_t size = entries();
    uint32_t flags = GetParam().flags;
    if ((is(BPF_MAP_TYPE_LRU_HASH) || is(BPF_MAP_TYPE_LRU_PERCPU_HASH)) && below(2) == 0)
      flags |= BPF_F_NO_COMMON_LRU;
    Machine ours(false, GetParam(), size, flags);
    Machine theirs(true, GetParam(), size, flags);
    ASSERT_EQ(theirs.error(), 0);
    ASSERT_EQ(ours.error(), 0);
    std::vector<size_t> uses;
    for (size_t use = 0; use < kUses; ++use) {
      if (!theirs.loaded(use)) continue;
      ASSERT_TRUE(ours.loaded(use)) << kProgramUses[use].name;
      uses.push_back(use);
      ran.insert(kProgramUses[use].name);
    }
    for (int i = 0; i < 300; ++i) {
      const Step step = any_step(size, uses);
      const Answer expected = theirs.run(step);
      ASSERT_EQ(ours.run(step), expected)
          << "sequence " << sequence << " of " << size << " entries, step " << i << ": "
          << words(step) << ", keys " << testing::PrintToString(step.keys) << ", values "
          << testing::PrintToString(step.values);
    }
  }
  // Only sockets are out of reach: programs have nothing to do with their maps but redirect.
  EXPECT_TRUE(!ran.empty() || is(BPF_MAP_TYPE_XSKMAP) || is(BPF_MAP_TYPE_CPUMAP));
}

INSTANTIATE_TEST_SUITE_P(EveryType, MapSequence, testing::ValuesIn(kMapKinds),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace xnic::test

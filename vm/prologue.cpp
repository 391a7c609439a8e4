// Derives the prologue of a program: its instructions on all paths to the lookup, with the map
// exchanged for one whose lookup prefetches. The result passes the verifier like any program.
// Leaves out functions other than the main one, loops, and lookups in maps of maps.
// Test: tests/vm/prologue_test.cpp.
#include "vm/prologue.h"

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <set>

#include "vm/invocation.h"
#include "vm/isa.h"
#include "vm/program.h"
#include "vm/verifier.h"

namespace xnic::vm {
namespace {

// A longer prologue costs more than what it hides.
constexpr size_t kLongest = 128;  // instructions
constexpr size_t kMostMaps = 64;  // low bits of a handle, which DirectLookup leaves to its user

bool is_larger(Map& map, uint64_t cached_bytes) {
  const MapSpec& spec = map.spec();
  const uint64_t bytes = uint64_t{spec.max_entries} * (spec.key_size + spec.value_size);
  return bytes > cached_bytes && map.inner_spec() == nullptr &&
         map.direct_lookup().prefetch != nullptr;
}

// Whether a lookup leaves no trace, as one in an LRU does.
bool looks_up_silently(const Map& map) {
  switch (map.spec().type) {
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_PERCPU_ARRAY:
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_LPM_TRIE:
      return true;
    default:
      return false;
  }
}

// Stands for a map in a prologue: looks nothing up, but prefetches and gives the handle of that.
class PrefetchingMap : public Map {
 public:
  PrefetchingMap(Map& map, size_t number)
      : Map(map.spec(), map.possible_cpus()), lookup_(map.direct_lookup()), number_(number) {
    btf = map.btf;
  }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override { return prefetch(this, key, cpu); }
  DirectLookup direct_lookup() override {
    return {.kind = DirectLookup::Kind::function, .function = prefetch, .table = this};
  }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EINVAL; }
  int erase(const uint8_t*) override { return -EINVAL; }
  int user_lookup(const uint8_t*, uint8_t*, uint64_t) override { return -EINVAL; }
  int user_update(const uint8_t*, const uint8_t*, uint64_t) override { return -EINVAL; }
  int next_key(const uint8_t*, uint8_t*) override { return -ENOENT; }

 private:
  static uint8_t* prefetch(void* self, const uint8_t* key, uint32_t) {
    const auto& map = *static_cast<PrefetchingMap*>(self);
    const uint64_t handle = map.lookup_.prefetch(map.lookup_.table, key);
    return handle == 0 ? nullptr : std::bit_cast<uint8_t*>(handle | map.number_);
  }

  DirectLookup lookup_;
  size_t number_;
};

// The maps of a prologue, by the numbers that stand for descriptors in it.
class PrologueMaps : public MapResolver {
 public:
  std::shared_ptr<Map> map_by_fd(int fd) override {
    const auto number = static_cast<size_t>(fd);
    return number < maps_.size() ? maps_[number] : nullptr;
  }
  int add(std::shared_ptr<Map> map) {
    maps_.push_back(std::move(map));
    return static_cast<int>(maps_.size()) - 1;
  }

 private:
  std::vector<std::shared_ptr<Map>> maps_;
};

// Writes the instructions of a prologue.
class Slicer {
 public:
  Slicer(const Program& program, uint64_t cached_bytes)
      : program_(program),
        cached_bytes_(cached_bytes),
        code_(program.instructions()),
        end_(program.subprograms().front().end) {}

  // Empty where there is none.
  std::vector<bpf_insn> slice();
  PrologueMaps& maps() { return maps_; }
  // The large maps whose lookups it ends with.
  const std::vector<DirectLookup>& prefetched() const { return prefetched_; }

 private:
  enum class Step : uint8_t { keep, leave_out, prefetch, give_up };

  bool is_large(Map& map) const { return is_larger(map, cached_bytes_); }
  Step step_of(uint32_t index) const;
  Step step_of_lookup(uint32_t index) const;
  // Where a jump goes.
  uint32_t target(uint32_t index) const {
    return static_cast<uint32_t>(index + 1 + jump_distance(code_[index]));
  }
  bool follow();
  void emit(uint32_t index);
  bool emit_map(uint32_t index);
  std::shared_ptr<Map> map_at(uint64_t address, uint64_t& offset) const;
  void finish();

  const Program& program_;
  uint64_t cached_bytes_;
  std::span<const bpf_insn> code_;
  uint32_t end_;
  PrologueMaps maps_;
  std::vector<DirectLookup> prefetched_;
  std::map<const Map*, int> numbers_;  // in maps_

  std::map<uint32_t, Step> steps_;      // of the instructions that it reaches, in order
  std::map<uint32_t, uint32_t> place_;  // in made_, of what stands for each
  std::vector<bpf_insn> made_;
  struct Jump {
    uint32_t from;  // in made_
    uint32_t to;    // in code_, or one of these
  };
  static constexpr uint32_t kLeave = UINT32_MAX;       // exit with r0
  static constexpr uint32_t kGiveUp = UINT32_MAX - 1;  // exit with 0
  std::vector<Jump> jumps_;
};

Slicer::Step Slicer::step_of(uint32_t index) const {
  const bpf_insn& insn = code_[index];
  switch (opcode(insn).kind) {
    case Kind::alu:
    case Kind::negate:
    case Kind::byte_swap:
    case Kind::load:
    case Kind::load_signed:
    case Kind::jump_if:
    case Kind::jump:
      return Step::keep;
    case Kind::load_immediate: {
      const bool names_nothing_or_map = insn.src_reg == 0 || insn.src_reg == BPF_PSEUDO_MAP_FD ||
                                        insn.src_reg == BPF_PSEUDO_MAP_VALUE ||
                                        insn.src_reg == BPF_PSEUDO_MAP_IDX ||
                                        insn.src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
      return names_nothing_or_map ? Step::keep : Step::give_up;
    }
    case Kind::store:
    case Kind::store_immediate:
      return insn.dst_reg == BPF_REG_10 ? Step::keep : Step::leave_out;
    case Kind::atomic:
      return insn.imm == kStoreRelease || (insn.imm & kAtomicFetch) != 0 ||
                     insn.imm == kLoadAcquire || insn.dst_reg == BPF_REG_10
                 ? Step::give_up
                 : Step::leave_out;
    case Kind::call:
      return step_of_lookup(index);
    default:
      return Step::give_up;
  }
}

Slicer::Step Slicer::step_of_lookup(uint32_t index) const {
  const bpf_insn& insn = code_[index];
  const auto call = program_.proof().calls.find(index);
  if (insn.src_reg != 0 || insn.imm != BPF_FUNC_map_lookup_elem ||
      call == program_.proof().calls.end() || call->second.map == nullptr) {
    return Step::give_up;
  }
  const auto maps = program_.maps();
  const auto map = std::ranges::find(maps, call->second.map, &std::shared_ptr<Map>::get);
  if (map == maps.end()) return Step::give_up;
  if (is_large(**map)) return Step::prefetch;
  return looks_up_silently(**map) ? Step::keep : Step::give_up;
}

// Finds what the prologue reaches. False if that is too much, or leads to no prefetch.
bool Slicer::follow() {
  std::set<uint32_t> waiting = {0};
  bool prefetches = false;
  while (!waiting.empty()) {
    const uint32_t index = *waiting.begin();
    waiting.erase(waiting.begin());
    const bool fits = index < end_ && steps_.size() < kLongest;
    if (!fits) return false;
    Step step = step_of(index);
    const Kind kind = opcode(code_[index]).kind;
    const bool jumps = kind == Kind::jump || kind == Kind::jump_if;
    if (jumps && target(index) <= index) step = Step::give_up;
    steps_[index] = step;
    prefetches |= step == Step::prefetch;
    if (step == Step::prefetch || step == Step::give_up) continue;
    // Only forward, so that what is taken out here never comes in again.
    if (jumps) waiting.insert(target(index));
    if (kind != Kind::jump) waiting.insert(index + slots(code_[index]));
  }
  return prefetches;
}

std::shared_ptr<Map> Slicer::map_at(uint64_t address, uint64_t& offset) const {
  for (const std::shared_ptr<Map>& map : program_.maps()) {
    offset = 0;
    if (std::bit_cast<uint64_t>(map.get()) == address) return map;
    const auto value = map->direct_value();
    offset = address - std::bit_cast<uint64_t>(value.data());
    if (!value.empty() && offset < value.size()) return map;
  }
  return nullptr;
}

// An ld_imm64 that names a map, or an address in its value.
bool Slicer::emit_map(uint32_t index) {
  const bool of_value = code_[index].src_reg == BPF_PSEUDO_MAP_VALUE ||
                        code_[index].src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
  uint64_t offset = 0;
  std::shared_ptr<Map> map = map_at(immediate64(code_[index], code_[index + 1]), offset);
  if (map == nullptr) return false;
  const auto [number, is_new] = numbers_.try_emplace(map.get(), 0);
  if (is_new) {
    if (is_large(*map)) {
      if (prefetched_.size() == kMostMaps) return false;
      const size_t place = prefetched_.size();
      prefetched_.push_back(map->direct_lookup());
      map = std::make_shared<PrefetchingMap>(*map, place);
    }
    number->second = maps_.add(std::move(map));
  }
  bpf_insn low = code_[index];
  low.src_reg = of_value ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD;
  low.imm = number->second;
  bpf_insn high{};
  high.imm = of_value ? static_cast<int32_t>(offset) : 0;
  made_.insert(made_.end(), {low, high});
  return true;
}

void Slicer::emit(uint32_t index) {
  const auto here = [this] { return static_cast<uint32_t>(made_.size()); };
  const bpf_insn leave{.code = BPF_JMP | BPF_JA, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
  switch (steps_.at(index)) {
    case Step::leave_out:
      return;
    case Step::give_up:
      jumps_.push_back({here(), kGiveUp});
      made_.push_back(leave);
      return;
    case Step::prefetch:
      made_.push_back(code_[index]);
      jumps_.push_back({here(), kLeave});
      made_.push_back(leave);
      return;
    case Step::keep:
      break;
  }
  const Kind kind = opcode(code_[index]).kind;
  if (kind == Kind::jump || kind == Kind::jump_if) {
    jumps_.push_back({here(), target(index)});
    made_.push_back(kind == Kind::jump ? leave : code_[index]);
    return;
  }
  made_.push_back(code_[index]);
  if (slots(code_[index]) == 2) made_.push_back(code_[index + 1]);
}

// The ends, and where jumps go.
void Slicer::finish() {
  if (std::ranges::find(jumps_, kGiveUp, &Jump::to) != jumps_.end()) {
    place_[kGiveUp] = static_cast<uint32_t>(made_.size());
    made_.push_back({.code = BPF_ALU64 | BPF_MOV | BPF_K,
                     .dst_reg = BPF_REG_0,
                     .src_reg = 0,
                     .off = 0,
                     .imm = 0});
  }
  place_[kLeave] = static_cast<uint32_t>(made_.size());
  made_.push_back({.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0});
  for (const Jump& jump : jumps_) {
    made_[jump.from].off = static_cast<int16_t>(place_.at(jump.to) - jump.from - 1);
  }
}

std::vector<bpf_insn> Slicer::slice() {
  if (!follow()) return {};
  for (const auto& [index, step] : steps_) {
    place_[index] = static_cast<uint32_t>(made_.size());
    const bool names_map = step == Step::keep &&
                           opcode(code_[index]).kind == Kind::load_immediate &&
                           code_[index].src_reg != 0;
    if (!names_map) {
      emit(index);
    } else if (!emit_map(index)) {
      return {};
    }
  }
  finish();
  return std::move(made_);
}

}  // namespace

std::shared_ptr<const Prologue> Prologue::of(const Program& program, Engine& engine,
                                             uint32_t possible_cpus, uint64_t cached_bytes) {
  if (program.proof().reached.empty() || program.subprograms().empty()) return nullptr;
  const auto large = [&](const std::shared_ptr<Map>& map) { return is_larger(*map, cached_bytes); };
  if (std::ranges::none_of(program.maps(), large)) return nullptr;
  Slicer slicer(program, cached_bytes);
  ProgramSpec spec;
  spec.type = program.spec().type;
  spec.expected_attach_type = program.spec().expected_attach_type;
  spec.flags = program.spec().flags;
  spec.license = program.spec().license;
  spec.instructions = slicer.slice();
  if (spec.instructions.empty()) return nullptr;
  auto verified = Verifier::verify(std::move(spec), {}, slicer.maps(),
                                   {.values = true, .possible_cpus = possible_cpus});
  if (!verified) return nullptr;
  std::shared_ptr<Prologue> prologue(new Prologue());
  prologue->program_ = std::move(*verified);
  prologue->program_->set_code(engine.compile(*prologue->program_));
  prologue->maps_ = slicer.prefetched();
  return prologue;
}

uint64_t Prologue::fetch_bucket(Packet& packet, Environment& environment) const {
  Invocation invocation(packet, environment);
  return program_->code().run(invocation);
}

void Prologue::fetch_entry(uint64_t handle) const {
  if (handle == 0) return;
  const DirectLookup& map = maps_[handle % kMostMaps];
  map.prefetch_entry(map.table, handle - handle % kMostMaps);
}

}  // namespace xnic::vm

// Program arrays. The first program stored or loaded with a use of the map decides which programs
// may follow: see ProgramOwner. Slots are exchanged atomically, so a tail call never waits for a
// writer; a writer waits until no run can be in the program that it takes away (vm/grace.h).
// What it leaves out: the kernel empties the slots when user space closed its last descriptor.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/prog_array.h"

#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "vm/grace.h"
#include "vm/maps/array.h"
#include "vm/maps/checks.h"
#include "vm/maps/memory.h"
#include "vm/maps/program_owner.h"

namespace xnic::vm {
namespace {

using Slot = std::atomic<std::shared_ptr<const Program>>;
using Entry = std::atomic<const void*>;

class ProgArray : public Map {
 public:
  ProgArray(const MapSpec& spec, const MapContext& context)
      : Map(spec, context.possible_cpus),
        objects_(context.objects),
        slots_(spec.max_entries),
        entries_(spec.max_entries) {}

  // Programs reach a slot by bpf_tail_call alone.
  uint8_t* lookup(const uint8_t*, uint32_t) override { return nullptr; }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EINVAL; }

  int erase(const uint8_t* key) override {
    const uint32_t index = read_index(key);
    if (index >= spec_.max_entries) return -E2BIG;
    return replace(index, nullptr) ? 0 : -ENOENT;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const auto program = program_at(read_index(key));
    if (program == nullptr) return -ENOENT;
    std::memcpy(value, &program->id, sizeof(program->id));
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    if (flags != BPF_ANY) return -EINVAL;
    const uint32_t index = read_index(key);
    if (index >= spec_.max_entries) return -E2BIG;
    int fd;
    std::memcpy(&fd, value, sizeof(fd));
    // A closed descriptor is one error, a descriptor of something else another.
    if (fcntl(fd, F_GETFD) < 0) return -EBADF;
    auto program = objects_ != nullptr ? objects_->program_by_fd(fd) : nullptr;
    if (program == nullptr || !accepts(*program)) return -EINVAL;
    replace(index, std::move(program));
    return 0;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    return next_index(spec_.max_entries, key, next);
  }

  std::shared_ptr<const Program> program_at(uint32_t index) const override {
    return index < spec_.max_entries ? slots_[index].load() : nullptr;
  }

  bool accepts(const Program& program) override { return owner_.accepts(program); }

  void release_programs() override {
    for (uint32_t index = 0; index < spec_.max_entries; ++index) {
      if (slots_[index].load() != nullptr) replace(index, nullptr);
    }
  }

  const Entry* entries() const { return entries_.data(); }
  void note_entry(uint32_t index, const Program& program) {
    const std::lock_guard lock(writer_);
    if (slots_[index].load().get() == &program) entries_[index].store(program.code().entry());
  }

 private:
  // Whether there was a program before.
  bool replace(uint32_t index, std::shared_ptr<const Program> program) {
    std::vector<std::shared_ptr<const Program>> gone;
    {
      const std::lock_guard lock(writer_);
      std::shared_ptr<const Program> before = slots_[index].exchange(std::move(program));
      entries_[index].store(nullptr);
      if (before == nullptr) return false;
      gone.swap(leaving_);
      gone.push_back(std::move(before));
    }
    // A run that is waited for may be noting an entry, and so must not be locked out.
    if (!wait_for_grace()) {
      const std::lock_guard lock(writer_);
      leaving_.insert(leaving_.end(), gone.begin(), gone.end());
    }
    return true;
  }

  ObjectResolver* objects_;
  std::vector<Slot> slots_;
  std::vector<Entry> entries_;  // of the slots' programs, once noted
  std::mutex writer_;
  std::vector<std::shared_ptr<const Program>> leaving_;  // taken out while this thread was in a run
  ProgramOwner owner_{true};
};

}  // namespace

const std::atomic<const void*>* tail_call_entries(const Map& map) {
  const auto* programs = dynamic_cast<const ProgArray*>(&map);
  return programs == nullptr ? nullptr : programs->entries();
}

void note_tail_call_entry(Map& map, uint32_t index, const Program& program) {
  if (auto* programs = dynamic_cast<ProgArray*>(&map)) programs->note_entry(index, program);
}

int check_prog_array(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;
  if (spec.max_entries == 0 || spec.key_size != 4 || spec.value_size != 4 ||
      !flags_valid(spec, kAllowed))
    return -EINVAL;
  return 0;
}

tl::expected<std::shared_ptr<Map>, int> create_prog_array(const MapSpec& spec,
                                                          const MapContext& context) try {
  // Unlike values, slots are touched at once.
  constexpr uint64_t kMaxBytes = 1ull << 30;
  if (spec.max_entries * sizeof(Slot) > kMaxBytes) return tl::unexpected(-ENOMEM);
  return std::make_shared<ProgArray>(spec, context);
} catch (const std::bad_alloc&) {
  return tl::unexpected(-ENOMEM);
}

}  // namespace xnic::vm

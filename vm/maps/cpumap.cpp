// CPU maps. What it leaves out: the CPUs' queues and threads, which are the host's.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/cpumap.h"

#include "vm/maps/program_owner.h"
#include "vm/maps/redirect_map.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxQueue = 16384;
// The CPUs that a kernel can be built for; it decides how long a cpumap may be. Debian's, and most
// distributions', is 8192.
constexpr uint32_t kBuiltForCpus = 8192;

class Cpumap : public RedirectArray {
 public:
  Cpumap(const MapSpec& spec, const MapContext& context, MemoryBlock places)
      : RedirectArray(spec, context, std::move(places)), objects_(context.objects) {}

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    const uint32_t cpu = read_index(key);
    bpf_cpumap_val wanted{};
    std::memcpy(&wanted, value, spec_.value_size);
    if (flags > BPF_EXIST) return -EINVAL;
    if (cpu >= spec_.max_entries) return -E2BIG;
    if (flags == BPF_NOEXIST) return -EEXIST;
    if (wanted.qsize > kMaxQueue) return -EOVERFLOW;
    if (cpu >= possible_cpus_) return -ENODEV;
    const std::lock_guard lock(mutex_);
    if (wanted.qsize == 0) {
      put(cpu, nullptr);
      return 0;
    }
    RedirectEntry entry{.queue_size = wanted.qsize};
    if (wanted.bpf_prog.fd > 0) {
      entry.program = objects_ != nullptr ? objects_->program_by_fd(wanted.bpf_prog.fd) : nullptr;
      // Linux says so of every program that does not fit.
      if (entry.program == nullptr || !fits(*entry.program)) return -ENOMEM;
    }
    wanted.bpf_prog.id = entry.program != nullptr ? entry.program->id : 0;
    RedirectSlot* slot = take(cpu);
    std::memcpy(slot->value, &wanted, sizeof(wanted));
    slot->entry = std::move(entry);
    put(cpu, slot);
    return 0;
  }

  bool accepts(const Program& program) override { return owner_.accepts(program); }

 private:
  bool fits(const Program& program) {
    return program.type() == BPF_PROG_TYPE_XDP &&
           program.spec().expected_attach_type == BPF_XDP_CPUMAP && owner_.accepts(program);
  }

  ObjectResolver* objects_;
  ProgramOwner owner_{false};
};

}  // namespace

int check_cpumap(const MapSpec& spec) {
  if (spec.max_entries == 0 || spec.key_size != 4 ||
      (spec.value_size != 4 && spec.value_size != sizeof(bpf_cpumap_val)) ||
      !flags_valid(spec, BPF_F_NUMA_NODE))
    return -EINVAL;
  return spec.max_entries > kBuiltForCpus ? -E2BIG : 0;
}

tl::expected<std::shared_ptr<Map>, int> create_cpumap(const MapSpec& spec,
                                                      const MapContext& context) {
  return RedirectArray::memory(spec).map([&](MemoryBlock&& places) -> std::shared_ptr<Map> {
    return std::make_shared<Cpumap>(spec, context, std::move(places));
  });
}

}  // namespace xnic::vm

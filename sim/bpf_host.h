#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/run_answer.h"
#include "vm/kernel.h"

// One vocabulary for bpf(2) on either kernel: the emulated one and the one of this machine.
namespace xnic::sim {

// A file descriptor that closes itself, or the -errno that came in its place.
class Descriptor {
 public:
  explicit Descriptor(long answer = -1) : answer_(answer) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : answer_(std::exchange(other.answer_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(answer_, other.answer_);
    return *this;
  }
  int fd() const { return static_cast<int>(answer_); }
  long error() const { return answer_ < 0 ? answer_ : 0; }

 private:
  long answer_;
};

class BpfHost {
 public:
  virtual ~BpfHost() = default;
  virtual std::string_view name() const = 0;
  // The answer of bpf(2): 0, a descriptor, or -errno.
  virtual long bpf(uint32_t command, void* attributes, uint32_t size) = 0;

  long bpf(uint32_t command, bpf_attr& attributes) {
    return bpf(command, &attributes, sizeof attributes);
  }
  Descriptor load(bpf_prog_type type, const std::vector<bpf_insn>& instructions,
                  uint32_t flags = 0);
  Descriptor create_map(bpf_map_type type, uint32_t key_size, uint32_t value_size,
                        uint32_t max_entries, uint32_t flags = 0);
  RunAnswer run(int program, const RunRequest& request);
};

// The kernel of this machine.
class RealKernel : public BpfHost {
 public:
  std::string_view name() const override { return "Linux"; }
  using BpfHost::bpf;
  long bpf(uint32_t command, void* attributes, uint32_t size) override;
};

// The emulated one, which must outlive this.
class EmulatedKernel : public BpfHost {
 public:
  explicit EmulatedKernel(vm::Kernel& kernel) : kernel_(kernel) {}
  std::string_view name() const override { return "xnic"; }
  using BpfHost::bpf;
  long bpf(uint32_t command, void* attributes, uint32_t size) override;

 private:
  vm::Kernel& kernel_;
};

// Empty if this process may load programs into the kernel of this machine, else why not.
std::string why_no_real_kernel();

// The CPUs that Linux counts as possible: its per-CPU values have so many parts.
uint32_t real_possible_cpus();

inline uint64_t address_of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace xnic::sim

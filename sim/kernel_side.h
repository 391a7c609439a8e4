#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/bpf_host.h"
#include "vm/kernel.h"
#include "vm/object_file.h"
#include "vm/result.h"
#include "vm/syscall.h"

struct bpf_object;
struct bpf_program;

namespace xnic::sim {

struct SideMap {
  std::string name;  // the C variable's; ".rodata" and its like for global data
  bpf_map_type type;
  uint32_t key_size;
  uint32_t value_size;  // bytes, as user space sees one value: of a per-CPU map those of all CPUs
  uint32_t max_entries;
  uint32_t flags;  // BPF_F_*
  bool per_cpu;
  int fd;
};

struct SideProgram {
  std::string name;     // the C function's
  std::string section;  // of the ELF file
  bpf_prog_type type;
  std::vector<bpf_insn> instructions;  // as libbpf loaded them: subprograms behind, maps by fd
  int fd;
};

// A program that BPF_PROG_TEST_RUN cannot be asked about here.
struct LeftOut {
  std::string name;
  std::string section;
  std::string type;    // as libbpf calls it
  std::string reason;  // a sentence
};

// The entries of a map by key. Of per-CPU maps the values of all CPUs; of maps whose values are
// ids of kernel objects only whether there is one, since each kernel counts its own. An empty
// value is a key that can't be looked up.
using MapContents = std::map<Bytes, Bytes>;
// Zeros where values have heads of lists: Linux tells the address of its copy of the value there.
MapContents without_list_heads(MapContents contents, const vm::Map& map);

struct SideOptions {
  // Between opening and loading: may choose among the programs and give them types. Without it all
  // XDP and tc programs are loaded; of those with a '?' in front of their section only what
  // `programs` names, unless there is nothing else.
  std::function<void(bpf_object*)> prepare = {};
  std::vector<std::string> programs = {};
  // Of the emulated machine.
  vm::Network network = vm::default_network();
};

// One side of a comparison: the XDP and tc programs of an object file, loaded by libbpf, without
// pinning anything, into the emulated kernel or into the one of this machine. Both read the object
// as vm/object_file.h does.
class KernelSide {
 public:
  // `engine` runs the programs and must outlive the side. Errors: bad_input for what libbpf
  // cannot open, program_rejected with what the kernel says.
  static Result<std::unique_ptr<KernelSide>> emulated(const std::string& path, vm::Engine& engine,
                                                      uint64_t seed,
                                                      const SideOptions& options = {});
  // Errors: also not_available where this process may not load programs.
  static Result<std::unique_ptr<KernelSide>> real(const std::string& path,
                                                  const SideOptions& options = {});
  ~KernelSide();
  KernelSide(const KernelSide&) = delete;
  KernelSide& operator=(const KernelSide&) = delete;

  std::string_view name() const { return host_->name(); }
  BpfHost& host() { return *host_; }
  const std::vector<SideProgram>& programs() const { return programs_; }
  const std::vector<SideMap>& maps() const { return maps_; }
  const std::vector<LeftOut>& left_out() const { return left_out_; }
  // Null where there is none of this name.
  const SideMap* map(std::string_view name) const;
  const SideProgram* program(std::string_view name) const;

  // 0 or -errno.
  long update(const SideMap& map, const Bytes& key, const Bytes& value);
  // Nothing for a map whose entries bpf(2) cannot list (queues, ring buffers, bloom filters).
  std::optional<MapContents> contents(const SideMap& map);
  RunAnswer run(const SideProgram& program, const RunRequest& request) {
    return host_->run(program.fd, request);
  }
  // The time that programs of the emulated side see from now on, as of CLOCK_MONOTONIC; 0 at first.
  // Nothing on the real side.
  void set_clock(uint64_t nanoseconds) {
    if (kernel_) kernel_->environment().now_ns = nanoseconds;
  }
  // Lets so much time pass that timers fire: the emulated clock runs on, for the real one this
  // waits.
  void pass_milliseconds(uint32_t milliseconds);
  // The emulated map itself; null on the real side.
  vm::Map* emulated_map(const SideMap& map);

 private:
  KernelSide() = default;
  std::unique_ptr<vm::KernelScope> scope();
  Result<void> load(const std::string& path, std::span<const uint8_t> file,
                    const SideOptions& options);
  void choose_programs(const std::vector<std::string>& wanted);
  void leave_out(bpf_program* program, std::string reason);
  void list();

  std::optional<vm::Kernel> kernel_;  // absent: the real one
  std::unique_ptr<BpfHost> host_;
  std::optional<vm::ObjectFile> file_;
  std::vector<SideProgram> programs_;
  std::vector<SideMap> maps_;
  std::vector<LeftOut> left_out_;
};

// "Linux 6.18.0": the kernel of this machine.
std::string real_kernel_name();

// Keeps this process on CPU 0, where the emulated kernel runs programs, while it lives.
class PinnedToCpu0 {
 public:
  PinnedToCpu0();
  ~PinnedToCpu0();
  PinnedToCpu0(const PinnedToCpu0&) = delete;
  PinnedToCpu0& operator=(const PinnedToCpu0&) = delete;
  bool pinned() const { return pinned_; }

 private:
  std::vector<uint8_t> before_;  // a cpu_set_t
  bool pinned_ = false;
};

}  // namespace xnic::sim

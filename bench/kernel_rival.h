#pragma once

#include <linux/bpf.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/workload.h"

struct bpf_object;

namespace xnic::bench {

// Where the kernel's machine code of a program without helpers was copied to.
class KernelImage {
 public:
  explicit KernelImage(std::span<const uint8_t> code);
  ~KernelImage();
  KernelImage(const KernelImage&) = delete;
  KernelImage& operator=(const KernelImage&) = delete;

  // How struct xdp_buff of Linux begins.
  struct Context {
    uint8_t* data;
    uint8_t* data_end;
    uint8_t* data_meta;
    uint8_t* data_hard_start;
    void* rest[4];
  };
  uint64_t run(Context& context) const {
    return std::bit_cast<uint64_t (*)(Context*)>(memory_)(&context);
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};

// An object of XDP programs in the kernel of this machine.
class KernelRival {
 public:
  // Null where the kernel does not let this process load it.
  static std::unique_ptr<KernelRival> load(const std::string& path);
  ~KernelRival();
  KernelRival(const KernelRival&) = delete;
  KernelRival& operator=(const KernelRival&) = delete;

  // Writes entries, keys and values one behind the other. False if the kernel refuses.
  bool fill(const std::string& map, std::span<const uint8_t> keys, std::span<const uint8_t> values,
            uint32_t count);
  // Nanoseconds of a run, as BPF_PROG_TEST_RUN measures them over so many; negative on failure.
  double run(const std::string& program, const Bytes& packet, uint32_t repeat);
  // The same with live frames (BPF_F_TEST_XDP_LIVE_FRAMES): packets of the kernel's own, in
  // batches, each with what follows the verdict.
  double run_live(const std::string& program, const Bytes& packet, uint32_t repeat);
  // Null where the kernel hides its machine code.
  std::unique_ptr<KernelImage> image(const std::string& program);

 private:
  explicit KernelRival(bpf_object* object) : object_(object) {}
  int program_fd(const std::string& name) const;
  bpf_object* object_;
};

}  // namespace xnic::bench

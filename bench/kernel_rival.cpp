// The kernel as a rival: its time by BPF_PROG_TEST_RUN, and its machine code called from here.
#include "bench/kernel_rival.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <cstring>

namespace xnic::bench {
namespace {

constexpr uint8_t kLeave = 0xc9;
constexpr uint8_t kJump = 0xe9;  // rel32
constexpr uint8_t kReturn = 0xc3;
constexpr uint8_t kTrap = 0xcc;

}  // namespace

// The kernel leaves a program by a jump to its return thunk, which does not exist here.
KernelImage::KernelImage(std::span<const uint8_t> code) : size_(code.size()) {
  memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) {
    memory_ = nullptr;
    return;
  }
  auto* bytes = static_cast<uint8_t*>(memory_);
  std::memcpy(bytes, code.data(), size_);
  for (size_t at = 0; at + 6 <= size_; ++at) {
    if (bytes[at] != kLeave || bytes[at + 1] != kJump) continue;
    int32_t distance;
    std::memcpy(&distance, bytes + at + 2, sizeof(distance));
    const int64_t target = static_cast<int64_t>(at) + 6 + distance;
    if (target >= 0 && target < static_cast<int64_t>(size_)) continue;
    bytes[at + 1] = kReturn;
    std::memset(bytes + at + 2, kTrap, 4);
  }
  mprotect(memory_, size_, PROT_READ | PROT_EXEC);
}

KernelImage::~KernelImage() {
  if (memory_ != nullptr) munmap(memory_, size_);
}

std::unique_ptr<KernelRival> KernelRival::load(const std::string& path) {
  libbpf_set_print(nullptr);
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) return nullptr;
  if (bpf_object__load(object) != 0) {
    bpf_object__close(object);
    return nullptr;
  }
  return std::unique_ptr<KernelRival>(new KernelRival(object));
}

KernelRival::~KernelRival() { bpf_object__close(object_); }

int KernelRival::program_fd(const std::string& name) const {
  bpf_program* program = bpf_object__find_program_by_name(object_, name.c_str());
  return program == nullptr ? -1 : bpf_program__fd(program);
}

bool KernelRival::fill(const std::string& map, std::span<const uint8_t> keys,
                       std::span<const uint8_t> values, uint32_t count) {
  const int fd = bpf_object__find_map_fd_by_name(object_, map.c_str());
  const size_t key_size = keys.size() / count;
  const size_t value_size = values.size() / count;
  for (uint32_t i = 0; i < count; ++i) {
    if (bpf_map_update_elem(fd, keys.data() + i * key_size, values.data() + i * value_size,
                            BPF_ANY) != 0) {
      return false;
    }
  }
  return true;
}

double KernelRival::run(const std::string& program, const Bytes& packet, uint32_t repeat) {
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.data();
  options.data_size_in = static_cast<uint32_t>(packet.size());
  options.repeat = static_cast<int>(repeat);
  if (bpf_prog_test_run_opts(program_fd(program), &options) != 0) return -1;
  return options.duration;
}

double KernelRival::run_live(const std::string& program, const Bytes& packet, uint32_t repeat) {
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.data();
  options.data_size_in = static_cast<uint32_t>(packet.size());
  options.repeat = static_cast<int>(repeat);
  options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  if (bpf_prog_test_run_opts(program_fd(program), &options) != 0) return -1;
  return options.duration;
}

std::unique_ptr<KernelImage> KernelRival::image(const std::string& program) {
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  const int fd = program_fd(program);
  if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) != 0 || info.jited_prog_len == 0) {
    return nullptr;
  }
  Bytes code(info.jited_prog_len);
  info = {};
  info.jited_prog_len = static_cast<uint32_t>(code.size());
  info.jited_prog_insns = std::bit_cast<uint64_t>(code.data());
  size = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0 || info.jited_prog_insns == 0) return nullptr;
  return std::make_unique<KernelImage>(code);
}

}  // namespace xnic::bench

#pragma once

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

// The real kernel, asked through raw bpf(2): the oracle of tests on programs.
namespace xnic::test {

class KernelProgram {
 public:
  // Loads as an XDP program; error() is 0 or -errno.
  explicit KernelProgram(std::span<const bpf_insn> code, const char* license = "GPL",
                         bpf_prog_type type = BPF_PROG_TYPE_XDP)
      : log_(1 << 16) {
    bpf_attr attr{};
    attr.prog_type = type;
    attr.insn_cnt = static_cast<uint32_t>(code.size());
    attr.insns = reinterpret_cast<uintptr_t>(code.data());
    attr.license = reinterpret_cast<uintptr_t>(license);
    attr.log_buf = reinterpret_cast<uintptr_t>(log_.data());
    attr.log_size = static_cast<uint32_t>(log_.size());
    attr.log_level = 1;
    const long result = ::syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
    if (result < 0) {
      error_ = -errno;
    } else {
      fd_ = static_cast<int>(result);
    }
  }
  ~KernelProgram() {
    if (fd_ >= 0) ::close(fd_);
  }
  KernelProgram(const KernelProgram&) = delete;
  KernelProgram& operator=(const KernelProgram&) = delete;

  int error() const { return error_; }
  const char* log() const { return log_.data(); }

  // The 32 low bits of r0 after one run on the packet; none if the run failed.
  std::optional<uint32_t> run(std::span<const uint8_t> packet) const {
    bpf_attr attr{};
    attr.test.prog_fd = static_cast<uint32_t>(fd_);
    attr.test.data_in = reinterpret_cast<uintptr_t>(packet.data());
    attr.test.data_size_in = static_cast<uint32_t>(packet.size());
    attr.test.repeat = 1;
    if (::syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) < 0) return std::nullopt;
    return attr.test.retval;
  }

  std::optional<bpf_prog_info> info() const {
    bpf_prog_info result{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(fd_);
    attr.info.info_len = sizeof(result);
    attr.info.info = reinterpret_cast<uintptr_t>(&result);
    if (::syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) < 0) return std::nullopt;
    return result;
  }

 private:
  int fd_ = -1;
  int error_ = 0;
  std::vector<char> log_;
};

// False where bpf(2) is not permitted; tests then skip.
inline bool kernel_permits_bpf() {
  const std::array<bpf_insn, 2> drop = {bpf_insn{BPF_ALU64 | BPF_MOV, 0, 0, 0, 1},
                                        bpf_insn{BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  return KernelProgram(drop).error() == 0;
}

}  // namespace xnic::test

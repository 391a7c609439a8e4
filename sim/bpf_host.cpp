// Left out: live frames of BPF_PROG_TEST_RUN. Test: tests/vm/test_run_test.cpp.
#include "sim/bpf_host.h"

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vm/syscall.h"

namespace xnic::sim {
namespace {

constexpr uint8_t kUntouched = 0xa5;
// A program may move the end of a frame by less than this.
constexpr size_t kGrowth = 0x1200;
constexpr size_t kComparedBehind = 16;

}  // namespace

Descriptor::~Descriptor() {
  if (answer_ >= 0) close(static_cast<int>(answer_));
}

Descriptor BpfHost::load(bpf_prog_type type, const std::vector<bpf_insn>& instructions,
                         uint32_t flags) {
  bpf_attr attr{};
  attr.prog_type = type;
  attr.insns = address_of(instructions.data());
  attr.insn_cnt = static_cast<uint32_t>(instructions.size());
  attr.license = address_of("GPL");
  attr.prog_flags = flags;
  return Descriptor(bpf(BPF_PROG_LOAD, attr));
}

Descriptor BpfHost::create_map(bpf_map_type type, uint32_t key_size, uint32_t value_size,
                               uint32_t max_entries, uint32_t flags) {
  bpf_attr attr{};
  attr.map_type = type;
  attr.key_size = key_size;
  attr.value_size = value_size;
  attr.max_entries = max_entries;
  attr.map_flags = flags;
  return Descriptor(bpf(BPF_MAP_CREATE, attr));
}

RunAnswer BpfHost::run(int program, const RunRequest& request) {
  RunAnswer answer;
  answer.data.assign(
      request.wants_data ? std::max<size_t>(request.data_room, request.data.size() + kGrowth) : 0,
      kUntouched);
  answer.context.assign(request.context_room, kUntouched);
  bpf_attr attr{};
  attr.test.prog_fd = static_cast<uint32_t>(program);
  attr.test.data_in = address_of(request.data.data());
  attr.test.data_size_in = static_cast<uint32_t>(request.data.size());
  attr.test.flags = request.flags;
  attr.test.repeat = request.repeat;
  if (request.wants_data) {
    attr.test.data_out = address_of(answer.data.data());
    attr.test.data_size_out = request.data_room;
  }
  if (!request.context.empty()) {
    attr.test.ctx_in = address_of(request.context.data());
    attr.test.ctx_size_in = static_cast<uint32_t>(request.context.size());
  }
  if (request.context_room != 0) {
    attr.test.ctx_out = address_of(answer.context.data());
    attr.test.ctx_size_out = request.context_room;
  }
  answer.error = bpf(BPF_PROG_TEST_RUN, attr);
  answer.code = attr.test.retval;
  answer.data_size = attr.test.data_size_out;
  answer.context_size = attr.test.ctx_size_out;
  const size_t given =
      std::max<size_t>(answer.data_size, answer.error == 0 ? 0 : request.data_room);
  answer.data.resize(std::min(answer.data.size(), given + kComparedBehind));
  return answer;
}

long RealKernel::bpf(uint32_t command, void* attributes, uint32_t size) {
  const long answer = syscall(__NR_bpf, command, attributes, size);
  return answer < 0 ? -errno : answer;
}

long EmulatedKernel::bpf(uint32_t command, void* attributes, uint32_t size) {
  return vm::bpf_syscall(kernel_, command, static_cast<bpf_attr*>(attributes), size);
}

std::string why_no_real_kernel() {
  RealKernel kernel;
  // r0 = XDP_PASS; exit
  const Descriptor program = kernel.load(
      BPF_PROG_TYPE_XDP,
      {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 2},
       {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}});
  if (program.error() == 0) return {};
  return fmt::format(
      "the kernel of this machine does not let this process load a program ({}), so there is "
      "nothing to compare with; it takes root, or CAP_BPF and CAP_NET_ADMIN",
      std::strerror(static_cast<int>(-program.error())));
}

uint32_t real_possible_cpus() {
  const int count = libbpf_num_possible_cpus();
  return count > 0 ? static_cast<uint32_t>(count) : 1;
}

}  // namespace xnic::sim

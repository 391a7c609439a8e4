#include "tests/support/bpf_host.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <ostream>

#include <fmt/format.h>

#include "vm/syscall.h"

namespace xnic::test {
namespace {

constexpr uint8_t kUntouched = 0xa5;

std::string byte_difference(std::string_view what, const Bytes& ours, const Bytes& theirs) {
  const size_t common = std::min(ours.size(), theirs.size());
  for (size_t i = 0; i < common; ++i) {
    if (ours[i] != theirs[i]) {
      return fmt::format("{} at byte {}: xnic {:#04x}, Linux {:#04x}", what, i, ours[i], theirs[i]);
    }
  }
  return fmt::format("{}: xnic gives {} bytes, Linux {}", what, ours.size(), theirs.size());
}

}  // namespace

Descriptor::~Descriptor() {
  if (answer_ >= 0) close(static_cast<int>(answer_));
}

Descriptor BpfHost::load(bpf_prog_type type, const Instructions& instructions, uint32_t flags) {
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
      request.wants_data ? std::max<size_t>(request.data_room, request.data.size() + 0x1200) : 0,
      kUntouched);
  answer.context.assign(request.context_room, kUntouched);
  bpf_attr attr{};
  attr.test.prog_fd = static_cast<uint32_t>(program);
  attr.test.data_in = address_of(request.data.data());
  attr.test.data_size_in = static_cast<uint32_t>(request.data.size());
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
  // Bytes past the answer must be untouched; they are compared too, up to a little behind it.
  const size_t shown =
      std::max<size_t>(answer.data_size, answer.error == 0 ? 0 : request.data_room);
  answer.data.resize(std::min(answer.data.size(), shown + 16));
  return answer;
}

std::string difference(const RunAnswer& ours, const RunAnswer& theirs) {
  if (ours.error != theirs.error) {
    return fmt::format("errno: xnic {}, Linux {}", ours.error, theirs.error);
  }
  if (ours.code != theirs.code) {
    return fmt::format("retval: xnic {}, Linux {}", static_cast<int32_t>(ours.code),
                       static_cast<int32_t>(theirs.code));
  }
  if (ours.data_size != theirs.data_size) {
    return fmt::format("data_size_out: xnic {}, Linux {}", ours.data_size, theirs.data_size);
  }
  if (ours.data != theirs.data) return byte_difference("data_out", ours.data, theirs.data);
  if (ours.context_size != theirs.context_size) {
    return fmt::format("ctx_size_out: xnic {}, Linux {}", ours.context_size, theirs.context_size);
  }
  if (ours.context != theirs.context) {
    return byte_difference("ctx_out", ours.context, theirs.context);
  }
  return {};
}

void PrintTo(const RunAnswer& answer, std::ostream* out) {
  *out << "errno " << answer.error << ", retval " << static_cast<int32_t>(answer.code) << ", "
       << answer.data_size << " bytes";
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
  const Descriptor program = kernel.load(BPF_PROG_TYPE_XDP, {move(r0, 2), leave()});
  if (program.error() == 0) return {};
  return fmt::format(
      "The kernel here does not let this process load a program ({}), so there is "
      "nothing to compare with.",
      std::strerror(static_cast<int>(-program.error())));
}

uint32_t real_possible_cpus() {
  std::string text;
  std::ifstream("/sys/devices/system/cpu/possible") >> text;
  const size_t at = text.find_last_of("-,");
  return static_cast<uint32_t>(std::stoul(at == text.npos ? text : text.substr(at + 1))) + 1;
}

}  // namespace xnic::test

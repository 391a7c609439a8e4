#include "bench/kernel_load.h"

#include <charconv>
#include <chrono>
#include <string_view>
#include <vector>

#include "sim/bpf_host.h"

namespace xnic::bench {
namespace {

uint64_t number_after(std::string_view log, std::string_view name) {
  const size_t found = log.find(name);
  uint64_t number = 0;
  if (found == std::string_view::npos) return number;
  const std::string_view text = log.substr(found + name.size());
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

tl::expected<KernelLoad, std::string> time_kernel_load(std::span<const bpf_insn> program) {
  if (std::string why = sim::why_no_real_kernel(); !why.empty()) return tl::unexpected(why);
  sim::RealKernel kernel;
  std::vector<char> log(1 << 16);
  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_XDP;
  attr.insns = sim::address_of(program.data());
  attr.insn_cnt = static_cast<uint32_t>(program.size());
  attr.license = sim::address_of("GPL");
  attr.log_buf = sim::address_of(log.data());
  attr.log_size = static_cast<uint32_t>(log.size());
  attr.log_level = 4;
  const auto start = std::chrono::steady_clock::now();
  const sim::Descriptor loaded(kernel.bpf(BPF_PROG_LOAD, attr));
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  const std::string_view words = log.data();
  if (loaded.error() != 0) return tl::unexpected(std::string(words.substr(0, words.find('\n'))));
  // The log counts microseconds.
  const double verify_ns = static_cast<double>(number_after(words, "verification time ")) * 1e3;
  return KernelLoad{number_after(words, "processed "), verify_ns, took.count() - verify_ns};
}

}  // namespace xnic::bench

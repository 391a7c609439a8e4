#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/bpf_host.h"
#include "tests/support/instructions.h"

namespace xnic::test {

// What BPF_PROG_LOAD says of an XDP program under the GPL.
struct Judgement {
  Descriptor program;
  std::string log;
  uint64_t instructions = 0;  // that the verifier processed

  long error() const { return program.error(); }
};

inline Judgement load_judged(BpfHost& host, const Instructions& code) {
  std::vector<char> text(1 << 20);
  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_XDP;
  attr.insns = address_of(code.data());
  attr.insn_cnt = static_cast<uint32_t>(code.size());
  attr.license = address_of("GPL");
  attr.log_buf = address_of(text.data());
  attr.log_size = static_cast<uint32_t>(text.size());
  attr.log_level = 1;
  Judgement judgement{.program = Descriptor(host.bpf(BPF_PROG_LOAD, attr)), .log = text.data()};
  static constexpr std::string_view kProcessed = "processed ";
  if (const size_t at = judgement.log.rfind(kProcessed); at != std::string::npos) {
    const char* digits = judgement.log.data() + at + kProcessed.size();
    std::from_chars(digits, judgement.log.data() + judgement.log.size(), judgement.instructions);
  }
  return judgement;
}

}  // namespace xnic::test

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/json.h"
#include "vm/rejection.h"
#include "vm/result.h"

namespace xnic::sim {

// What the kernel of this machine says of a program.
struct LinuxVerdict {
  bool judged = false;  // its verifier has seen the program
  bool accepted = false;
  vm::Category category = vm::Category::other;
  std::optional<uint32_t> instruction;  // that is refused
  std::string words;                    // the end of its log, or why it has not judged
  uint64_t instructions = 0;            // processed
  uint64_t microseconds = 0;            // that verification took
};

enum class Verdict : uint8_t { accepted, rejected, left_out };

struct ProgramVerdict {
  std::string name;     // the C function's
  std::string section;  // of the ELF file
  std::string type;     // as libbpf calls it
  Verdict verdict = Verdict::left_out;
  std::string why;  // a sentence, for what is left out
  std::optional<vm::Rejection> rejection;
  vm::VerifierStatistics statistics;
  std::string log;  // where it was asked for
  std::optional<LinuxVerdict> linux_says;

  // Whether both judged, and alike; nothing where one of them did not judge.
  std::optional<bool> agrees() const;
};

struct VerificationOptions {
  std::string program;  // this one alone; empty: all
  std::string btf;      // types of the kernel for CO-RE; empty: the emulated one's
  bool log = false;     // keep the state before each instruction
  bool against_linux = false;
};

// Has each program of an object judged by itself, so that one that is rejected does not hide those
// behind it. Errors: bad_input for what is no BPF object, usage for a program that is not there,
// not_available where the kernel of this machine is asked and does not answer this process.
Result<std::vector<ProgramVerdict>> verify_object(const std::string& path,
                                                  const VerificationOptions& options);

// The lines at the end of a log of Linux that say why a program is refused.
std::string reason_in_log(std::string_view log);

// The shape of each is in docs/verifier.md.
Json to_json(const vm::CodePlace& place);
Json to_json(const vm::Rejection& rejection);
Json to_json(const ProgramVerdict& program);

}  // namespace xnic::sim

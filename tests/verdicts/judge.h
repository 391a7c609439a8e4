#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vm/kernel.h"

// One program of an object, judged by one kernel.
namespace xnic::test {

struct Listed {
  std::string name;
  std::string type;                // as libbpf calls it
  std::optional<int32_t> returns;  // what the source says that a run gives (__retval)
};

// The programs of an object, in libbpf's order.
std::vector<Listed> programs_of(const std::string& path);

struct Answer {
  bool judged = false;  // the verifier has seen it
  bool accepted = false;
  std::string reason;  // the last line of the log
  uint64_t instructions = 0;
  uint64_t states = 0;
  std::optional<uint32_t> returns;  // of a run, where one was asked for
};

struct Question {
  std::string path;
  size_t index = 0;  // of the program, which is loaded alone, with the object's maps
  bool run = false;  // on 64 zero bytes
  std::string log;   // where the log at level 2 is kept; empty for nowhere
};

// Asks `kernel`, or the kernel of this machine if that is null.
Answer judge(const Question& question, vm::Kernel* kernel);

// Once, before the first judge(): has libbpf's words kept for the reasons.
void keep_libbpf_words();

}  // namespace xnic::test

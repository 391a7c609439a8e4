#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vm/result.h"

namespace xnic::sim {

// The command line, as typed.
struct LineArguments {
  std::string object;
  std::vector<std::string> ports;
  std::vector<std::string> attach;
  std::string btf;
  std::string program;
  std::vector<std::string> maps;
  std::vector<std::string> networks;
  std::string lcores;
  std::string duration;
  uint64_t packets = 0;  // 0: no limit
  uint32_t burst = 32;
  uint32_t mtu = 0;
  bool strip_vlan = false;
  uint64_t seed = 0;
  std::string engine = "jit";
  std::string dump_maps;
  bool json = false;
  bool stats_json = false;
  std::string control;
  std::string listen;

  std::string generate;
  std::string tx;
  std::string rx;
  std::string rate;
  std::string search;
  std::string loss;
  bool check = false;

  std::vector<std::string> eal;  // behind --

  bool runs_programs() const { return !object.empty() || !attach.empty(); }
};

// Reads the words of `xnic line`, the first of which names the command. False where they asked for
// help, which is then printed. Errors: usage, also for options that do not go together.
Result<bool> parse_line_arguments(int argc, char** argv, LineArguments& arguments);

// CPUs of this process, "1", "0,2", "2-5"; the last for an empty list. Error: usage.
Result<std::vector<int>> parse_cpus(const std::string& list);
// One that is not among these; -1 where there is none.
int another_cpu(const std::vector<int>& cpus);

}  // namespace xnic::sim

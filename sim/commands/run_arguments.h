#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vm/result.h"

namespace xnic::sim {

// The command line, as typed.
struct RunArguments {
  std::vector<std::string> words;  // OBJECT, then the tcpdump filter
  std::vector<std::string> attach;
  std::string btf;
  std::string program;
  std::vector<std::string> captures;
  std::string nic = "generic-100g";
  std::vector<std::string> changes;  // to its values
  std::vector<std::string> maps;
  std::vector<std::string> networks;
  std::vector<std::string> writes;
  std::vector<std::string> sockets;
  std::string rate;
  std::string max_gap = "1s";
  uint64_t loops = 1;
  uint64_t seed = 0;
  uint32_t mtu = 0;
  uint32_t threads = 1;
  std::string accuracy = "fast";
  std::string engine = "jit";
  std::string bpffs;
  std::string output;
  std::string trace;
  std::string wave;  // START:END=FILE
  std::string dump_maps;
  bool untimed = false;
  bool strict = false;
  bool json = false;
  std::vector<std::string> events;  // "true" for a bare --events, or MAP=TYPE
};

// Reads the words of `xnic run`, the first of which names the command. False where they asked for
// help, which is then printed. Errors: usage.
Result<bool> parse_run_arguments(int argc, char** argv, RunArguments& arguments);

}  // namespace xnic::sim

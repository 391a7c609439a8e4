#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/traces/support.h"

// A small vocabulary for tests that run the executable as a user does.
namespace xnic::command {

using Words = std::vector<std::string>;
using nlohmann::json;

// What a run of the executable left.
struct Ran {
  int code = -1;  // exit code; -1 for a signal
  std::string out;
  std::string err;
};

struct Streams {
  std::string in = "/dev/null";  // file that is standard input
  std::string out = {};          // file that is standard output; empty: kept in Ran::out
  bool close_out = false;        // start without standard output
};

// Runs `xnic WORDS...` and waits for it. Fails the test where it cannot be started.
Ran xnic(const Words& words, const Streams& streams = {});

// Paths of what the build and the tree hold.
std::string example(const std::string& name);      // an object of examples/
std::string test_object(const std::string& name);  // an object of tests/bpf/
std::string data_object(const std::string& name);  // an object of tests/sim/data/
std::string example_map(const std::string& name);  // a file of examples/maps/
std::string capture(const std::string& name);      // a file of traces/data/
std::vector<std::string> xdp_filter_objects();     // of Debian's xdp-tools, where installed

// The words that run the example firewall and marker with their maps filled, on a capture.
Words firewall_and_mark(const std::string& capture_path);

Words operator+(Words words, const Words& more);
std::vector<std::string> lines(const std::string& text);
std::string text_of(const std::string& path);
json json_of(const std::string& path);
// How many frames of the capture pass a tshark display filter.
size_t tshark_count(const std::string& path, const std::string& filter);
bool is_file(const std::string& path);

}  // namespace xnic::command

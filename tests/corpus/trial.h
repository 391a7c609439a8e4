#pragma once

#include <linux/bpf.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/bpf_host.h"

namespace xnic::test {

// A program of an object file, and the type it is tried as.
struct Candidate {
  std::string name;
  std::string section;
  bpf_prog_type type;
};

// The XDP and tc programs of an object file, in its order. With `guess`, a section whose name says
// no type counts as tc: the loaders of the kernel's samples give the type themselves. On failure
// `error` is a sentence.
std::vector<Candidate> candidates(const std::string& path, bool guess, std::string& error);

// Loads one program of an object into the real kernel and into the emulated one, with no other
// program than those that a prog_array is initialised with; if both take it, runs the packets
// through both. `tell` gets the findings before each step, since a step may crash, and at the end:
//   name, section, type
//   step: "load in Linux", "load", "run", "run with witnesses" or "done"
//   linux, xnic: "" if it loads, else why not
//   needs: what does not exist here, each by its kind ("map type X", "helper X", "kfunc X", ...)
//   compared: packets; differing: fields of packets and of maps; difference: the first, in words
//   excused: fields that differ as Linux leaves open; excuse: the first, and why
void try_program(const std::string& path, const Candidate& candidate,
                 std::span<const Candidate> all, std::span<const Bytes> packets,
                 const std::function<void(const nlohmann::json&)>& tell);

}  // namespace xnic::test

#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/json.h"
#include "vm/program.h"
#include "vm/result.h"

namespace xnic::sim {

struct ListedProgram {
  std::string name;                  // the C function's
  std::string section;               // of the ELF file
  std::string type;                  // as libbpf calls it: "xdp", "sched_cls"
  std::string hook;                  // where xnic run attaches it; empty: only by --attach
  std::string tag;                   // hexadecimal; empty where the object was not loaded
  std::vector<std::string> helpers;  // names, each once, in the order of their calls
  std::vector<std::string> maps;     // names, each once
  std::vector<bpf_insn> instructions;
  std::shared_ptr<const vm::Program> loaded;  // null where the object was not loaded
};

struct ListedMap {
  std::string name;
  std::string type;
  uint32_t key_size;    // bytes
  uint32_t value_size;  // bytes
  uint32_t max_entries;
  uint32_t flags;        // BPF_F_*
  std::string key_type;  // from BTF: "__u32"; empty where it says nothing
  std::string value_type;
};

// What a BPF object holds. An object that does not load here is listed as far as libbpf can open
// and relocate it, and `refusal` says why it does not load.
struct ObjectListing {
  std::string path;
  bool btf = false;
  std::string refusal;
  std::vector<std::string> notes;
  std::vector<ListedProgram> programs;
  std::vector<ListedMap> maps;
  std::shared_ptr<void> kernel;  // keeps what `loaded` refers to
};

// Errors (bad_input): what libbpf cannot open.
Result<ObjectListing> list_object(const std::string& path);

// Leaves only the program of this name; all where it is empty. Error (usage): there is none.
Result<ObjectListing> only_program(ObjectListing listing, const std::string& name);

Json to_json(const ObjectListing& listing);
std::string to_table(const ObjectListing& listing);

// The name of a helper of Linux, "bpf_map_lookup_elem"; "helper 999" for an unknown one.
std::string helper_name(int32_t id);

}  // namespace xnic::sim

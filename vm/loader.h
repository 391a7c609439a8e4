#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vm/kernel.h"
#include "vm/result.h"

struct bpf_object;

namespace xnic::vm {

struct LoadedProgram {
  std::string name;     // the C function's, whole
  std::string section;  // of the ELF file: "xdp", "tc/ingress"
  std::shared_ptr<const Program> program;
};

struct LoadedMap {
  std::string name;  // the C variable's; ".rodata" and its like for global data
  std::shared_ptr<Map> map;
};

// A BPF object file, loaded into an emulated kernel by libbpf: ELF, relocations, BTF maps, global
// data and subprograms are libbpf's, the bpf(2) calls land in the Kernel. All programs whose
// section says their type are loaded. Pin paths are cleared, and noted, since there is no bpffs:
// nothing is written to the host's.
// Errors: bad_input for what is no BPF object or has no program, program_rejected with the
// verifier's words.
class Object {
 public:
  static Result<std::unique_ptr<Object>> load(Kernel& kernel, const std::string& path);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const std::string& path() const { return path_; }
  const std::string& sha256() const { return sha256_; }  // of the file, hexadecimal
  std::span<const LoadedProgram> programs() const { return programs_; }
  std::span<const LoadedMap> maps() const { return maps_; }
  // Sentences that the user should see: cleared pin paths, skipped programs.
  std::span<const std::string> notes() const { return notes_; }

 private:
  Object(Kernel& kernel, std::string path) : kernel_(kernel), path_(std::move(path)) {}
  Result<void> open(std::vector<uint8_t> file);
  Result<void> prepare();
  Result<void> load_into_kernel();

  Kernel& kernel_;
  std::string path_;
  std::string sha256_;
  std::vector<uint8_t> file_;
  bpf_object* object_ = nullptr;
  std::vector<LoadedProgram> programs_;
  std::vector<LoadedMap> maps_;
  std::vector<std::string> notes_;
};

}  // namespace xnic::vm

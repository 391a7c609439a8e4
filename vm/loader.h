#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vm/kernel.h"
#include "vm/object_file.h"
#include "vm/result.h"

struct bpf_map;
struct bpf_program;

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

struct ObjectOptions {
  std::string btf_path;  // types of the kernel for CO-RE, raw BTF or ELF; empty: the emulated one's
  // Programs to load although their section's name begins with '?'.
  std::vector<std::string> programs;
  // Index of the device that XDP programs are bound to if they ask it for metadata; 0: none are,
  // and such programs are rejected.
  uint32_t device = 0;
  // Maps of the kernel that those of the object are to be which have their names, entries and all;
  // prog_arrays, whose entries are the object's programs, and global data are new ones. Error where
  // the shapes differ: bad_input.
  std::vector<LoadedMap> keeps{};
  // Somebody has asked libbpf_survives() already. Otherwise load() does, which must not be while
  // other threads run programs.
  bool tried = false;
};

// Why a program that libbpf has opened cannot be loaded here, as a clause: "its section ...". Empty
// if it can.
std::string why_not_loadable(const bpf_program* program);

// A BPF object file, loaded into an emulated kernel by libbpf: ELF, relocations, BTF maps, global
// data and subprograms are libbpf's, the bpf(2) calls land in the Kernel; what it does not know is
// answered before (vm/object_file.h). All programs whose section says a type that is run here are
// loaded; those with a '?' in front if they are asked for, or all there is. Maps that ask to be
// pinned are, in the Kernel's own bpffs, or take the map that is pinned there already; nothing is
// written to the host's. Errors: bad_input for what is no BPF object or has no program,
// program_rejected with the verifier's words.
class Object {
 public:
  static Result<std::unique_ptr<Object>> load(Kernel& kernel, const std::string& path,
                                              const ObjectOptions& options = {});
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const std::string& path() const { return path_; }
  const std::string& sha256() const { return sha256_; }  // of the file, hexadecimal
  std::span<const LoadedProgram> programs() const { return programs_; }
  std::span<const LoadedMap> maps() const { return maps_; }
  // Sentences that the user should see: skipped programs.
  std::span<const std::string> notes() const { return notes_; }

 private:
  Object(Kernel& kernel, std::string path, ObjectOptions options)
      : kernel_(kernel), path_(std::move(path)), options_(std::move(options)) {}
  Result<void> open(std::span<const uint8_t> file);
  void set_pin_paths();
  Result<void> prepare();
  Result<void> keep(bpf_map* map);
  Result<void> choose_programs();
  void bind_to_device(std::span<const uint8_t> file);
  bool usable(bpf_program* program);
  Result<void> load_into_kernel();

  Kernel& kernel_;
  std::string path_;
  ObjectOptions options_;
  std::string sha256_;
  std::optional<ObjectFile> file_;
  std::vector<LoadedProgram> programs_;
  std::vector<LoadedMap> maps_;
  std::vector<std::string> notes_;
};

}  // namespace xnic::vm

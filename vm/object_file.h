#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vm/elf_legacy_maps.h"
#include "vm/result.h"

struct bpf_object;

namespace xnic::vm {

struct ObjectFileOptions {
  std::string btf_path = {};       // types for CO-RE, raw BTF or ELF; empty: the kernel's own
  std::string_view configuration;  // of the kernel, as /boot/config; empty: libbpf looks for it
};

// A BPF object file that libbpf has opened and not loaded yet. Definitions that libbpf no longer
// reads are translated before (vm/elf_legacy_maps.h), and programs whose section names it does not
// know have the type that vm/section.h says. Loading is the caller's: what libbpf asks of a kernel
// goes to the one in scope (vm/syscall.h), this machine's if there is none.
class ObjectFile {
 public:
  // Errors, bad_input, are whole sentences: what is no regular file or too large.
  static Result<std::vector<uint8_t>> read(const std::string& path);
  // `path` names the object in sentences. Errors, bad_input: what is no BPF object.
  static Result<ObjectFile> open(const std::string& path, std::span<const uint8_t> bytes,
                                 const ObjectFileOptions& options = {});

  bpf_object* object() const { return object_.get(); }
  std::span<const LegacyMap> legacy_maps() const { return legacy_maps_; }
  // After the load: puts maps into the slots of maps of maps that their legacy definitions name.
  Result<void> fill_map_in_maps() const;

 private:
  struct Close {
    void operator()(bpf_object* object) const;
  };
  std::string path_;
  std::vector<uint8_t> file_;  // libbpf reads from it until the object is loaded
  std::unique_ptr<bpf_object, Close> object_;
  std::vector<LegacyMap> legacy_maps_;
};

// Global data is named by its section, as people know it: libbpf puts the object's name in front.
std::string shown_map_name(std::string_view name, bool is_internal);

// libbpf believes the ELF and BTF that it reads, and damaged ones crash it. So a child process
// makes the attempt first; an error (bad_input) that names the file if it did not come through.
Result<void> libbpf_survives(const std::string& path, const std::function<void()>& attempt);

}  // namespace xnic::vm

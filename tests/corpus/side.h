#pragma once

#include <linux/bpf.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/bpf_host.h"
#include "vm/kernel.h"
#include "vm/program.h"

struct bpf_object;

// One side of the comparison: an object file, loaded by libbpf into one kernel.
namespace xnic::test {

struct SideMap {
  std::string name;
  bpf_map_type type;
  uint32_t key_size;
  uint32_t value_size;  // bytes, as user space sees one value
  uint32_t max_entries;
  bool per_cpu;
  int fd;
};

struct SideProgram {
  std::string name;
  bpf_prog_type type;
  int fd;
};

// All entries of a map by key. Of per-CPU maps the whole value, of a prog_array only the keys,
// since the values are each kernel's own ids.
using MapContents = std::map<Bytes, Bytes>;

class Side {
 public:
  // The engine that runs programs in the emulated kernel; null for the real one.
  explicit Side(vm::Engine* engine);
  ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  // Loads without pinning anything. Empty if it went well, a sentence if not. Between opening and
  // loading, `prepare` may choose among the object's programs.
  std::string load(const std::string& path,
                   const std::function<void(bpf_object*)>& prepare = nullptr);

  const std::vector<SideProgram>& programs() const { return programs_; }
  const std::vector<SideMap>& maps() const { return maps_; }
  const SideMap* map(const std::string& name) const;
  const SideProgram* program(const std::string& name) const;

  // 0 or -errno.
  long update(const SideMap& map, const Bytes& key, const Bytes& value);
  MapContents contents(const SideMap& map);
  RunAnswer run(const SideProgram& program, const RunRequest& request) {
    return host_->run(program.fd, request);
  }

 private:
  std::optional<vm::Kernel> kernel_;
  std::unique_ptr<BpfHost> host_;
  bpf_object* object_ = nullptr;
  std::vector<SideProgram> programs_;
  std::vector<SideMap> maps_;
};

}  // namespace xnic::test

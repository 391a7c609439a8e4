#pragma once

#include <linux/bpf.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "vm/btf.h"
#include "vm/invocation.h"
#include "vm/object_fd.h"
#include "vm/perf_event.h"
#include "vm/program.h"
#include "vm/verifier.h"

namespace xnic::vm {

// The objects of one kind, by id and by any descriptor of their memfd. Ids start at 1 and are
// never used again.
template <class T>
class ObjectTable {
 public:
  // Gives a descriptor for user space, or -errno.
  int add(std::shared_ptr<T> object, ObjectFd fd) {
    const int user_fd = fd.duplicate();
    if (user_fd < 0) return user_fd;
    const uint32_t id = next_id_++;
    object->id = id;
    ids_[fd.file()] = id;
    objects_.emplace(id, Entry{std::move(object), std::move(fd)});
    return user_fd;
  }

  std::shared_ptr<T> by_fd(int fd) const {
    const auto id = ids_.find(file_id(fd));
    return id == ids_.end() ? nullptr : by_id(id->second);
  }

  std::shared_ptr<T> by_id(uint32_t id) const {
    const auto entry = objects_.find(id);
    return entry == objects_.end() ? nullptr : entry->second.object;
  }

  // A new descriptor of the object, -ENOENT for an unknown id.
  int open(uint32_t id) const {
    const auto entry = objects_.find(id);
    return entry == objects_.end() ? -ENOENT : entry->second.fd.duplicate();
  }

  // Calls `visit` with each object, by id.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [id, entry] : objects_) visit(*entry.object);
  }

  // The smallest id above `id`, 0 if there is none.
  uint32_t next_id(uint32_t id) const {
    const auto entry = objects_.upper_bound(id);
    return entry == objects_.end() ? 0 : entry->first;
  }

 private:
  struct Entry {
    std::shared_ptr<T> object;
    ObjectFd fd;
  };
  uint32_t next_id_ = 1;
  std::map<uint32_t, Entry> objects_;
  std::map<FileId, uint32_t> ids_;
};

struct KernelOptions {
  uint32_t possible_cpus = 1;
  uint64_t seed = 0;  // of bpf_get_prandom_u32 and of hash functions
};

// The emulated kernel: its BPF objects and the machine that BPF_PROG_TEST_RUN runs on. bpf(2) over
// it is vm/syscall.h. Objects live as long as the Kernel.
class Kernel : public MapResolver, public ObjectResolver {
 public:
  // The engine must outlive the Kernel; it compiles every program that is loaded.
  explicit Kernel(Engine& engine, KernelOptions options = {})
      : engine_(engine), options_(options), environment_{.prng = Prng(options.seed)} {}
  // Empties maps of programs: programs that tail-call each other own each other through them.
  ~Kernel() override;

  std::shared_ptr<Map> map_by_fd(int fd) override { return maps.by_fd(fd); }
  std::shared_ptr<const Program> program_by_fd(int fd) override { return programs.by_fd(fd); }
  std::shared_ptr<PerfEvent> perf_event_by_fd(int fd) override { return perf_events.by_fd(fd); }

  Engine& engine() { return engine_; }
  const KernelOptions& options() const { return options_; }
  // CPU 0, where BPF_PROG_TEST_RUN runs.
  Environment& environment() { return environment_; }

  ObjectTable<Map> maps;
  ObjectTable<Program> programs;
  ObjectTable<Btf> btfs;
  ObjectTable<PerfEvent> perf_events;

 private:
  Engine& engine_;
  KernelOptions options_;
  Environment environment_;
};

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vm/bpffs.h"
#include "vm/btf.h"
#include "vm/invocation.h"
#include "vm/net_device.h"
#include "vm/object_fd.h"
#include "vm/perf_event.h"
#include "vm/program.h"
#include "vm/timers.h"
#include "vm/verifier.h"

namespace xnic::vm {

// The objects of one kind, by id and by any descriptor of their memfd. Ids start at 1 and are
// never used again.
template <class T>
class ObjectTable {
 public:
  // Gives a descriptor for user space, with this access, or -errno.
  int add(std::shared_ptr<T> object, ObjectFd fd, int access = O_RDWR) {
    const int user_fd = fd.duplicate(access);
    if (user_fd < 0) return user_fd;
    add_quietly(std::move(object), std::move(fd));
    return user_fd;
  }
  // Without a descriptor: something else must hold the object.
  void add_quietly(std::shared_ptr<T> object, ObjectFd fd) {
    const uint32_t id = next_id_++;
    object->id = id;
    ids_[fd.file()] = id;
    const size_t own_mappings = fd.mappings();
    objects_.emplace(id, Entry{std::move(object), std::move(fd), own_mappings});
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
  int open(uint32_t id, int access = O_RDWR) const {
    const auto entry = objects_.find(id);
    return entry == objects_.end() ? -ENOENT : entry->second.fd.duplicate(access);
  }

  // Whether user space holds the object by a descriptor or a mapping.
  bool is_held(uint32_t id, const OpenFiles& open_files) const {
    const auto entry = objects_.find(id);
    return entry != objects_.end() &&
           open_files.holds(entry->second.fd, entry->second.own_mappings);
  }

  // Whether user space has the object's memory mapped with the right to write.
  bool is_mapped_for_writing(uint32_t id) const {
    const auto entry = objects_.find(id);
    return entry != objects_.end() &&
           OpenFiles().writable_mappings(entry->second.fd.file()) > entry->second.own_mappings;
  }

  // Drops the objects that nobody refers to: no descriptor or mapping of user space, and no owner
  // beside this table. `leaving` sees each before it goes. Gives how many went.
  template <class Leaving>
  size_t drop_unused(const OpenFiles& open_files, Leaving leaving) {
    size_t dropped = 0;
    for (auto entry = objects_.begin(); entry != objects_.end();) {
      const Entry& e = entry->second;
      if (e.object.use_count() > 1 || open_files.holds(e.fd, e.own_mappings)) {
        ++entry;
        continue;
      }
      leaving(*e.object);
      ids_.erase(e.fd.file());
      entry = objects_.erase(entry);
      dropped++;
    }
    return dropped;
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
    size_t own_mappings = 0;  // of the memfd, by the object itself
  };
  uint32_t next_id_ = 1;
  std::map<uint32_t, Entry> objects_;
  std::map<FileId, uint32_t> ids_;
};

struct SavedMap;

struct KernelOptions {
  uint32_t possible_cpus = 1;
  uint64_t seed = 0;  // of bpf_get_prandom_u32 and of hash functions
  Network network = Network::with_nic0();
  // What programs are told of the kernel's types (CO-RE, __ksym, BTF ids); null: those of
  // vm/kernel_types.bpf.c, with which programs can be run.
  std::shared_ptr<const Btf> types{};
  // Whether BPF_PROG_LOAD follows values (VerifierOptions::values), as Linux does. Without,
  // programs that would do harm are loaded too: for tests of what the interpreter checks while it
  // runs them.
  bool verify_values = true;
  // Asked of every program that is loaded, for Program::costs(). May be empty.
  CostModel cost_model = {};
};

// Frames that BPF_PROG_TEST_RUN sent through XDP programs for good (BPF_F_TEST_XDP_LIVE_FRAMES):
// they go nowhere, and are counted by their verdict.
struct LiveFrames {
  uint64_t frames = 0;
  std::map<std::string_view, uint64_t> verdicts;
};

// The emulated kernel: its BPF objects and the machine that BPF_PROG_TEST_RUN runs on. bpf(2) over
// it is vm/syscall.h. An object dies when nothing refers to it any more: no descriptor or mapping
// in this process, no pin, link, program or map slot, and no shared_ptr outside. Nobody tells of a
// close(), so that is found out in collect().
class Kernel : public MapResolver, public ObjectResolver {
 public:
  // The engine must outlive the Kernel; it compiles every program that is loaded.
  explicit Kernel(Engine& engine, KernelOptions options = {})
      : engine_(engine), options_(std::move(options)), environment_{.prng = Prng(options_.seed)} {
    environment_.network = &options_.network;
    environment_.timers = &timers_;
    for (const Interface& interface : options_.network.interfaces) {
      devices_.push_back(
          {.ifindex = interface.ifindex, .native_xdp = interface.ifindex != kLoopbackIfindex});
    }
  }
  // Drops the objects that nothing refers to, and empties a prog_array that user space does not
  // hold any more. Called whenever ids are listed or looked up.
  void collect();
  // Takes the link's program off its device; the link stays, without one.
  void detach(Link& link);
  // Null for an index that no device has.
  NetDevice* device(uint32_t ifindex);
  // From now on runs are timed and counted for program info, for as long as the descriptor that is
  // given is open (BPF_ENABLE_STATS).
  int enable_stats();
  bool stats_enabled();
  // Keeps pins in a directory, so that a later Kernel sees them: `xnic run --bpffs`.
  Result<void> keep_pins_in(const std::string& directory);

  // Empties every prog_array: programs that tail-call each other own each other through its slots.
  ~Kernel() override;

  std::shared_ptr<Map> map_by_fd(int fd) override { return maps.by_fd(fd); }
  std::shared_ptr<const Program> program_by_fd(int fd) override { return programs.by_fd(fd); }
  bool has_interface(uint32_t ifindex) override { return device(ifindex) != nullptr; }
  std::shared_ptr<PerfEvent> perf_event_by_fd(int fd) override { return perf_events.by_fd(fd); }

  Engine& engine() { return engine_; }
  const KernelOptions& options() const { return options_; }
  const Network& network() const { return options_.network; }
  Timers& timers() { return timers_; }
  // CPU 0, where BPF_PROG_TEST_RUN runs.
  Environment& environment() { return environment_; }

  ObjectTable<Map> maps;
  ObjectTable<Program> programs;
  ObjectTable<Btf> btfs;
  ObjectTable<PerfEvent> perf_events;
  ObjectTable<Link> links;
  Bpffs bpffs;
  LiveFrames live_frames;
  // What the verifier said of each program that was asked for, the last time, by the name that
  // bpf(2) keeps. libbpf loads programs of its own in between, to see what the kernel can do.
  std::map<std::string, Judgement, std::less<>> judgements;
  // By a name that may be longer; null for a program that was never asked for.
  const Judgement* judgement_of(std::string_view program) const {
    const auto found = judgements.find(program.substr(0, BPF_OBJ_NAME_LEN - 1));
    return found == judgements.end() ? nullptr : &found->second;
  }

 private:
  Result<std::shared_ptr<Map>> restore_map(const std::string& file);
  // Makes the map of a pin file live again, or says why it cannot.
  tl::expected<std::shared_ptr<Map>, std::string> make_map(const SavedMap& saved);
  std::string fill_map(Map& map, const SavedMap& saved);
  // A map without a descriptor.
  tl::expected<std::shared_ptr<Map>, int> create_map(const MapSpec& spec, std::shared_ptr<Btf> btf);

  Engine& engine_;
  KernelOptions options_;
  Environment environment_;
  Timers timers_;
  std::vector<NetDevice> devices_;  // of the network's interfaces
  std::vector<FileId> stats_;       // what BPF_ENABLE_STATS gave out
};

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vm/maps/value_fields.h"
#include "vm/result.h"

namespace xnic::vm {

class Btf;
class Map;
class PerfEvent;
class Program;

inline constexpr int kErrorNotSupported = 524;  // the kernel's ENOTSUPP; errno.h has none

// What BPF_MAP_CREATE asks for (union bpf_attr), already copied out of user memory.
struct MapSpec {
  bpf_map_type type = BPF_MAP_TYPE_UNSPEC;
  uint32_t key_size = 0;    // bytes
  uint32_t value_size = 0;  // bytes
  uint32_t max_entries = 0;
  uint32_t flags = 0;  // BPF_F_*
  std::string name;
  uint64_t map_extra = 0;
  uint32_t btf_key_type_id = 0;
  uint32_t btf_value_type_id = 0;
  int inner_map_fd = 0;  // array_of_maps, hash_of_maps: a map that all inner ones are like
  ValueFields fields{};  // in values, found by BTF; see check_map_btf()
};

// Where a redirect through one entry of a devmap, devmap_hash, cpumap or xskmap leads.
struct RedirectEntry {
  uint32_t ifindex = 0;     // devmap, devmap_hash
  uint32_t queue_size = 0;  // cpumap: packets; the CPU is the key
  uint64_t socket = 0;      // xskmap: inode of the AF_XDP socket
  // Runs on the packet at its destination (devmap, cpumap); may be null.
  std::shared_ptr<const Program> program{};
};

// How generated code finds the values of a map without a virtual call, giving what Map::lookup()
// gives. It is fixed for the life of the map.
struct DirectLookup {
  enum class Kind : uint8_t {
    none,      // call Map::lookup()
    values,    // key is a u32 below `entries`: values + cpu * cpu_stride + key * stride; else null
    function,  // function(table, key, cpu)
  };
  Kind kind = Kind::none;
  uint32_t entries = 0;
  uint8_t* values = nullptr;
  uint64_t stride = 0;      // bytes
  uint64_t cpu_stride = 0;  // bytes; 0 where all CPUs share the values
  uint8_t* (*function)(void* table, const uint8_t* key, uint32_t cpu) = nullptr;
  void* table = nullptr;
  // Starts fetching what function() will touch first, and gives a handle of which the low 6 bits
  // are zero, all 64 if that is all there is to fetch. With the handle, once the first part is
  // there, prefetch_entry() starts fetching what that leads to. Null if there is nothing to gain.
  uint64_t (*prefetch)(void* table, const uint8_t* key) = nullptr;
  void (*prefetch_entry)(void* table, uint64_t handle) = nullptr;
};

// A BPF map: the kernel's meaning of keys, values, flags and errors. Two faces:
//  - the program's: pointers to live values, on the CPU where the program runs;
//  - user space's, as bpf(2) presents it: values are copied, and per-CPU maps show the values of
//    all possible CPUs one after another, each rounded up to 8 bytes.
// Errors are -errno, as bpf(2) and the helpers answer them. A value pointer stays readable until
// the map dies, whatever is deleted meanwhile.
class Map {
 public:
  explicit Map(MapSpec spec, uint32_t possible_cpus)
      : spec_(std::move(spec)), possible_cpus_(possible_cpus) {}
  virtual ~Map() = default;
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;

  const MapSpec& spec() const { return spec_; }
  uint32_t possible_cpus() const { return possible_cpus_; }
  // Bytes of one value as user space sees it: value_size, or round_up(value_size, 8) * CPUs.
  virtual uint32_t user_value_size() const { return spec_.value_size; }

  // The program's face. `key` points at key_size bytes, `value` at value_size bytes.
  virtual uint8_t* lookup(const uint8_t* key, uint32_t cpu) = 0;
  virtual int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) = 0;
  virtual int erase(const uint8_t* key) = 0;
  virtual DirectLookup direct_lookup() { return {}; }

  // Queues, stacks and bloom filters have no keys; for a program they have these instead of
  // lookup and update. A bloom filter's peek reads `value`, the others write it; -ENOENT where a
  // queue is empty or a value was never pushed, and then a queue zeroes `value`.
  virtual int push(const uint8_t*, uint64_t) { return -EINVAL; }
  virtual int pop(uint8_t*) { return -EINVAL; }
  virtual int peek(uint8_t*) { return -EINVAL; }

  // User space's face. `value` points at user_value_size() bytes, `key` is null where key_size is
  // 0: a lookup then peeks (of a bloom filter, `value` is what to look for) and an update pushes.
  virtual int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) = 0;
  virtual int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) = 0;
  virtual int user_erase(const uint8_t* key) { return erase(key); }
  // Of hash maps, and the pop of queues and stacks; other types have none.
  virtual int user_lookup_and_delete(const uint8_t*, uint8_t*, uint64_t) {
    return -kErrorNotSupported;
  }
  // The key after `key` in the map's own order; the first where key is null or not in the map
  // (where Linux does so). -ENOENT after the last.
  virtual int next_key(const uint8_t* key, uint8_t* next) = 0;
  // Copies the key of a value that lookup() gave. False for types whose values can't hold a timer.
  virtual bool key_of(const uint8_t*, uint8_t*) const { return false; }

  // Memory that a program may address directly through BPF_PSEUDO_MAP_VALUE. Empty if the type
  // has none; only single-entry arrays do.
  virtual std::span<uint8_t> direct_value() { return {}; }

  // What a map without keys holds, in the form that restore_contents() of a map of the same spec
  // takes: values of a queue or stack, the oldest first; bits of a bloom filter; unread records of
  // a ring buffer. Nothing for every other type.
  virtual std::vector<std::vector<uint8_t>> contents() { return {}; }
  // 0, or -errno for what no such map gave.
  virtual int restore_contents(std::span<const std::vector<uint8_t>>) { return -EINVAL; }

  // What mmap of a descriptor answers once access is settled: 0 or -errno. Lengths in bytes.
  virtual int check_mmap(uint64_t /*length*/, int /*protection*/, uint64_t /*offset*/) const {
    return -kErrorNotSupported;
  }

  // The program in a slot of a prog_array, for bpf_tail_call; null in an empty slot and for every
  // other type.
  virtual std::shared_ptr<const Program> program_at(uint32_t) const { return nullptr; }

  // What a devmap, devmap_hash, cpumap or xskmap has at `key`; nothing in an empty entry and for
  // every other type.
  virtual std::optional<RedirectEntry> redirect_entry(uint32_t) { return std::nullopt; }

  // Whether this program may use the map, asked when it is loaded (-EINVAL if not). Maps that hold
  // programs let the first one decide which others they take.
  virtual bool accepts(const Program&) { return true; }
  // Lets go of all programs that entries hold: they may own this map in turn.
  virtual void release_programs() {}
  // Of array_of_maps and hash_of_maps: the map at a key, null if there is none, and what all inner
  // maps are like. lookup() gives the inner map's address, which a program may use for as long as
  // the engine holds on to what inner_map() gave. Null for every other type.
  virtual std::shared_ptr<Map> inner_map(const uint8_t*) const { return nullptr; }
  virtual const MapSpec* inner_spec() const { return nullptr; }

  uint32_t id = 0;                 // given by the Kernel
  bool frozen = false;             // BPF_MAP_FREEZE: user space may not write
  std::shared_ptr<const Btf> btf;  // describes key and value; may be null

 protected:
  MapSpec spec_;
  uint32_t possible_cpus_;
};

// Resolves what user space names by descriptor inside map values. Null for a descriptor of
// something else.
class ObjectResolver {
 public:
  virtual ~ObjectResolver() = default;
  virtual std::shared_ptr<const Program> program_by_fd(int fd) = 0;
  // Whether the machine has a network interface of this index; a devmap takes no other.
  virtual bool has_interface(uint32_t) { return true; }
  virtual std::shared_ptr<Map> map_by_fd(int) { return nullptr; }
  virtual std::shared_ptr<PerfEvent> perf_event_by_fd(int) { return nullptr; }
};

struct MapContext {
  uint32_t possible_cpus = 1;
  ObjectResolver* objects = nullptr;
  int memory_fd = -1;  // the map's memfd: backs the values of BPF_F_MMAPABLE arrays
  uint64_t seed = 0;   // of hash functions; does not show in results other than hash order
};

// One row for every map type that exists here. `check` answers what BPF_MAP_CREATE answers to a
// bad spec (0 or -errno); `create` makes a map from a spec that passed, or gives -errno.
struct MapType {
  bpf_map_type type;
  std::string_view name;  // as bpftool prints it: "hash", "percpu_array", ...
  int (*check)(const MapSpec&);
  tl::expected<std::shared_ptr<Map>, int> (*create)(const MapSpec&, const MapContext&);
};

std::span<const MapType> map_types();
const MapType* find_map_type(uint32_t type);

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vm/invocation.h"

namespace xnic::vm {

// What a helper wants in an argument register. Names after the kernel's ARG_* types.
enum class Argument : uint8_t {
  none,
  any,        // any initialised value; of kfuncs, a number
  ignored,    // whatever is there, of kfuncs
  struct_id,  // the constant id of a struct in the kernel's types
  context,    // the program's context, unmodified
  context_or_null,
  function,              // a callback: the index of the first instruction of a static function
  map,                   // a map, known when the program is verified
  map_key,               // key_size readable bytes of the map argument
  map_value,             // value_size readable bytes of the map argument
  map_value_or_null,     // the same, or NULL
  map_value_out,         // writable; of a bloom filter, which only looks, readable
  memory_read,           // readable bytes; the next argument is their size
  memory_read_or_null,   // the same, or NULL
  memory_write,          // writable bytes; the next argument is their size
  memory_write_or_null,  // the same, or NULL
  size,                  // size of the memory before it, at least 1
  size_or_zero,          // may be 0
  u32_in_out,            // 4 bytes that are read and written, aligned
  u64_out,               // 8 bytes that are written, aligned
  const_string,  // text with its NUL, in a map that is frozen and that programs may only read
  socket,        // a socket of any kind
  full_socket_or_null,
  ended_socket,  // one that was acquired and is given back
  record,        // a ring buffer record of this run, neither submitted nor discarded yet
  spin_lock,     // the bpf_spin_lock of a map value
  timer,         // the bpf_timer of a map value
  bytes_2,       // so many bytes that are read and written, aligned or not: of kfuncs
  bytes_4,
  bytes_8,
  read_20,  // so many bytes that are read
  read_40,
  new_iterator,    // 8 bytes of stack that become an iterator
  iterator,        // an iterator that has begun and not ended
  ended_iterator,  // one that ends
  // Dynptrs: 16 bytes of stack.
  new_local_dynptr,  // that become one, of map values
  new_ringbuf_dynptr,
  new_skb_dynptr,
  new_xdp_dynptr,
  cloned_dynptr,         // that become one like the dynptr argument before
  dynptr,                // that are one, of any kind
  ended_ringbuf_dynptr,  // that are one and end with it
  // Objects of the program, made by bpf_obj_new.
  local_type,       // the constant id of a struct in the program's own types
  dropped_object,   // an object that the program owns and gives up
  counted_object,   // one that counts its owners
  ended_object,     // one of the kernel, that was acquired and is given back
  kptr,             // a pointer to an object, in a map's value or in an object
  stored_object,    // what is put there: an object that the program owns and gives up, or NULL
  list_head,        // of a list whose lock is held
  added_list_node,  // in an object that the program owns and gives to the list
  rb_root,          // of a tree whose lock is held
  added_rb_node,
  rb_node,  // in an object that may be in a tree
  // Trusted pointers to objects of the kernel.
  task,
  cgroup,
  seq_file,
  path,
  file,
  sk_buff,
  buffer_or_null,  // readable and writable bytes, as many as the next argument, or NULL
  slice_size,      // a constant: how many bytes the result leads to
};

enum class Returns : uint8_t {
  integer,
  none,
  map_value,
  map_value_or_null,
  record_or_null,            // so many bytes as r2 says
  size_or_error,             // at most as many as the size argument, or -errno
  iterated_int_or_null,      // the iterator's next int, read-only; NULL behind the last
  socket_or_null,            // acquired
  socket_common_or_null,     // acquired
  same_full_socket_or_null,  // the socket of the argument, seen as a full one
  same_tcp_socket_or_null,
  listener_or_null,  // a full socket
  kernel_object,     // of a type that nothing vouches for
  trusted_object,    // of the type that the row names; of none: the one behind the context
  object_or_null,
  slice_or_null,  // bytes that a dynptr leads to
  read_only_slice_or_null,
  new_object_or_null,   // acquired, of the type that the first argument names
  same_object_or_null,  // acquired, of the type of the first argument; NULL if it had no owner
  kptr_or_null,         // acquired, what the kptr held
  taken_node_or_null,   // acquired, what was in the list or tree
  node_or_null,         // what is in the list or tree, for as long as its lock is held
};

using HelperFunction = uint64_t (*)(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// Program types as a set, for the helpers' rows.
inline constexpr uint32_t kXdp = 1;
inline constexpr uint32_t kTc = 2;
inline constexpr uint32_t kSocketFilter = 4;
// Of types that are verified and that nothing here runs.
inline constexpr uint32_t kTracing = 8;  // tracepoints, probes, perf events
inline constexpr uint32_t kCgroupSkb = 16;
inline constexpr uint32_t kLwt = 32;
inline constexpr uint32_t kLwtXmit = 64;              // what lwt_xmit has beside these
inline constexpr uint32_t kStream = 128;              // sk_skb
inline constexpr uint32_t kMessage = 256;             // sk_msg
inline constexpr uint32_t kCgroupSock = 512;          // cgroup_sock
inline constexpr uint32_t kCgroupAddress = 1u << 10;  // cgroup_sock_addr
inline constexpr uint32_t kCgroupSockopt = 1u << 11;
inline constexpr uint32_t kCgroupSysctl = 1u << 12;
inline constexpr uint32_t kCgroupDevice = 1u << 13;
inline constexpr uint32_t kSockOps = 1u << 14;
inline constexpr uint32_t kSkLookup = 1u << 15;
inline constexpr uint32_t kSkReuseport = 1u << 16;
inline constexpr uint32_t kFlowDissector = 1u << 17;
inline constexpr uint32_t kLwtSeg6 = 1u << 18;  // what lwt_seg6local has beside kLwt
inline constexpr uint32_t kNetfilter = 1u << 19;
inline constexpr uint32_t kPerfEvent = 1u << 20;   // what perf_event has beside kTracing
inline constexpr uint32_t kBtfTracing = 1u << 21;  // tp_btf, iterators: what has typed arguments
inline constexpr uint32_t kStructOps = 1u << 22;
inline constexpr uint32_t kSyscall = 1u << 23;
inline constexpr uint32_t kAnyType = ~0u;

// One helper: one function and one row, in a file of vm/helpers. Addresses in arguments are host
// addresses that the caller has checked against the argument kinds: by the verifier, or by the
// interpreter before the call. bpf_tail_call has no function: engines perform it.
struct Helper {
  uint32_t id;  // BPF_FUNC_*
  std::string_view name;
  uint32_t program_types;
  Returns returns;
  std::array<Argument, 5> arguments;
  HelperFunction function;
  bool gpl_only = false;
  // Packet pointers that the program holds are void after the call.
  bool changes_packet = false;
  std::string_view object{};  // the struct of the kernel that it returns
};

std::span<const Helper> helpers();
// The row of an id for these program types (bpf_redirect means one thing to XDP, another to tc);
// null where there is none.
const Helper* find_helper(uint32_t id, uint32_t program_types = kAnyType);

// Whether Linux lets a program call the helper on a map of this type; true for a helper that has
// nothing to do with maps.
bool helper_takes_map(uint32_t id, bpf_map_type type);
// Whether the helper changes the map that it is called on, which BPF_F_RDONLY_PROG forbids.
bool helper_writes_map(uint32_t id);

}  // namespace xnic::vm

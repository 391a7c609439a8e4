// bpf(2) over a Kernel: one row a command; the functions are in vm/syscall/. kernel/bpf/syscall.c
// was read for the order of checks and their errno. Left out, as -EINVAL: raw tracepoints, tokens,
// struct_ops, everything of cgroups and sockets. Test: tests/vm/syscall_test.cpp.
#include "vm/syscall.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "vm/syscall/commands.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr size_t kMaxAttributes = 4096;

struct Command {
  uint32_t number;
  size_t end;    // of its last attribute
  bool answers;  // writes attributes back
  long (*function)(Kernel&, bpf_attr&);
};

#define XNIC_END_OF(field) (offsetof(bpf_attr, field) + sizeof(std::declval<bpf_attr>().field))
constexpr std::array kCommands = {
    Command{BPF_MAP_CREATE, XNIC_END_OF(map_extra), false, map_create},
    Command{BPF_MAP_LOOKUP_ELEM, XNIC_END_OF(flags), false, map_lookup_elem},
    Command{BPF_MAP_UPDATE_ELEM, XNIC_END_OF(flags), false, map_update_elem},
    Command{BPF_MAP_DELETE_ELEM, XNIC_END_OF(key), false, map_delete_elem},
    Command{BPF_MAP_GET_NEXT_KEY, XNIC_END_OF(next_key), false, map_get_next_key},
    Command{BPF_MAP_LOOKUP_AND_DELETE_ELEM, XNIC_END_OF(flags), false, map_lookup_and_delete_elem},
    Command{BPF_MAP_LOOKUP_BATCH, XNIC_END_OF(batch.flags), true, map_lookup_batch},
    Command{BPF_MAP_LOOKUP_AND_DELETE_BATCH, XNIC_END_OF(batch.flags), true,
            map_lookup_and_delete_batch},
    Command{BPF_MAP_UPDATE_BATCH, XNIC_END_OF(batch.flags), true, map_update_batch},
    Command{BPF_MAP_DELETE_BATCH, XNIC_END_OF(batch.flags), true, map_delete_batch},
    Command{BPF_MAP_FREEZE, XNIC_END_OF(map_fd), false, map_freeze},
    Command{BPF_PROG_LOAD, XNIC_END_OF(core_relo_rec_size), false, prog_load},
    Command{BPF_PROG_TEST_RUN, XNIC_END_OF(test.batch_size), true, test_run},
    Command{BPF_BTF_LOAD, XNIC_END_OF(btf_log_level), false, btf_load},
    Command{BPF_OBJ_GET_INFO_BY_FD, XNIC_END_OF(info.info), true, obj_get_info_by_fd},
    Command{BPF_PROG_GET_NEXT_ID, XNIC_END_OF(next_id), true, prog_get_next_id},
    Command{BPF_MAP_GET_NEXT_ID, XNIC_END_OF(next_id), true, map_get_next_id},
    Command{BPF_BTF_GET_NEXT_ID, XNIC_END_OF(next_id), true, btf_get_next_id},
    Command{BPF_PROG_GET_FD_BY_ID, XNIC_END_OF(prog_id), false, prog_get_fd_by_id},
    Command{BPF_MAP_GET_FD_BY_ID, XNIC_END_OF(open_flags), false, map_get_fd_by_id},
    Command{BPF_BTF_GET_FD_BY_ID, XNIC_END_OF(btf_id), false, btf_get_fd_by_id},
    Command{BPF_PROG_BIND_MAP, XNIC_END_OF(prog_bind_map.flags), false, prog_bind_map},
    Command{BPF_OBJ_PIN, uapi::kObjPathFd + sizeof(uint32_t), false, obj_pin},
    Command{BPF_OBJ_GET, uapi::kObjPathFd + sizeof(uint32_t), false, obj_get},
    Command{BPF_PROG_ATTACH, uapi::kAttachRevision + sizeof(uint64_t), false, prog_attach},
    Command{BPF_PROG_DETACH, uapi::kAttachRevision + sizeof(uint64_t), false, prog_detach},
    Command{BPF_PROG_QUERY, uapi::kQueryRevision + sizeof(uint64_t), true, prog_query},
    Command{BPF_LINK_CREATE, uapi::kLinkCreateEnd, false, link_create},
    Command{BPF_LINK_UPDATE, XNIC_END_OF(link_update.old_prog_fd), false, link_update},
    Command{BPF_LINK_DETACH, XNIC_END_OF(link_detach.link_fd), false, link_detach},
    Command{BPF_LINK_GET_NEXT_ID, XNIC_END_OF(next_id), true, link_get_next_id},
    Command{BPF_LINK_GET_FD_BY_ID, XNIC_END_OF(link_id), false, link_get_fd_by_id},
    Command{BPF_ITER_CREATE, XNIC_END_OF(iter_create.flags), false, iter_create},
    Command{BPF_ENABLE_STATS, XNIC_END_OF(enable_stats.type), false, enable_stats},
    Command{BPF_TASK_FD_QUERY, XNIC_END_OF(task_fd_query.probe_addr), true, task_fd_query},
};
#undef XNIC_END_OF

}  // namespace

long bpf_syscall(Kernel& kernel, uint32_t command, bpf_attr* attributes, uint32_t size) {
  if (size > kMaxAttributes) return -E2BIG;
  if (attributes == nullptr) return -EFAULT;
  const auto* bytes = reinterpret_cast<const uint8_t*>(attributes);
  const auto not_zero = [](uint8_t byte) { return byte != 0; };
  if (size > sizeof(bpf_attr) && std::any_of(bytes + sizeof(bpf_attr), bytes + size, not_zero)) {
    return -E2BIG;
  }
  const size_t length = std::min<size_t>(size, sizeof(bpf_attr));
  bpf_attr attr;
  std::memset(&attr, 0, sizeof attr);
  std::memcpy(&attr, attributes, length);

  const auto row = std::find_if(kCommands.begin(), kCommands.end(),
                                [command](const Command& c) { return c.number == command; });
  if (row == kCommands.end()) return -EINVAL;
  const auto* copied = reinterpret_cast<const uint8_t*>(&attr);
  if (std::any_of(copied + row->end, copied + sizeof attr, not_zero)) return -EINVAL;
  const long answer = row->function(kernel, attr);
  if (row->answers) std::memcpy(attributes, &attr, length);
  return answer;
}

}  // namespace xnic::vm

#pragma once

#include <linux/bpf.h>

#include "vm/kernel.h"

// The commands of bpf(2), one function each: `attr` is the caller's copy, already checked for
// bytes past the command's last attribute; the answer is 0, a descriptor, or -errno. The table
// that leads to them is in vm/syscall.cpp.
namespace xnic::vm {

// vm/syscall/maps.cpp
long map_create(Kernel& kernel, bpf_attr& attr);
long map_lookup_elem(Kernel& kernel, bpf_attr& attr);
long map_update_elem(Kernel& kernel, bpf_attr& attr);
long map_delete_elem(Kernel& kernel, bpf_attr& attr);
long map_lookup_and_delete_elem(Kernel& kernel, bpf_attr& attr);
long map_get_next_key(Kernel& kernel, bpf_attr& attr);
long map_freeze(Kernel& kernel, bpf_attr& attr);
int map_info(bpf_attr& attr, const Map& map);

// vm/syscall/batch.cpp
long map_lookup_batch(Kernel& kernel, bpf_attr& attr);
long map_lookup_and_delete_batch(Kernel& kernel, bpf_attr& attr);
long map_update_batch(Kernel& kernel, bpf_attr& attr);
long map_delete_batch(Kernel& kernel, bpf_attr& attr);

// vm/syscall/programs.cpp
long prog_load(Kernel& kernel, bpf_attr& attr);
long prog_bind_map(Kernel& kernel, bpf_attr& attr);
long enable_stats(Kernel& kernel, bpf_attr& attr);
int prog_info(bpf_attr& attr, const Program& program);

// vm/syscall/btf.cpp
long btf_load(Kernel& kernel, bpf_attr& attr);
int btf_info(bpf_attr& attr, const Btf& btf);

// vm/syscall/objects.cpp: what all kinds of objects share.
long obj_get_info_by_fd(Kernel& kernel, bpf_attr& attr);
long prog_get_next_id(Kernel& kernel, bpf_attr& attr);
long map_get_next_id(Kernel& kernel, bpf_attr& attr);
long btf_get_next_id(Kernel& kernel, bpf_attr& attr);
long link_get_next_id(Kernel& kernel, bpf_attr& attr);
long prog_get_fd_by_id(Kernel& kernel, bpf_attr& attr);
long map_get_fd_by_id(Kernel& kernel, bpf_attr& attr);
long btf_get_fd_by_id(Kernel& kernel, bpf_attr& attr);
long link_get_fd_by_id(Kernel& kernel, bpf_attr& attr);
long obj_pin(Kernel& kernel, bpf_attr& attr);
long obj_get(Kernel& kernel, bpf_attr& attr);
long task_fd_query(Kernel& kernel, bpf_attr& attr);

// vm/syscall/links.cpp
long link_create(Kernel& kernel, bpf_attr& attr);
long link_update(Kernel& kernel, bpf_attr& attr);
long link_detach(Kernel& kernel, bpf_attr& attr);
long iter_create(Kernel& kernel, bpf_attr& attr);
long prog_attach(Kernel& kernel, bpf_attr& attr);
long prog_detach(Kernel& kernel, bpf_attr& attr);
long prog_query(Kernel& kernel, bpf_attr& attr);
int link_info(bpf_attr& attr, const Link& link);

}  // namespace xnic::vm

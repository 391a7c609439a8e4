// bpf(2): programs attached to network devices, by links (XDP, tcx) and without (tcx). The order of
// checks and their errno is that of kernel/bpf/syscall.c, kernel/bpf/tcx.c and net/core/dev.c.
// Left out: every other attach type (-EINVAL), BPF_LINK_UPDATE of a map, iterators.
// Test: tests/vm/syscall_link_test.cpp.
#include <linux/if_link.h>
#include <unistd.h>

#include "vm/syscall/commands.h"
#include "vm/syscall/user_memory.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kOrderFlags =
    BPF_F_REPLACE | uapi::kBefore | uapi::kAfter | uapi::kId | uapi::kLink;

bool is_tcx(uint32_t attach_type) {
  return attach_type == uapi::kTcxIngress || attach_type == uapi::kTcxEgress;
}

AttachPoint& tcx_point(NetDevice& device, uint32_t attach_type) {
  const bool ingress = attach_type == uapi::kTcxIngress;
  return device.hook(ingress ? HookPoint::tc_ingress : HookPoint::tc_egress).tcx();
}

// What `flags` and a descriptor or id name: a place beside a program or a link of this type.
AttachPoint::FindRelative relative_of(Kernel& kernel, uint32_t flags, uint32_t named,
                                      bpf_prog_type type) {
  return [&kernel, flags, named, type](Attached& relative) {
    const bool by_id = (flags & uapi::kId) != 0;
    if ((flags & uapi::kLink) != 0) {
      if (!by_id && named == 0) return -EINVAL;
      const auto link =
          by_id ? kernel.links.by_id(named) : kernel.links.by_fd(static_cast<int>(named));
      if (link == nullptr) return by_id ? -ENOENT : wrong_descriptor(named);
      relative = {link->program, link->id};
    } else if (by_id || named != 0) {
      const auto program =
          by_id ? kernel.programs.by_id(named) : kernel.programs.by_fd(static_cast<int>(named));
      if (program == nullptr) return by_id ? -ENOENT : wrong_descriptor(named);
      relative = {program, 0};
    } else {
      return 0;
    }
    const bool fits = type == BPF_PROG_TYPE_UNSPEC || relative.program->type() == type;
    return fits ? 0 : -EINVAL;
  };
}

// Where XDP flags ask for no mode, the device's best.
int xdp_mode(const NetDevice& device, uint32_t flags, HookPoint& mode) {
  if ((flags & ~XDP_FLAGS_MODES) != 0) return -EINVAL;
  switch (flags) {
    case 0:
      mode = device.native_xdp ? HookPoint::xdp_native : HookPoint::xdp_generic;
      return 0;
    case XDP_FLAGS_SKB_MODE:
      mode = HookPoint::xdp_generic;
      return 0;
    case XDP_FLAGS_DRV_MODE:
      mode = HookPoint::xdp_native;
      return 0;
    case XDP_FLAGS_HW_MODE:
      mode = HookPoint::xdp_offload;
      return 0;
    default:
      return -EINVAL;  // more than one
  }
}

int attach_xdp(NetDevice& device, const Link& link) {
  HookPoint mode = HookPoint::xdp_generic;
  if (const int error = xdp_mode(device, link.flags, mode); error != 0) return error;
  const bool generic = device.hook(HookPoint::xdp_generic).attached();
  const bool native = device.hook(HookPoint::xdp_native).attached();
  if (link.flags == 0 && generic && native) return -EINVAL;
  if (device.hook(mode).attached()) return -EBUSY;
  if (mode != HookPoint::xdp_offload && (generic || native)) return -EEXIST;
  const uint32_t bound_to = link.program->spec().ifindex;
  if (bound_to != 0 && (bound_to != device.ifindex || mode == HookPoint::xdp_generic)) {
    return -EINVAL;
  }
  // A program made for a redirect's end does not attach to a device.
  const uint32_t made_for = link.program->spec().expected_attach_type;
  if (made_for == BPF_XDP_DEVMAP || made_for == BPF_XDP_CPUMAP) return -EINVAL;
  if (mode != HookPoint::xdp_generic && !device.native_xdp) return -EOPNOTSUPP;
  // Only a program that was loaded for the device can be offloaded to it.
  if (mode == HookPoint::xdp_offload) return -EINVAL;
  device.hook(mode).attach(link.program, link.id);
  return 0;
}

int attach_tcx(Kernel& kernel, NetDevice& device, const Link& link, const bpf_attr& attr) {
  const uint32_t flags = attr.link_create.flags;
  const auto named = uapi::read<uint32_t>(attr, uapi::kLinkCreateRelativeFd);
  // A link replaces nothing: with the flag, the link itself would have to be there.
  const Attached fresh{link.program, link.id};
  const Attached* old = (flags & BPF_F_REPLACE) != 0 ? &fresh : nullptr;
  return tcx_point(device, link.attach_type)
      .attach(fresh, old, flags,
              relative_of(kernel, flags & ~BPF_F_REPLACE, named, link.program->type()),
              uapi::read<uint64_t>(attr, uapi::kLinkCreateRevision));
}

// Whether a program of this type attaches there.
bool fits(const Program& program, uint32_t attach_type) {
  switch (program.type()) {
    case BPF_PROG_TYPE_XDP:
      return attach_type == BPF_XDP;
    case BPF_PROG_TYPE_SCHED_CLS:
      return is_tcx(attach_type);
    default:
      return false;
  }
}

// The program that BPF_PROG_ATTACH and BPF_PROG_DETACH name.
int tc_program(Kernel& kernel, uint32_t fd, std::shared_ptr<const Program>& program) {
  program = kernel.programs.by_fd(static_cast<int>(fd));
  if (program == nullptr) return wrong_descriptor(fd);
  return program->type() == BPF_PROG_TYPE_SCHED_CLS ? 0 : -EINVAL;
}

void replace_program(Kernel& kernel, Link& link, std::shared_ptr<const Program> fresh) {
  NetDevice& device = *kernel.device(link.ifindex);
  for (Hook& hook : device.hooks) {
    if (hook.single().link == link.id) hook.attach(fresh, link.id);
  }
  link.program = std::move(fresh);
}

int update_tcx(Kernel& kernel, Link& link, const std::shared_ptr<const Program>& fresh) {
  const Attached old{link.program, link.id};
  const int error = tcx_point(*kernel.device(link.ifindex), link.attach_type)
                        .attach({fresh, link.id}, &old, BPF_F_REPLACE | uapi::kId,
                                relative_of(kernel, uapi::kId, link.program->id, fresh->type()), 0);
  if (error == 0) link.program = fresh;
  return error;
}

int update_xdp(Kernel& kernel, Link& link, std::shared_ptr<const Program> fresh) {
  if (fresh->type() != link.program->type() ||
      fresh->spec().expected_attach_type != link.program->spec().expected_attach_type) {
    return -EINVAL;
  }
  replace_program(kernel, link, std::move(fresh));
  return 0;
}

}  // namespace

long link_create(Kernel& kernel, bpf_attr& attr) {
  const auto program = kernel.programs.by_fd(static_cast<int>(attr.link_create.prog_fd));
  if (program == nullptr) return wrong_descriptor(attr.link_create.prog_fd);
  if (!fits(*program, attr.link_create.attach_type)) return -EINVAL;
  kernel.collect();
  NetDevice* device = kernel.device(attr.link_create.target_ifindex);
  const bool xdp = attr.link_create.attach_type == BPF_XDP;
  if (device == nullptr) return xdp ? -EINVAL : -ENODEV;

  auto link = std::make_shared<Link>();
  link->type = xdp ? uint32_t{BPF_LINK_TYPE_XDP} : uapi::kLinkTypeTcx;
  link->program = program;
  link->ifindex = device->ifindex;
  link->attach_type = attr.link_create.attach_type;
  link->flags = attr.link_create.flags;
  const int fd = kernel.links.add(link, ObjectFd("bpf_link"));
  if (fd < 0) return fd;
  const int error = xdp ? attach_xdp(*device, *link) : attach_tcx(kernel, *device, *link, attr);
  if (error == 0) return fd;
  link->ifindex = 0;
  close(fd);
  return error;
}

long link_update(Kernel& kernel, bpf_attr& attr) {
  const auto& request = attr.link_update;
  if ((request.flags & ~BPF_F_REPLACE) != 0) return -EINVAL;
  const auto link = kernel.links.by_fd(static_cast<int>(request.link_fd));
  if (link == nullptr) return wrong_descriptor(request.link_fd);
  const auto fresh = kernel.programs.by_fd(static_cast<int>(request.new_prog_fd));
  if (fresh == nullptr) return wrong_descriptor(request.new_prog_fd);
  std::shared_ptr<const Program> old;
  if ((request.flags & BPF_F_REPLACE) != 0) {
    old = kernel.programs.by_fd(static_cast<int>(request.old_prog_fd));
    if (old == nullptr) return wrong_descriptor(request.old_prog_fd);
  } else if (request.old_prog_fd != 0) {
    return -EINVAL;
  }
  if (link->ifindex == 0) return -ENOLINK;
  if (old != nullptr && link->program != old) return -EPERM;
  if (link->program == fresh) return 0;
  return link->type == BPF_LINK_TYPE_XDP ? update_xdp(kernel, *link, fresh)
                                         : update_tcx(kernel, *link, fresh);
}

long link_detach(Kernel& kernel, bpf_attr& attr) {
  const auto link = kernel.links.by_fd(static_cast<int>(attr.link_detach.link_fd));
  if (link == nullptr) return wrong_descriptor(attr.link_detach.link_fd);
  kernel.detach(*link);
  return 0;
}

// No link here iterates.
long iter_create(Kernel& kernel, bpf_attr& attr) {
  if (attr.iter_create.flags != 0) return -EINVAL;
  const auto link = kernel.links.by_fd(static_cast<int>(attr.iter_create.link_fd));
  return link == nullptr ? wrong_descriptor(attr.iter_create.link_fd) : -EINVAL;
}

long prog_attach(Kernel& kernel, bpf_attr& attr) {
  if (!is_tcx(attr.attach_type) || (attr.attach_flags & ~kOrderFlags) != 0) return -EINVAL;
  std::shared_ptr<const Program> program;
  if (const int error = tc_program(kernel, attr.attach_bpf_fd, program); error != 0) return error;
  kernel.collect();
  NetDevice* device = kernel.device(attr.target_fd);
  if (device == nullptr) return -ENODEV;
  Attached old;
  const bool replaces = (attr.attach_flags & BPF_F_REPLACE) != 0;
  if (replaces) {
    const int error = tc_program(kernel, attr.replace_bpf_fd, old.program);
    if (error != 0) return error;
  }
  const auto named = uapi::read<uint32_t>(attr, uapi::kAttachRelativeFd);
  return tcx_point(*device, attr.attach_type)
      .attach({program, 0}, replaces ? &old : nullptr, attr.attach_flags,
              relative_of(kernel, attr.attach_flags & ~BPF_F_REPLACE, named, program->type()),
              uapi::read<uint64_t>(attr, uapi::kAttachRevision));
}

long prog_detach(Kernel& kernel, bpf_attr& attr) {
  if (!is_tcx(attr.attach_type) || (attr.attach_flags & ~kOrderFlags) != 0) return -EINVAL;
  std::shared_ptr<const Program> program;
  if (attr.attach_bpf_fd != 0) {
    const int error = tc_program(kernel, attr.attach_bpf_fd, program);
    if (error != 0) return error;
  }
  kernel.collect();
  NetDevice* device = kernel.device(attr.target_fd);
  if (device == nullptr) return -ENODEV;
  const auto named = uapi::read<uint32_t>(attr, uapi::kAttachRelativeFd);
  const bpf_prog_type type = program == nullptr ? BPF_PROG_TYPE_UNSPEC : program->type();
  return tcx_point(*device, attr.attach_type)
      .detach({program, 0}, attr.attach_flags, relative_of(kernel, attr.attach_flags, named, type),
              uapi::read<uint64_t>(attr, uapi::kAttachRevision));
}

long prog_query(Kernel& kernel, bpf_attr& attr) {
  if ((attr.query.query_flags & ~BPF_F_QUERY_EFFECTIVE) != 0) return -EINVAL;
  if (!is_tcx(attr.query.attach_type)) return -EINVAL;
  kernel.collect();
  NetDevice* device = kernel.device(attr.query.target_fd);
  if (device == nullptr) return -ENODEV;
  if (attr.query.query_flags != 0 || attr.query.attach_flags != 0) return -EINVAL;
  AttachPoint& point = tcx_point(*device, attr.query.attach_type);
  const std::span<const Attached> attached = point.attached();
  const uint32_t room = attr.query.prog_cnt;
  attr.query.prog_cnt = static_cast<uint32_t>(attached.size());
  uapi::write(attr, uapi::kQueryRevision, point.revision());
  auto* programs = user_pointer<uint32_t>(attr.query.prog_ids);
  auto* program_flags = user_pointer<uint32_t>(attr.query.prog_attach_flags);
  auto* links = user_pointer<uint32_t>(uapi::read<uint64_t>(attr, uapi::kQueryLinkIds));
  auto* link_flags =
      user_pointer<uint32_t>(uapi::read<uint64_t>(attr, uapi::kQueryLinkAttachFlags));
  if (room == 0 || programs == nullptr) return 0;
  const size_t shown = std::min<size_t>(room, attached.size());
  for (size_t i = 0; i < shown; i++) {
    programs[i] = attached[i].program->id;
    if (program_flags != nullptr) program_flags[i] = 0;
    if (links != nullptr) links[i] = attached[i].link;
    if (link_flags != nullptr) link_flags[i] = 0;
  }
  return shown < attached.size() ? -ENOSPC : 0;
}

int link_info(bpf_attr& attr, const Link& link) {
  bpf_link_info info{};
  if (const int error = copy_info_in(attr, info); error != 0) return error;
  info.type = link.type;
  info.id = link.id;
  info.prog_id = link.program->id;
  info.xdp.ifindex = link.ifindex;
  if (link.type == uapi::kLinkTypeTcx) {
    // struct { __u32 ifindex, attach_type; } tcx
    std::memcpy(reinterpret_cast<uint8_t*>(&info.xdp) + sizeof info.xdp.ifindex, &link.attach_type,
                sizeof link.attach_type);
  }
  return copy_info_out(attr, info);
}

}  // namespace xnic::vm

// bpf(2) over a Kernel: one function and one row a command. net/bpf and kernel/bpf/syscall.c were
// read for the order of checks and their errno. Left out, for now -EINVAL: pinning, links, attach,
// batch commands, stats, tokens. Test: tests/vm/syscall_test.cpp.
#include "vm/syscall.h"

#include <linux/btf.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstring>

extern "C" long __real_syscall(long number, ...);

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxInstructions = 1'000'000;
constexpr uint32_t kMaxBtfSize = 16 * 1024 * 1024;
constexpr uint32_t kMaxInfoRecord = 252;
constexpr size_t kMaxAttributes = 4096;
constexpr uint32_t kKnownLogLevels = 0xf;
constexpr uint32_t kMaxLogSize = UINT32_MAX >> 2;
constexpr uint8_t kBtfVersion = 1;
constexpr long kNotSupported = 524;  // the kernel's ENOTSUPP
constexpr size_t kMaxLicense = 127;
constexpr uint32_t kKnownProgramFlags = BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT |
                                        BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE |
                                        BPF_F_TEST_RND_HI32 | BPF_F_XDP_HAS_FRAGS;

template <class T>
T* user_pointer(uint64_t address) {
  return std::bit_cast<T*>(address);
}

// Linux takes a byte for a letter by its meaning in Latin-1.
bool is_letter_or_digit(unsigned char c) {
  constexpr unsigned char kTimes = 0xd7;
  constexpr unsigned char kDivision = 0xf7;
  return c < 0x80 ? std::isalnum(c) != 0 : c >= 0xc0 && c != kTimes && c != kDivision;
}

// A name in a fixed field: letters, digits, '_' and '.', ended by a zero byte.
template <size_t N>
int copy_name(const char (&field)[N], std::string& name) {
  const auto* end = static_cast<const char*>(std::memchr(field, 0, N));
  if (end == nullptr) return -EINVAL;
  name.assign(field, end);
  const bool good = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return is_letter_or_digit(c) || c == '_' || c == '.';
  });
  return good ? 0 : -EINVAL;
}

// A descriptor that is closed, or one of something else than was asked for.
int wrong_descriptor(uint32_t fd) {
  return file_id(static_cast<int>(fd)) == FileId{} ? -EBADF : -EINVAL;
}

bool has_value_face(const Map& map) { return map.spec().value_size != 0; }

// The map of a command and whether this descriptor's flags let user space in.
struct UserMap {
  std::shared_ptr<Map> map;
  int error = 0;
};
UserMap user_map(Kernel& kernel, uint32_t fd, bool write) {
  UserMap found{kernel.map_by_fd(static_cast<int>(fd))};
  if (found.map == nullptr) {
    found.error = wrong_descriptor(fd);
  } else if (write ? (found.map->spec().flags & BPF_F_RDONLY) != 0 || found.map->frozen
                   : (found.map->spec().flags & BPF_F_WRONLY) != 0) {
    found.error = -EPERM;
  }
  return found;
}

long map_create(Kernel& kernel, bpf_attr& attr) {
  if (attr.btf_vmlinux_value_type_id != 0) return -EINVAL;
  if (attr.btf_key_type_id != 0 && attr.btf_value_type_id == 0) return -EINVAL;
  if (attr.map_ifindex != 0) return -EINVAL;
  if ((attr.map_flags & BPF_F_RDONLY) != 0 && (attr.map_flags & BPF_F_WRONLY) != 0) return -EINVAL;
  if (attr.map_extra != 0 && attr.map_type != BPF_MAP_TYPE_BLOOM_FILTER) return -EINVAL;
  if ((attr.map_flags & BPF_F_NUMA_NODE) != 0 && attr.numa_node != 0) return -EINVAL;
  const MapType* type = find_map_type(attr.map_type);
  if (type == nullptr) return -EINVAL;

  MapSpec spec{.type = type->type,
               .key_size = attr.key_size,
               .value_size = attr.value_size,
               .max_entries = attr.max_entries,
               .flags = attr.map_flags,
               .name = {},
               .map_extra = attr.map_extra,
               .btf_key_type_id = attr.btf_key_type_id,
               .btf_value_type_id = attr.btf_value_type_id};
  if (const int error = type->check(spec); error != 0) return error;
  if (const int error = copy_name(attr.map_name, spec.name); error != 0) return error;
  std::shared_ptr<const Btf> btf;
  if (attr.btf_key_type_id != 0 || attr.btf_value_type_id != 0) {
    btf = kernel.btfs.by_fd(static_cast<int>(attr.btf_fd));
    if (btf == nullptr) return wrong_descriptor(attr.btf_fd);
    if (spec.btf_key_type_id >= btf->type_count() || spec.btf_value_type_id >= btf->type_count()) {
      return -EINVAL;
    }
  }

  ObjectFd fd("bpf-map");
  const MapContext context{.possible_cpus = kernel.options().possible_cpus,
                           .objects = &kernel,
                           .memory_fd = fd.fd(),
                           .seed = kernel.options().seed};
  auto map = type->create(spec, context);
  if (!map) return map.error();
  (*map)->btf = std::move(btf);
  return kernel.maps.add(std::move(*map), std::move(fd));
}

long map_lookup_elem(Kernel& kernel, bpf_attr& attr) {
  if ((attr.flags & ~static_cast<uint64_t>(BPF_F_LOCK)) != 0) return -EINVAL;
  const UserMap at = user_map(kernel, attr.map_fd, false);
  if (at.error != 0) return at.error;
  if ((attr.flags & BPF_F_LOCK) != 0) return -EINVAL;
  const auto* key = user_pointer<const uint8_t>(attr.key);
  auto* value = user_pointer<uint8_t>(attr.value);
  if (key == nullptr) return -EFAULT;
  std::vector<uint8_t> copy(at.map->user_value_size());
  if (const int error = at.map->user_lookup(key, copy.data(), attr.flags); error != 0) return error;
  if (value == nullptr) return -EFAULT;
  std::copy(copy.begin(), copy.end(), value);
  return 0;
}

long map_update_elem(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, true);
  if (at.error != 0) return at.error;
  if ((attr.flags & BPF_F_LOCK) != 0) return -EINVAL;
  const auto* key = user_pointer<const uint8_t>(attr.key);
  const auto* value = user_pointer<const uint8_t>(attr.value);
  if (key == nullptr || (value == nullptr && has_value_face(*at.map))) return -EFAULT;
  return at.map->user_update(key, value, attr.flags);
}

long map_delete_elem(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, true);
  if (at.error != 0) return at.error;
  const auto* key = user_pointer<const uint8_t>(attr.key);
  return key == nullptr ? -EFAULT : at.map->user_erase(key);
}

long map_get_next_key(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, false);
  if (at.error != 0) return at.error;
  auto* next = user_pointer<uint8_t>(attr.next_key);
  std::vector<uint8_t> copy(at.map->spec().key_size);
  const int error = at.map->next_key(user_pointer<const uint8_t>(attr.key), copy.data());
  if (error != 0) return error;
  if (next == nullptr) return -EFAULT;
  std::copy(copy.begin(), copy.end(), next);
  return 0;
}

long map_freeze(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, true);
  if (at.error != 0) return at.error;
  at.map->frozen = true;
  return 0;
}

// Copies records of func_info or line_info, whose size the caller says.
template <class Record>
int copy_records(uint64_t address, uint32_t count, uint32_t record_size, size_t least,
                 std::vector<Record>& records) {
  if (count == 0) return 0;
  if (record_size < least || record_size > kMaxInfoRecord || record_size % 4 != 0) return -EINVAL;
  if (count > kMaxInstructions) return -EINVAL;
  const auto* bytes = user_pointer<const uint8_t>(address);
  if (bytes == nullptr) return -EFAULT;
  records.resize(count);
  for (uint32_t i = 0; i < count; i++) {
    std::memcpy(&records[i], bytes + static_cast<size_t>(i) * record_size,
                std::min<size_t>(record_size, sizeof(Record)));
  }
  return 0;
}

bool is_valid_log(uint64_t address, uint32_t size, uint32_t level) {
  return (address != 0) == (size != 0) && (address == 0 || level != 0) &&
         (level & ~kKnownLogLevels) == 0 && size <= kMaxLogSize;
}

// The verifier log ends with a zero byte; -ENOSPC where it did not fit.
int write_log(const bpf_attr& attr, std::string_view text) {
  auto* log = user_pointer<char>(attr.log_buf);
  if (attr.log_level == 0 || log == nullptr || attr.log_size == 0) return 0;
  const size_t length = std::min<size_t>(text.size(), attr.log_size - 1);
  std::copy_n(text.begin(), length, log);
  log[length] = 0;
  return length < text.size() ? -ENOSPC : 0;
}

long prog_load(Kernel& kernel, bpf_attr& attr) {
  if ((attr.prog_flags & ~kKnownProgramFlags) != 0) return -EINVAL;
  if (attr.insn_cnt == 0 || attr.insn_cnt > kMaxInstructions) return -E2BIG;
  if (attr.attach_prog_fd != 0 || attr.attach_btf_id != 0 || attr.prog_ifindex != 0) return -EINVAL;
  // No program type that exists here may sleep.
  if ((attr.prog_flags & BPF_F_SLEEPABLE) != 0) return -EINVAL;
  if (!is_valid_log(attr.log_buf, attr.log_size, attr.log_level)) return -EINVAL;

  ProgramSpec spec;
  spec.type = static_cast<bpf_prog_type>(attr.prog_type);
  spec.expected_attach_type = attr.expected_attach_type;
  spec.flags = attr.prog_flags;
  const auto* instructions = user_pointer<const bpf_insn>(attr.insns);
  const auto* license = user_pointer<const char>(attr.license);
  if (instructions == nullptr || license == nullptr) return -EFAULT;
  spec.instructions.assign(instructions, instructions + attr.insn_cnt);
  spec.license.assign(license, strnlen(license, kMaxLicense));
  if (const int error = copy_name(attr.prog_name, spec.name); error != 0) return error;
  if (attr.func_info_cnt != 0 || attr.line_info_cnt != 0) {
    spec.btf = kernel.btfs.by_fd(static_cast<int>(attr.prog_btf_fd));
    if (spec.btf == nullptr) return wrong_descriptor(attr.prog_btf_fd);
    if (const int error = copy_records(attr.func_info, attr.func_info_cnt, attr.func_info_rec_size,
                                       sizeof(bpf_func_info), spec.functions);
        error != 0) {
      return error;
    }
    if (const int error = copy_records(attr.line_info, attr.line_info_cnt, attr.line_info_rec_size,
                                       sizeof(bpf_line_info), spec.lines);
        error != 0) {
      return error;
    }
  }
  // The array of descriptors that BPF_PSEUDO_MAP_IDX indexes has no length of its own: as long as
  // the largest index asks for.
  std::span<const int> fd_array;
  if (attr.fd_array != 0) {
    size_t length = 0;
    for (const bpf_insn& insn : spec.instructions) {
      if (insn.code == (BPF_LD | BPF_DW | BPF_IMM) &&
          (insn.src_reg == BPF_PSEUDO_MAP_IDX || insn.src_reg == BPF_PSEUDO_MAP_IDX_VALUE) &&
          insn.imm >= 0) {
        length = std::max(length, static_cast<size_t>(insn.imm) + 1);
      }
    }
    fd_array = {user_pointer<const int>(attr.fd_array), length};
  }

  auto verified = Verifier::verify(std::move(spec), fd_array, kernel);
  if (!verified) {
    const int error = write_log(attr, verified.error().message + "\n");
    return error != 0 ? error : verified.error().error;
  }
  if (const int error = write_log(attr, ""); error != 0) return error;
  Program& program = **verified;
  program.set_code(kernel.engine().compile(program));
  program.load_time_ns = kernel.environment().now_ns;
  return kernel.programs.add(std::move(*verified), ObjectFd("bpf-prog"));
}

long btf_load(Kernel& kernel, bpf_attr& attr) {
  if (attr.btf_size > kMaxBtfSize) return -E2BIG;
  const auto* blob = user_pointer<const uint8_t>(attr.btf);
  if (blob == nullptr && attr.btf_size != 0) return -EFAULT;
  std::shared_ptr<Btf> btf = Btf::parse({blob, attr.btf_size});
  if (btf == nullptr) return -EINVAL;
  // libbpf passes these two, Linux does not.
  if (blob[offsetof(btf_header, version)] != kBtfVersion) return -kNotSupported;
  if (btf->type_count() <= 1) return -EINVAL;
  return kernel.btfs.add(std::move(btf), ObjectFd("bpf-btf"));
}

// Copies an info struct out, as long as the caller has room for it; what the caller has beyond
// must be zero.
template <class Info>
int copy_info_out(bpf_attr& attr, const Info& info) {
  auto* out = user_pointer<uint8_t>(attr.info.info);
  if (out == nullptr) return -EFAULT;
  const uint32_t room = attr.info.info_len;
  if (room > sizeof(Info) &&
      std::any_of(out + sizeof(Info), out + room, [](uint8_t byte) { return byte != 0; })) {
    return -E2BIG;
  }
  const auto length = static_cast<uint32_t>(std::min<size_t>(room, sizeof(Info)));
  std::memcpy(out, &info, length);
  attr.info.info_len = length;
  return 0;
}

template <size_t N>
void fill_name(char (&field)[N], const std::string& name) {
  name.copy(field, N - 1);
}

int map_info(bpf_attr& attr, const Map& map) {
  bpf_map_info info{};
  const MapSpec& spec = map.spec();
  info.type = spec.type;
  info.id = map.id;
  info.key_size = spec.key_size;
  info.value_size = spec.value_size;
  info.max_entries = spec.max_entries;
  info.map_flags = spec.flags;
  info.map_extra = spec.map_extra;
  fill_name(info.name, spec.name);
  if (map.btf != nullptr) {
    info.btf_id = map.btf->id;
    info.btf_key_type_id = spec.btf_key_type_id;
    info.btf_value_type_id = spec.btf_value_type_id;
  }
  return copy_info_out(attr, info);
}

// What a dump shows: immediates of map loads name ids, not addresses of this process.
std::vector<bpf_insn> printable_instructions(const Program& program) {
  std::vector<bpf_insn> shown(program.instructions().begin(), program.instructions().end());
  for (size_t i = 0; i + 1 < shown.size(); i++) {
    if (shown[i].code != (BPF_LD | BPF_DW | BPF_IMM)) continue;
    const bool is_map =
        shown[i].src_reg == BPF_PSEUDO_MAP_FD || shown[i].src_reg == BPF_PSEUDO_MAP_IDX;
    const uint64_t address = static_cast<uint32_t>(shown[i].imm) |
                             static_cast<uint64_t>(static_cast<uint32_t>(shown[i + 1].imm)) << 32;
    for (const std::shared_ptr<Map>& map : program.maps()) {
      if (is_map && std::bit_cast<uint64_t>(map.get()) == address) {
        shown[i].imm = static_cast<int32_t>(map->id);
        shown[i + 1].imm = 0;
        shown[i].src_reg = BPF_PSEUDO_MAP_FD;
      }
    }
    i++;
  }
  return shown;
}

int prog_info(bpf_attr& attr, const Program& program) {
  bpf_prog_info info{};
  const auto* in = user_pointer<const uint8_t>(attr.info.info);
  if (in == nullptr) return -EFAULT;
  std::memcpy(&info, in, std::min<size_t>(attr.info.info_len, sizeof info));
  const bpf_prog_info wanted = info;
  info = {};
  info.type = program.type();
  info.id = program.id;
  info.load_time = program.load_time_ns;
  info.gpl_compatible = program.gpl_compatible() ? 1 : 0;
  std::copy(program.tag().begin(), program.tag().end(), info.tag);
  fill_name(info.name, program.name());
  info.btf_id = program.spec().btf == nullptr ? 0 : program.spec().btf->id;

  info.nr_map_ids = static_cast<uint32_t>(program.maps().size());
  info.map_ids = wanted.map_ids;
  auto* ids = user_pointer<uint32_t>(wanted.map_ids);
  const uint32_t room = std::min(wanted.nr_map_ids, info.nr_map_ids);
  if (room != 0 && ids == nullptr) return -EFAULT;
  for (uint32_t i = 0; i < room; i++) ids[i] = program.maps()[i]->id;

  const std::vector<bpf_insn> shown = printable_instructions(program);
  info.xlated_prog_len = static_cast<uint32_t>(shown.size() * sizeof(bpf_insn));
  info.xlated_prog_insns = wanted.xlated_prog_insns;
  const size_t length = std::min(wanted.xlated_prog_len, info.xlated_prog_len);
  if (length != 0) {
    auto* out = user_pointer<uint8_t>(wanted.xlated_prog_insns);
    if (out == nullptr) return -EFAULT;
    std::memcpy(out, shown.data(), length);
  }
  return copy_info_out(attr, info);
}

int btf_info(bpf_attr& attr, const Btf& btf) {
  bpf_btf_info info{};
  const auto* in = user_pointer<const uint8_t>(attr.info.info);
  if (in == nullptr) return -EFAULT;
  std::memcpy(&info, in, std::min<size_t>(attr.info.info_len, sizeof info));
  const size_t length = std::min<size_t>(info.btf_size, btf.blob().size());
  if (length != 0) {
    auto* out = user_pointer<uint8_t>(info.btf);
    if (out == nullptr) return -EFAULT;
    std::memcpy(out, btf.blob().data(), length);
  }
  info.btf_size = static_cast<uint32_t>(btf.blob().size());
  info.id = btf.id;
  return copy_info_out(attr, info);
}

long obj_get_info_by_fd(Kernel& kernel, bpf_attr& attr) {
  const auto fd = static_cast<int>(attr.info.bpf_fd);
  if (const auto map = kernel.maps.by_fd(fd)) return map_info(attr, *map);
  if (const auto program = kernel.programs.by_fd(fd)) return prog_info(attr, *program);
  if (const auto btf = kernel.btfs.by_fd(fd)) return btf_info(attr, *btf);
  return file_id(fd) == FileId{} ? -EBADFD : -EINVAL;
}

template <class T>
long next_id(const ObjectTable<T>& objects, bpf_attr& attr) {
  const uint32_t id = objects.next_id(attr.start_id);
  if (id == 0) return -ENOENT;
  attr.next_id = id;
  return 0;
}

long prog_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k.programs, attr); }
long map_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k.maps, attr); }
long btf_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k.btfs, attr); }
long prog_get_fd_by_id(Kernel& k, bpf_attr& attr) { return k.programs.open(attr.prog_id); }
long map_get_fd_by_id(Kernel& k, bpf_attr& attr) {
  const uint32_t known = BPF_F_RDONLY | BPF_F_WRONLY;
  return (attr.open_flags & ~known) != 0 ? -EINVAL : k.maps.open(attr.map_id);
}
long btf_get_fd_by_id(Kernel& k, bpf_attr& attr) { return k.btfs.open(attr.btf_id); }

// Binding only keeps a map alive with its program, and here every object lives as long as the
// Kernel.
long prog_bind_map(Kernel& kernel, bpf_attr& attr) {
  if (attr.prog_bind_map.flags != 0) return -EINVAL;
  const uint32_t map = attr.prog_bind_map.map_fd;
  const uint32_t program = attr.prog_bind_map.prog_fd;
  if (kernel.programs.by_fd(static_cast<int>(program)) == nullptr) return wrong_descriptor(program);
  return kernel.map_by_fd(static_cast<int>(map)) == nullptr ? wrong_descriptor(map) : 0;
}

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
};
#undef XNIC_END_OF

thread_local Kernel* kernel_in_scope = nullptr;

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

KernelScope::KernelScope(Kernel& kernel) : outer_(kernel_in_scope) { kernel_in_scope = &kernel; }
KernelScope::~KernelScope() { kernel_in_scope = outer_; }
Kernel* KernelScope::current() { return kernel_in_scope; }

}  // namespace xnic::vm

// The linker leads every call of syscall(2) here (-Wl,--wrap=syscall).
extern "C" long __wrap_syscall(long number, ...) {
  std::array<long, 6> a{};
  va_list arguments;
  va_start(arguments, number);
  for (long& argument : a) argument = va_arg(arguments, long);
  va_end(arguments);
  xnic::vm::Kernel* kernel = xnic::vm::kernel_in_scope;
  if (number != __NR_bpf || kernel == nullptr) {
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  const long answer =
      xnic::vm::bpf_syscall(*kernel, static_cast<uint32_t>(a[0]), std::bit_cast<bpf_attr*>(a[1]),
                            static_cast<uint32_t>(a[2]));
  if (answer >= 0) return answer;
  errno = static_cast<int>(-answer);
  return -1;
}

// bpf(2): loading programs, and what is told about them. kernel/bpf/syscall.c was read for the
// order of checks and their errno. Left out: BPF token, attach targets, the addresses and bytes of
// native code (as Linux hides them from those who may not see them). Test:
// tests/vm/syscall_test.cpp, tests/vm/syscall_program_test.cpp.
#include <unistd.h>

#include "vm/isa.h"
#include "vm/program_type.h"
#include "vm/prologue.h"
#include "vm/syscall/commands.h"
#include "vm/syscall/user_memory.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxInfoRecord = 252;
constexpr uint32_t kKnownLogLevels = 0xf;
constexpr uint32_t kMaxLogSize = UINT32_MAX >> 2;
constexpr size_t kMaxLicense = 127;
constexpr uint32_t kKnownProgramFlags =
    BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT | BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE |
    BPF_F_TEST_RND_HI32 | BPF_F_XDP_HAS_FRAGS | uapi::kDeviceBoundOnly;

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

// The size of a record that the caller asks for must be ours, unless it asks for none.
bool is_record_size(uint32_t count, uint32_t size, size_t ours) {
  return (count == 0 && size == 0) || size == ours;
}

int check_record_sizes(bpf_prog_info& info) {
  if (!is_record_size(info.nr_func_info, info.func_info_rec_size, sizeof(bpf_func_info)) ||
      !is_record_size(info.nr_line_info, info.line_info_rec_size, sizeof(bpf_line_info)) ||
      !is_record_size(info.nr_jited_line_info, info.jited_line_info_rec_size, sizeof(uint64_t))) {
    return -EINVAL;
  }
  info.func_info_rec_size = sizeof(bpf_func_info);
  info.line_info_rec_size = sizeof(bpf_line_info);
  info.jited_line_info_rec_size = sizeof(uint64_t);
  return 0;
}

// Programs may be bound to a device, and no device here takes them over as its own.
bool may_be_bound(Kernel& kernel, const bpf_attr& attr) {
  if (attr.prog_ifindex == 0) return true;
  constexpr uint32_t kFlags = uapi::kDeviceBoundOnly | BPF_F_XDP_HAS_FRAGS;
  return attr.prog_type == BPF_PROG_TYPE_XDP && (attr.prog_flags & ~kFlags) == 0 &&
         (attr.prog_flags & uapi::kDeviceBoundOnly) != 0 &&
         kernel.device(attr.prog_ifindex) != nullptr;
}

// Whether programs of the type may call what sleeps.
bool may_sleep(uint32_t type) {
  switch (type) {
    case BPF_PROG_TYPE_TRACING:
    case BPF_PROG_TYPE_KPROBE:
    case BPF_PROG_TYPE_STRUCT_OPS:
    case BPF_PROG_TYPE_SYSCALL:
      return true;
    default:
      return false;
  }
}

}  // namespace

long prog_load(Kernel& kernel, bpf_attr& attr) {
  if ((attr.prog_flags & ~kKnownProgramFlags) != 0) return -EINVAL;
  if (attr.insn_cnt == 0 || attr.insn_cnt > kMaxInstructions) return -E2BIG;
  const ProgramType* type = find_program_type(attr.prog_type);
  const bool is_typed = type != nullptr && type->has_typed_arguments;
  if (attr.attach_prog_fd != 0 || (attr.attach_btf_id != 0) != is_typed) return -EINVAL;
  if ((attr.prog_flags & BPF_F_SLEEPABLE) != 0 && !may_sleep(attr.prog_type)) return -EINVAL;
  if (!is_valid_log(attr.log_buf, attr.log_size, attr.log_level)) return -EINVAL;

  if (!may_be_bound(kernel, attr)) return -EINVAL;

  ProgramSpec spec;
  spec.type = attr.prog_type;
  spec.ifindex = attr.prog_ifindex;
  spec.expected_attach_type = attr.expected_attach_type;
  spec.flags = attr.prog_flags;
  spec.attach_type_id = attr.attach_btf_id;
  const auto* instructions = user_pointer<const bpf_insn>(attr.insns);
  const auto* license = user_pointer<const char>(attr.license);
  if (instructions == nullptr || license == nullptr) return -EFAULT;
  spec.instructions.assign(instructions, instructions + attr.insn_cnt);
  spec.license.assign(license, strnlen(license, kMaxLicense));
  if (const int error = copy_name(attr.prog_name, sizeof attr.prog_name, spec.name); error != 0)
    return error;
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

  Judgement& judgement = kernel.judgements[spec.name];
  judgement = {};
  const VerifierOptions options{.kernel_types = kernel.options().types.get(),
                                .values = kernel.options().verify_values,
                                .log_level = attr.log_level,
                                .possible_cpus = kernel.options().possible_cpus};
  auto verified = Verifier::verify(std::move(spec), fd_array, kernel, options);
  if (!verified) {
    judgement.statistics = verified.error().statistics;
    judgement.log = verified.error().message;
    judgement.rejection = std::move(verified.error());
    const Rejection& rejection = *judgement.rejection;
    const int error = write_log(attr, rejection.message + "\n");
    return error != 0 ? error : rejection.error;
  }
  Program& program = **verified;
  judgement.statistics = program.verifier_statistics();
  judgement.log = program.verifier_log();
  if (const int error = write_log(attr, program.verifier_log()); error != 0) return error;
  for (const std::shared_ptr<Map>& map : program.maps()) {
    if (map->accepts(program)) continue;
    Rejection& rejection = judgement.rejection.emplace();
    rejection.error = -EINVAL;
    rejection.message = rejection.said = rejection.reason =
        fmt::format("map {} is already used by programs of another type, or that run otherwise",
                    map->spec().name);
    rejection.category = category_of(rejection.said);
    return -EINVAL;
  }
  const bool can_run = !type->is_only_verified && kernel.options().types == nullptr;
  if (can_run) {
    if (kernel.options().cost_model) program.set_costs(kernel.options().cost_model(program));
    program.set_code(kernel.engine().compile(program));
    program.set_prologue(Prologue::of(program, kernel.engine(), kernel.options().possible_cpus));
  }
  program.load_time_ns = kernel.environment().now_ns;
  return kernel.programs.add(std::move(*verified), ObjectFd("bpf-prog"));
}

// `info` comes in with the room that the caller has for each list, and leaves with what there is.
int prog_info(bpf_attr& attr, const Program& program) {
  bpf_prog_info info{};
  if (const int error = copy_info_in(attr, info); error != 0) return error;
  const ProgramSpec& spec = program.spec();
  info.type = program.type();
  info.id = program.id;
  info.load_time = program.load_time_ns;
  info.created_by_uid = getuid();
  info.gpl_compatible = program.gpl_compatible() ? 1 : 0;
  std::copy(program.tag().begin(), program.tag().end(), info.tag);
  std::memset(info.name, 0, sizeof info.name);
  fill_name(info.name, program.name());

  std::vector<uint32_t> map_ids;
  for (const auto& map : program.maps()) map_ids.push_back(map->id);
  for (const auto& map : program.bound_maps()) map_ids.push_back(map->id);
  int error = copy_records_out(info.map_ids, info.nr_map_ids, map_ids.data(), map_ids.size());
  if (error != 0) return error;
  if (error = check_record_sizes(info); error != 0) return error;
  info.run_cnt = program.run_count();
  info.run_time_ns = program.run_time_ns();
  info.recursion_misses = 0;
  info.verified_insns = static_cast<uint32_t>(program.verifier_statistics().instructions);
  if (info.verified_insns == 0) {
    // The structural checks look at each instruction once; the second half of ld_imm64 has code 0.
    info.verified_insns = static_cast<uint32_t>(
        std::count_if(program.instructions().begin(), program.instructions().end(),
                      [](const bpf_insn& insn) { return insn.code != 0; }));
  }
  info.btf_id = spec.btf == nullptr ? 0 : spec.btf->id;
  info.ifindex = 0;
  info.netns_dev = info.netns_ino = 0;
  info.attach_btf_obj_id = info.attach_btf_id = 0;

  const std::vector<bpf_insn> shown = printable_instructions(program);
  const auto* bytes = reinterpret_cast<const uint8_t*>(shown.data());
  error = copy_records_out(info.xlated_prog_insns, info.xlated_prog_len, bytes,
                           shown.size() * sizeof(bpf_insn));
  if (error != 0) return error;
  const auto subprograms =
      std::max<uint32_t>(1, static_cast<uint32_t>(program.subprograms().size()));
  info.jited_prog_len = 0;
  info.jited_prog_insns = 0;
  info.nr_jited_ksyms = info.nr_jited_func_lens = subprograms;
  info.jited_ksyms = info.jited_func_lens = 0;
  info.nr_jited_line_info = 0;
  if (error = copy_records_out(info.func_info, info.nr_func_info, spec.functions.data(),
                               spec.functions.size());
      error != 0) {
    return error;
  }
  if (error =
          copy_records_out(info.line_info, info.nr_line_info, spec.lines.data(), spec.lines.size());
      error != 0) {
    return error;
  }
  const std::vector<std::array<uint8_t, BPF_TAG_SIZE>> tags(subprograms, program.tag());
  error = copy_records_out(info.prog_tags, info.nr_prog_tags, tags.data(), tags.size());
  return error != 0 ? error : copy_info_out(attr, info);
}

long prog_bind_map(Kernel& kernel, bpf_attr& attr) {
  if (attr.prog_bind_map.flags != 0) return -EINVAL;
  const auto program = kernel.programs.by_fd(static_cast<int>(attr.prog_bind_map.prog_fd));
  if (program == nullptr) return wrong_descriptor(attr.prog_bind_map.prog_fd);
  auto map = kernel.map_by_fd(static_cast<int>(attr.prog_bind_map.map_fd));
  if (map == nullptr) return wrong_descriptor(attr.prog_bind_map.map_fd);
  const auto has = [&](std::span<const std::shared_ptr<Map>> maps) {
    return std::find(maps.begin(), maps.end(), map) != maps.end();
  };
  if (!has(program->maps()) && !has(program->bound_maps())) program->bind(std::move(map));
  return 0;
}

long enable_stats(Kernel& kernel, bpf_attr& attr) {
  return attr.enable_stats.type == BPF_STATS_RUN_TIME ? kernel.enable_stats() : -EINVAL;
}

}  // namespace xnic::vm

// Objects without running them. What loads is listed from the emulated kernel; of what does not,
// libbpf relocates the programs over maps that all stand for one small array, which is enough to
// see helpers and maps. Left out: names of kfuncs. Test: tests/sim/object_listing_test.cpp.
#include "sim/object_listing.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>

#include "vm/btf.h"
#include "vm/hook.h"
#include "vm/interpreter.h"
#include "vm/isa.h"
#include "vm/kernel.h"
#include "vm/kernel_face.h"
#include "vm/kfunc.h"
#include "vm/loader.h"
#include "vm/object_file.h"
#include "vm/syscall.h"

namespace xnic::sim {
namespace {

constexpr uint8_t kLoadImmediate64 = BPF_LD | BPF_DW | BPF_IMM;

struct LoadedObject {
  vm::Interpreter engine;
  vm::Kernel kernel{engine};
  std::unique_ptr<vm::Object> object;
};

void add_once(std::vector<std::string>& names, std::string name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
}

std::string type_name(bpf_prog_type type) {
  const char* name = libbpf_bpf_prog_type_str(type);
  return name == nullptr ? "unknown" : name;
}

std::string type_name(bpf_map_type type) {
  const char* name = libbpf_bpf_map_type_str(type);
  return name == nullptr ? fmt::format("{}", static_cast<int>(type)) : name;
}

std::string hook_of(const std::string& section) {
  const auto hook = vm::hook_of_section(section);
  return hook ? std::string(vm::hook_name(*hook)) : std::string();
}

std::vector<std::string> helpers_of(const std::vector<bpf_insn>& instructions) {
  std::vector<std::string> names;
  for (size_t i = 0; i < instructions.size(); ++i) {
    const bpf_insn& insn = instructions[i];
    if (insn.code == kLoadImmediate64) {
      ++i;  // its second half holds no opcode
    } else if (insn.code == (BPF_JMP | BPF_CALL) && insn.src_reg == 0) {
      add_once(names, helper_name(insn.imm));
    } else if (insn.code == (BPF_JMP | BPF_CALL) && insn.src_reg == vm::kPseudoKfuncCall) {
      const vm::Kfunc* kfunc = vm::find_kfunc(insn.imm);
      add_once(names,
               kfunc == nullptr ? fmt::format("kfunc {}", insn.imm) : std::string(kfunc->row.name));
    }
  }
  return names;
}

ListedProgram listed(const vm::LoadedProgram& program, const vm::Object& object) {
  const auto instructions = program.program->instructions();
  ListedProgram row{.name = program.name,
                    .section = program.section,
                    .type = type_name(program.program->type()),
                    .hook = hook_of(program.section),
                    .tag = fmt::format("{:02x}", fmt::join(program.program->tag(), "")),
                    .helpers = {},
                    .maps = {},
                    .instructions = {instructions.begin(), instructions.end()},
                    .loaded = program.program};
  row.helpers = helpers_of(row.instructions);
  for (const auto& map : program.program->maps()) {
    for (const vm::LoadedMap& other : object.maps()) {
      if (other.map == map) add_once(row.maps, other.name);
    }
  }
  return row;
}

ListedMap listed(const vm::LoadedMap& map) {
  const vm::MapSpec& spec = map.map->spec();
  const auto named = [&](uint32_t id) {
    return map.map->btf == nullptr || id == 0 ? "" : std::string(map.map->btf->type_name(id));
  };
  return {map.name,
          type_name(spec.type),
          spec.key_size,
          spec.value_size,
          spec.max_entries,
          spec.flags,
          named(spec.btf_key_type_id),
          named(spec.btf_value_type_id)};
}

ObjectListing list_loaded(const std::string& path, std::shared_ptr<LoadedObject> loaded) {
  ObjectListing listing{
      .path = path, .refusal = {}, .notes = {}, .programs = {}, .maps = {}, .kernel = loaded};
  const vm::Object& object = *loaded->object;
  listing.notes.assign(object.notes().begin(), object.notes().end());
  for (const vm::LoadedProgram& program : object.programs()) {
    listing.programs.push_back(listed(program, object));
    listing.btf = listing.btf || program.program->spec().btf != nullptr;
  }
  for (const vm::LoadedMap& map : object.maps()) listing.maps.push_back(listed(map));
  return listing;
}

// An object that libbpf opened, with an emulated kernel under it.
class OpenedObject {
 public:
  explicit OpenedObject(const std::string& path) : scope_(kernel_) {
    auto opened = vm::ObjectFile::read(path).and_then([&](const std::vector<uint8_t>& bytes) {
      return vm::ObjectFile::open(path, bytes, {.configuration = vm::kernel_configuration()});
    });
    if (opened) file_ = std::move(*opened);
  }
  OpenedObject(const OpenedObject&) = delete;
  OpenedObject& operator=(const OpenedObject&) = delete;

  bool opened() const { return file_.has_value(); }
  bool has_btf() const { return bpf_object__btf(file_->object()) != nullptr; }

  std::vector<ListedMap> maps() const {
    std::vector<ListedMap> rows;
    const btf* types = bpf_object__btf(file_->object());
    const auto named = [types](uint32_t id) {
      const btf_type* type = types == nullptr || id == 0 ? nullptr : btf__type_by_id(types, id);
      const char* name = type == nullptr ? nullptr : btf__name_by_offset(types, type->name_off);
      return std::string(name == nullptr ? "" : name);
    };
    for_each_map([&](bpf_map* map) {
      rows.push_back({vm::shown_map_name(bpf_map__name(map), bpf_map__is_internal(map)),
                      type_name(bpf_map__type(map)), bpf_map__key_size(map),
                      bpf_map__value_size(map), bpf_map__max_entries(map), bpf_map__map_flags(map),
                      named(bpf_map__btf_key_type_id(map)),
                      named(bpf_map__btf_value_type_id(map))});
    });
    return rows;
  }

  // `maps` are this object's, in its order. Has libbpf relocate what it can first: each map gets a
  // descriptor of its own of one stand-in, so that instructions tell which they name.
  std::vector<ListedProgram> programs(const std::vector<ListedMap>& maps) {
    bpf_attr stand_in{};
    stand_in.map_type = BPF_MAP_TYPE_ARRAY;
    stand_in.key_size = 4;
    stand_in.value_size = 4;
    stand_in.max_entries = 1;
    const auto fd =
        static_cast<int>(vm::bpf_syscall(kernel_, BPF_MAP_CREATE, &stand_in, sizeof stand_in));
    for_each_map([fd](bpf_map* map) {
      bpf_map__set_pin_path(map, nullptr);
      bpf_map__reuse_fd(map, fd);
    });
    // Relocating is alike for all types, but for some libbpf first wants the kernel's own BTF.
    std::vector<bpf_prog_type> types;
    for_each_program([&types](bpf_program* program) {
      types.push_back(bpf_program__type(program));
      bpf_program__set_type(program, BPF_PROG_TYPE_XDP);
      bpf_program__set_autoload(program, true);
    });
    // A load that fails closes what it had; the instructions keep the numbers.
    std::vector<int> fds;
    for_each_map([&fds](bpf_map* map) { fds.push_back(bpf_map__fd(map)); });
    static_cast<void>(bpf_object__load(file_->object()));
    std::vector<ListedProgram> rows;
    for_each_program([&](bpf_program* program) {
      rows.push_back(row_of(program, types[rows.size()], maps, fds));
    });
    return rows;
  }

 private:
  template <class Visit>
  void for_each_map(Visit visit) const {
    bpf_map* map = nullptr;
    while ((map = bpf_object__next_map(file_->object(), map)) != nullptr) visit(map);
  }
  template <class Visit>
  void for_each_program(Visit visit) const {
    bpf_program* program = nullptr;
    while ((program = bpf_object__next_program(file_->object(), program)) != nullptr)
      visit(program);
  }

  static ListedProgram row_of(const bpf_program* program, bpf_prog_type type,
                              const std::vector<ListedMap>& maps, const std::vector<int>& fds) {
    const bpf_insn* first = bpf_program__insns(program);
    ListedProgram row{.name = bpf_program__name(program),
                      .section = bpf_program__section_name(program),
                      .type = type_name(type),
                      .hook = {},
                      .tag = {},
                      .helpers = {},
                      .maps = {},
                      .instructions = {first, first + bpf_program__insn_cnt(program)},
                      .loaded = nullptr};
    row.hook = hook_of(row.section);
    row.helpers = helpers_of(row.instructions);
    for (const bpf_insn& insn : row.instructions) {
      if (insn.code != kLoadImmediate64 ||
          (insn.src_reg != BPF_PSEUDO_MAP_FD && insn.src_reg != BPF_PSEUDO_MAP_VALUE)) {
        continue;
      }
      const auto at = std::find(fds.begin(), fds.end(), insn.imm);
      if (at != fds.end()) add_once(row.maps, maps[static_cast<size_t>(at - fds.begin())].name);
    }
    return row;
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_};
  vm::KernelScope scope_;
  std::optional<vm::ObjectFile> file_;
};

std::string listed_or_dash(const std::vector<std::string>& names) {
  return names.empty() ? "-" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string helper_name(int32_t id) {
#define XNIC_HELPER_NAME(name, ...) "bpf_" #name
  static constexpr std::array kNames = {__BPF_FUNC_MAPPER(XNIC_HELPER_NAME)};
#undef XNIC_HELPER_NAME
  if (id <= 0 || static_cast<size_t>(id) >= kNames.size()) return fmt::format("helper {}", id);
  return kNames[static_cast<size_t>(id)];
}

Result<ObjectListing> list_object(const std::string& path) {
  auto loaded = std::make_shared<LoadedObject>();
  auto object = vm::Object::load(loaded->kernel, path);
  if (object) {
    loaded->object = std::move(*object);
    return list_loaded(path, std::move(loaded));
  }
  const Error& why = object.error();
  // What the loader's trial did not survive must not be opened here.
  const bool damaged = why.message.starts_with(path + ": is damaged");
  if (damaged || why.message.starts_with(path + ": no such file")) {
    return tl::unexpected(why);
  }
  OpenedObject opened(path);
  if (!opened.opened()) return tl::unexpected(why);
  ObjectListing listing{.path = path,
                        .btf = opened.has_btf(),
                        .refusal = why.message,
                        .notes = {},
                        .programs = {},
                        .maps = opened.maps(),
                        .kernel = nullptr};
  listing.programs = opened.programs(listing.maps);
  return listing;
}

Result<ObjectListing> only_program(ObjectListing listing, const std::string& name) {
  if (name.empty()) return listing;
  std::erase_if(listing.programs,
                [&](const ListedProgram& program) { return program.name != name; });
  if (listing.programs.empty()) {
    return fail(ExitCode::usage, "{}: has no program {}; xnic prog lists them", listing.path, name);
  }
  return listing;
}

Json to_json(const ObjectListing& listing) {
  Json json;
  json["object"] = listing.path;
  json["btf"] = listing.btf;
  json["loads"] = listing.refusal.empty();
  if (!listing.refusal.empty()) json["refusal"] = listing.refusal;
  json["programs"] = Json::array();
  for (const ListedProgram& p : listing.programs) {
    json["programs"].push_back({{"name", p.name},
                                {"section", p.section},
                                {"type", p.type},
                                {"hook", p.hook.empty() ? Json(nullptr) : Json(p.hook)},
                                {"instructions", p.instructions.size()},
                                {"tag", p.tag.empty() ? Json(nullptr) : Json(p.tag)},
                                {"helpers", p.helpers},
                                {"maps", p.maps}});
  }
  json["maps"] = Json::array();
  for (const ListedMap& m : listing.maps) {
    json["maps"].push_back({{"name", m.name},
                            {"type", m.type},
                            {"key_size", m.key_size},
                            {"value_size", m.value_size},
                            {"max_entries", m.max_entries},
                            {"flags", m.flags},
                            {"key_type", m.key_type},
                            {"value_type", m.value_type}});
  }
  json["notes"] = listing.notes;
  return json;
}

std::string to_table(const ObjectListing& listing) {
  std::string text = fmt::format("object    {}\nBTF       {}\nloads     {}\n", listing.path,
                                 listing.btf ? "yes" : "no",
                                 listing.refusal.empty() ? "yes" : "no: " + listing.refusal);
  text += "\nprograms\n";
  for (const ListedProgram& p : listing.programs) {
    text += fmt::format("  {}\n    section {}, type {}, hook {}\n    {} instructions{}\n", p.name,
                        p.section, p.type, p.hook.empty() ? "by --attach" : p.hook,
                        p.instructions.size(), p.tag.empty() ? "" : ", tag " + p.tag);
    text += fmt::format("    helpers {}\n    maps    {}\n", listed_or_dash(p.helpers),
                        listed_or_dash(p.maps));
  }
  text += listing.maps.empty() ? "\nno maps\n" : "\nmaps\n";
  for (const ListedMap& m : listing.maps) {
    text += fmt::format(
        "  {}\n    {}, key {} bytes{}, value {} bytes{}, {} entries, flags {:#x}\n", m.name, m.type,
        m.key_size, m.key_type.empty() ? "" : " (" + m.key_type + ")", m.value_size,
        m.value_type.empty() ? "" : " (" + m.value_type + ")", m.max_entries, m.flags);
  }
  for (const std::string& note : listing.notes) text += "note: " + note + "\n";
  return text;
}

}  // namespace xnic::sim

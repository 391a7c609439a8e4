#include "sim/attachment.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

namespace xnic::sim {
namespace {

// One "[nic0/]HOOK=OBJECT[:PROGRAM]", taken apart.
struct Parsed {
  vm::HookPoint hook;
  std::string object;
  std::string program;
};

std::string hook_words() {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < vm::kHookPoints; i++) {
    names.push_back(vm::hook_name(static_cast<vm::HookPoint>(i)));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<Parsed> parse(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals + 1 == text.size()) {
    return fail(ExitCode::usage, "--attach {}: write it as HOOK=OBJECT[:PROGRAM]", text);
  }
  std::string hook = text.substr(0, equals);
  if (const size_t slash = hook.find('/'); slash != std::string::npos) {
    if (hook.substr(0, slash) != "nic0") {
      return fail(ExitCode::usage, "--attach {}: there is no interface {}; the only one is nic0",
                  text, hook.substr(0, slash));
    }
    hook.erase(0, slash + 1);
  }
  const auto point = vm::parse_hook(hook);
  if (!point) {
    return fail(ExitCode::usage, "--attach {}: there is no hook {}; the hooks are {}", text, hook,
                hook_words());
  }
  Parsed parsed{*point, text.substr(equals + 1), {}};
  // A colon belongs to the path where a file of that whole name exists.
  const size_t colon = parsed.object.rfind(':');
  if (colon != std::string::npos && !std::filesystem::exists(parsed.object)) {
    parsed.program = parsed.object.substr(colon + 1);
    parsed.object.erase(colon);
  }
  return parsed;
}

std::string list_programs(const vm::Object& object) {
  std::vector<std::string> lines;
  for (const vm::LoadedProgram& p : object.programs()) {
    lines.push_back(fmt::format("{} (section {})", p.name, p.section));
  }
  return fmt::format("{}", fmt::join(lines, ", "));
}

class Attacher {
 public:
  Attacher(vm::Kernel& kernel, const AttachRequest& request)
      : kernel_(kernel),
        options_{.btf_path = request.btf, .programs = wanted(request), .device = vm::kNicIfindex},
        device_(*kernel.device(vm::kNicIfindex)) {
    done_.hooks = &device_.hooks;
  }

  Result<void> by_section(const std::string& path, const std::string& name) {
    auto object = open(path);
    if (!object) return tl::unexpected(object.error());
    bool any = false;
    for (const vm::LoadedProgram& program : (*object)->programs()) {
      if (!name.empty() && program.name != name) continue;
      const auto hook = vm::hook_of_section(program.section);
      if (!hook) continue;
      if (taken(*hook)) {
        return fail(ExitCode::usage,
                    "{}: more than one program wants {}; pick one with --program NAME or say where "
                    "with --attach: {}",
                    path, vm::hook_name(*hook), list_programs(**object));
      }
      if (auto put = attach(*hook, program, path); !put) return put;
      any = true;
    }
    if (any) return {};
    if (!name.empty()) return no_such_program(**object, name);
    return fail(ExitCode::usage, "{}: no section name says where to attach; use --attach: {}", path,
                list_programs(**object));
  }

  Result<void> outright(const std::string& text) {
    const auto parsed = parse(text);
    if (!parsed) return tl::unexpected(parsed.error());
    auto object = open(parsed->object);
    if (!object) return tl::unexpected(object.error());
    const bpf_prog_type type = vm::hook_program_type(parsed->hook);
    const vm::LoadedProgram* chosen = nullptr;
    for (const vm::LoadedProgram& program : (*object)->programs()) {
      if (parsed->program.empty() ? program.program->type() != type
                                  : program.name != parsed->program) {
        continue;
      }
      if (chosen != nullptr) {
        return fail(ExitCode::usage, "--attach {}: pick a program with OBJECT:PROGRAM: {}", text,
                    list_programs(**object));
      }
      chosen = &program;
    }
    if (chosen == nullptr && !parsed->program.empty()) {
      return no_such_program(**object, parsed->program);
    }
    if (chosen == nullptr) {
      return fail(ExitCode::usage, "--attach {}: no program of the object fits this hook: {}", text,
                  list_programs(**object));
    }
    if (taken(parsed->hook)) {
      return fail(ExitCode::usage, "--attach {}: {} already has {}", text,
                  vm::hook_name(parsed->hook),
                  done_.name_of(*device_.hook(parsed->hook).single().program));
    }
    return attach(parsed->hook, *chosen, parsed->object);
  }

  Attachments take() { return std::move(done_); }

 private:
  Result<vm::Object*> open(const std::string& path) {
    for (const auto& object : done_.objects) {
      if (object->path() == path) return object.get();
    }
    auto object = vm::Object::load(kernel_, path, options_);
    if (!object) return tl::unexpected(object.error());
    done_.objects.push_back(std::move(*object));
    return done_.objects.back().get();
  }

  Result<void> attach(vm::HookPoint hook, const vm::LoadedProgram& program,
                      const std::string& path) {
    if (program.program->type() != vm::hook_program_type(hook)) {
      return fail(ExitCode::usage, "{}: program {} (section {}) is of another type than {} takes",
                  path, program.name, program.section, vm::hook_name(hook));
    }
    if (program.program->spec().ifindex != 0 && hook != vm::HookPoint::xdp_native) {
      return fail(ExitCode::program_rejected,
                  "{}: program {} asks the device for metadata (bpf_xdp_metadata_*), which can be "
                  "answered at xdp.native alone; attach it there",
                  path, program.name);
    }
    // As a driver would say: a page has no room for such a packet, and the program takes no more.
    constexpr uint32_t kLargestMtu = vm::kLinearSize - vm::kEthernetHeader;
    const bool frags = (program.program->spec().flags & BPF_F_XDP_HAS_FRAGS) != 0;
    const uint32_t mtu = kernel_.network().by_index(vm::kNicIfindex)->mtu;
    if (hook == vm::HookPoint::xdp_native && !frags && mtu > kLargestMtu) {
      return fail(ExitCode::program_rejected,
                  "{}: program {} takes packets of one buffer only (its section is no "
                  "xdp.frags), and the MTU of {} does not fit one: at most {}",
                  path, program.name, mtu, kLargestMtu);
    }
    device_.hook(hook).attach(program.program);
    return {};
  }

  bool taken(vm::HookPoint hook) { return device_.hook(hook).single().program != nullptr; }

  static tl::unexpected<Error> no_such_program(const vm::Object& object, const std::string& name) {
    return fail(ExitCode::usage, "{}: has no program {} that can be attached; it has {}",
                object.path(), name, list_programs(object));
  }

  // The programs that are named, so that those load whose section holds them back.
  static std::vector<std::string> wanted(const AttachRequest& request) {
    std::vector<std::string> names;
    if (!request.program.empty()) names.push_back(request.program);
    for (const std::string& text : request.attach) {
      if (const auto parsed = parse(text); parsed && !parsed->program.empty()) {
        names.push_back(parsed->program);
      }
    }
    return names;
  }

  vm::Kernel& kernel_;
  vm::ObjectOptions options_;
  vm::NetDevice& device_;
  Attachments done_;
};

}  // namespace

const std::string& Attachments::name_of(const vm::Program& program) const {
  for (const auto& object : objects) {
    for (const vm::LoadedProgram& loaded : object->programs()) {
      if (loaded.program.get() == &program) return loaded.name;
    }
  }
  return program.spec().name;
}

Result<Attachments> attach_programs(vm::Kernel& kernel, const AttachRequest& request) {
  Attacher attacher(kernel, request);
  for (const std::string& text : request.attach) {
    if (auto done = attacher.outright(text); !done) return tl::unexpected(done.error());
  }
  if (request.object) {
    if (auto done = attacher.by_section(*request.object, request.program); !done) {
      return tl::unexpected(done.error());
    }
  }
  return attacher.take();
}

Result<std::vector<vm::Map*>> find_maps(const Attachments& attachments, const std::string& name) {
  std::vector<vm::Map*> found;
  std::vector<std::string> names;
  for (const auto& object : attachments.objects) {
    for (const vm::LoadedMap& map : object->maps()) {
      names.push_back(map.name);
      if (map.name == name) found.push_back(map.map.get());
    }
  }
  if (!found.empty()) return found;
  return fail(ExitCode::usage, "--map {}: there is no map of this name; {}", name,
              names.empty() ? "the objects have none"
                            : fmt::format("there are {}", fmt::join(names, ", ")));
}

}  // namespace xnic::sim

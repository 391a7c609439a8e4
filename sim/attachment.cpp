// Programs from the command line at the hooks of interfaces.
// Test: tests/sim/run_command_test.cpp, tests/sim/command_malformed_test.cpp.
#include "sim/attachment.h"

#include <fmt/ranges.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

namespace xnic::sim {
namespace {

// One "[INTERFACE/]HOOK=OBJECT[:PROGRAM][,OPTION]...", taken apart.
struct Parsed {
  std::string interface;  // empty: where none is named
  vm::HookPoint hook;
  std::string object;
  std::string program;
  std::optional<vm::TcFilter> filter;
};

std::string hook_words() {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < vm::kHookPoints; i++) {
    names.push_back(vm::hook_name(static_cast<vm::HookPoint>(i)));
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

struct ActionName {
  std::string_view name;
  int32_t code;
};
constexpr std::array kActions = {
    ActionName{"ok", TC_ACT_OK},     ActionName{"drop", TC_ACT_SHOT},
    ActionName{"pipe", TC_ACT_PIPE}, ActionName{"continue", TC_ACT_UNSPEC},
    ActionName{"trap", TC_ACT_TRAP},
};

// "1:10", both parts hexadecimal.
bool parse_classid(std::string_view text, uint32_t& classid) {
  const auto part = [](std::string_view digits, uint32_t& value) {
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return error == std::errc() && end == digits.data() + digits.size() && value <= UINT16_MAX;
  };
  const size_t colon = text.find(':');
  uint32_t major = 0;
  uint32_t minor = 0;
  if (colon == std::string_view::npos || !part(text.substr(0, colon), major) ||
      (colon + 1 != text.size() && !part(text.substr(colon + 1), minor))) {
    return false;
  }
  classid = major << 16 | minor;
  return true;
}

// False for what is no option, or one with a wrong value.
bool parse_option(std::string_view option, vm::TcFilter& filter) {
  constexpr std::string_view kClassid = "classid=";
  constexpr std::string_view kAction = "action=";
  if (option == "classifier") {
    filter.direct_action = false;
    return true;
  }
  if (option.starts_with(kClassid)) {
    return parse_classid(option.substr(kClassid.size()), filter.classid);
  }
  if (!option.starts_with(kAction)) return false;
  const auto* action =
      std::ranges::find(kActions, option.substr(kAction.size()), &ActionName::name);
  if (action == kActions.end()) return false;
  filter.action = static_cast<uint32_t>(action->code);
  return true;
}

// Takes the options off the end of "OBJECT[:PROGRAM],OPTION,...".
Result<void> take_options(const std::string& text, Parsed& parsed) {
  std::string& rest = parsed.object;
  bool acts = false;
  while (!std::filesystem::exists(rest)) {
    const size_t comma = rest.rfind(',');
    if (comma == std::string::npos) break;
    const std::string option = rest.substr(comma + 1);
    if (!parsed.filter) parsed.filter.emplace();
    if (!parse_option(option, *parsed.filter)) {
      return fail(ExitCode::usage,
                  "--attach {}: '{}' is no option; there are classifier, classid=MAJOR:MINOR and "
                  "action=ok|drop|pipe|continue|trap",
                  text, option);
    }
    acts = acts || option.starts_with("action=");
    rest.erase(comma);
  }
  if (!parsed.filter) return {};
  if (vm::hook_program_type(parsed.hook) != BPF_PROG_TYPE_SCHED_CLS) {
    return fail(ExitCode::usage, "--attach {}: only tc.ingress and tc.egress have options", text);
  }
  if (acts && parsed.filter->direct_action) {
    return fail(ExitCode::usage,
                "--attach {}: a program of direct action gives the action itself; add classifier",
                text);
  }
  return {};
}

Result<Parsed> parse(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals + 1 == text.size()) {
    return fail(ExitCode::usage, "--attach {}: write it as HOOK=OBJECT[:PROGRAM]", text);
  }
  std::string hook = text.substr(0, equals);
  std::string interface;
  if (const size_t slash = hook.find('/'); slash != std::string::npos) {
    interface = hook.substr(0, slash);
    hook.erase(0, slash + 1);
  }
  const auto point = vm::parse_hook(hook);
  if (!point) {
    return fail(ExitCode::usage, "--attach {}: there is no hook {}; the hooks are {}", text, hook,
                hook_words());
  }
  Parsed parsed{std::move(interface), *point, text.substr(equals + 1), {}, {}};
  if (auto taken = take_options(text, parsed); !taken) return tl::unexpected(taken.error());
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
        options_{.btf_path = request.btf,
                 .programs = wanted(request),
                 .device = vm::kNicIfindex,
                 .keeps = request.keeps,
                 .tried = request.tried},
        replaces_(request.replaces),
        done_(kernel) {}

  Result<void> by_section(const std::string& path, const std::string& name) {
    const vm::Interface* interface = kernel_.network().by_index(vm::kNicIfindex);
    if (interface == nullptr) {
      return fail(ExitCode::usage,
                  "{}: no interface has the index {}, where section names attach; say where with "
                  "--attach INTERFACE/HOOK=OBJECT",
                  path, vm::kNicIfindex);
    }
    auto object = open(path);
    if (!object) return tl::unexpected(object.error());
    bool any = false;
    for (const vm::LoadedProgram& program : (*object)->programs()) {
      if (!name.empty() && program.name != name) continue;
      const auto hook = vm::hook_of_section(program.section);
      if (!hook) continue;
      if (taken(*interface, *hook)) {
        return fail(ExitCode::usage,
                    "{}: more than one program wants {}; pick one with --program NAME or say where "
                    "with --attach: {}",
                    path, vm::hook_name(*hook), list_programs(**object));
      }
      if (auto put = attach(*interface, *hook, program, path); !put) return put;
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
    const auto interface = interface_of(*parsed, text);
    if (!interface) return tl::unexpected(interface.error());
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
    if (taken(**interface, parsed->hook)) {
      return fail(ExitCode::usage, "--attach {}: {} already has {}", text,
                  vm::hook_name(parsed->hook),
                  done_.name_of(*hook_of(**interface, parsed->hook).single().program));
    }
    auto put = attach(**interface, parsed->hook, *chosen, parsed->object);
    if (put && parsed->filter) hook_of(**interface, parsed->hook).set_filter(*parsed->filter);
    return put;
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

  Result<const vm::Interface*> interface_of(const Parsed& parsed, const std::string& text) {
    const vm::Network& network = kernel_.network();
    const vm::Interface* named = parsed.interface.empty() ? network.by_index(vm::kNicIfindex)
                                                          : network.by_name(parsed.interface);
    if (named == nullptr) {
      std::vector<std::string> names;
      for (const vm::Interface& known : network.interfaces) names.push_back(known.name);
      return fail(
          ExitCode::usage, "--attach {}: there is no interface {}; there are {}", text,
          parsed.interface.empty() ? fmt::format("of index {}", vm::kNicIfindex) : parsed.interface,
          fmt::join(names, ", "));
    }
    const bool in_card = parsed.hook == vm::HookPoint::xdp_offload;
    if (named->ifindex == vm::kLoopbackIfindex &&
        (in_card || parsed.hook == vm::HookPoint::xdp_native)) {
      return fail(ExitCode::usage, "--attach {}: {} has no driver that runs XDP; use xdp.generic",
                  text, named->name);
    }
    return named;
  }

  vm::Hook& hook_of(const vm::Interface& interface, vm::HookPoint hook) {
    return kernel_.device(interface.ifindex)->hook(hook);
  }

  Result<void> attach(const vm::Interface& interface, vm::HookPoint hook,
                      const vm::LoadedProgram& program, const std::string& path) {
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
    const uint32_t mtu = interface.mtu;
    if (hook == vm::HookPoint::xdp_native && !frags && mtu > kLargestMtu) {
      return fail(ExitCode::program_rejected,
                  "{}: program {} takes packets of one buffer only (its section is no "
                  "xdp.frags), and the MTU of {}, {}, does not fit one: at most {}",
                  path, program.name, interface.name, mtu, kLargestMtu);
    }
    hook_of(interface, hook).attach(program.program);
    filled_.push_back(&hook_of(interface, hook));
    return {};
  }

  bool taken(const vm::Interface& interface, vm::HookPoint hook) {
    const vm::Hook& there = hook_of(interface, hook);
    const bool ours = std::ranges::find(filled_, &there) != filled_.end();
    return ours || (!replaces_ && there.single().program != nullptr);
  }

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
  bool replaces_;
  std::vector<const vm::Hook*> filled_;  // by this request
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

Result<std::vector<vm::Map*>> find_maps(const Attachments& attachments, const std::string& name,
                                        std::string_view option) {
  std::vector<vm::Map*> found;
  std::vector<std::string> names;
  for (const auto& object : attachments.objects) {
    for (const vm::LoadedMap& map : object->maps()) {
      names.push_back(map.name);
      if (map.name == name) found.push_back(map.map.get());
    }
  }
  if (!found.empty()) return found;
  return fail(ExitCode::usage, "{} {}: there is no map of this name; {}", option, name,
              names.empty() ? "the objects have none"
                            : fmt::format("there are {}", fmt::join(names, ", ")));
}

}  // namespace xnic::sim

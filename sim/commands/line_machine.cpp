// Test: tests/sim/line_command_test.cpp.
#include "sim/commands/line_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "nic/profile.h"
#include "sim/commands/map_options.h"
#include "sim/commands/options.h"
#include "sim/net_file.h"

namespace xnic::sim {
namespace {

// The machine whose interfaces are the ports: --net's, or nic0, nic1, ... as the ports are.
Result<vm::Network> network_of(const LineArguments& a, const std::vector<nic::Port*>& ports,
                               uint32_t threads) {
  if (!a.networks.empty()) return read_network(a.networks);
  vm::Network network = vm::Network::with_nic0();
  network.interfaces.resize(1);
  for (size_t i = 0; i < ports.size(); ++i) {
    const nic::PortFacts& facts = ports[i]->facts();
    network.interfaces.push_back({.ifindex = vm::kNicIfindex + static_cast<uint32_t>(i),
                                  .name = fmt::format("nic{}", i),
                                  .mac = facts.mac,
                                  .mtu = facts.mtu,
                                  .queues = threads});
  }
  return network;
}

// Each port's interface: the one it names, or the next in the order of their indices.
Result<std::vector<uint32_t>> interfaces_of(const std::vector<PortWord>& words,
                                            const vm::Network& network) {
  std::vector<uint32_t> chosen;
  uint32_t next = vm::kNicIfindex;
  for (const PortWord& word : words) {
    const vm::Interface* interface = nullptr;
    if (word.interface.empty()) {
      while (interface == nullptr && next <= network.interfaces.back().ifindex) {
        interface = network.by_index(next++);
      }
      if (interface == nullptr) {
        return fail(ExitCode::usage, "--port {}: --net has no interface left for it", word.name);
      }
    } else {
      interface = network.by_name(word.interface);
      if (interface == nullptr || interface->ifindex == vm::kLoopbackIfindex) {
        return fail(ExitCode::usage, "--port {}={}: no interface {} can be a port", word.interface,
                    word.name, word.interface);
      }
    }
    if (std::ranges::find(chosen, interface->ifindex) != chosen.end()) {
      return fail(ExitCode::usage, "--port {}: {} is another port's already", word.name,
                  interface->name);
    }
    chosen.push_back(interface->ifindex);
  }
  return chosen;
}

using Programs = std::array<vm::Attached, vm::kHookPoints>;

Programs programs_of(const Hooks* hooks) {
  Programs programs;
  for (size_t i = 0; hooks != nullptr && i < programs.size(); ++i)
    programs[i] = (*hooks)[i].single();
  return programs;
}

// The programs that an object's sections attach to the first port, where other ones were `before`,
// are for all of them.
void attach_everywhere(const InterfaceHooks& hooks, const std::vector<uint32_t>& interfaces,
                       const Programs& before) {
  const Hooks* first = hooks.of(vm::kNicIfindex);
  if (first == nullptr) return;
  for (const uint32_t ifindex : interfaces) {
    if (ifindex == vm::kNicIfindex) continue;
    Hooks& others = *hooks.of(ifindex);
    for (size_t point = 0; point < others.size(); ++point) {
      const auto& program = (*first)[point].single().program;
      if (program != before[point].program) others[point].attach(program);
    }
  }
}

}  // namespace

// The equals signs of a device's own arguments stand behind a colon.
PortWord parse_port_word(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals > text.find(':'))
    return {.interface = "", .name = text};
  return {.interface = text.substr(0, equals), .name = text.substr(equals + 1)};
}

Result<std::unique_ptr<LineMachine>> LineMachine::make(const LineArguments& a,
                                                       const std::vector<PortWord>& words,
                                                       const std::vector<nic::Port*>& ports,
                                                       uint32_t threads) {
  auto machine = std::make_unique<LineMachine>();
  auto network = network_of(a, ports, threads);
  if (!network) return tl::unexpected(network.error());
  machine->engine = make_engine(a.engine, false);
  machine->kernel.emplace(
      *machine->engine,
      vm::KernelOptions{.possible_cpus = threads, .seed = a.seed, .network = std::move(*network)});
  auto interfaces = interfaces_of(words, machine->kernel->network());
  if (!interfaces) return tl::unexpected(interfaces.error());
  machine->interfaces = std::move(*interfaces);
  AttachRequest attach{
      .object = std::nullopt, .program = a.program, .attach = a.attach, .btf = a.btf};
  if (!a.object.empty()) attach.object = a.object;
  auto attachments = attach_programs(*machine->kernel, attach);
  if (!attachments) return tl::unexpected(attachments.error());
  machine->attachments = std::move(*attachments);
  if (a.attach.empty()) attach_everywhere(machine->attachments->hooks, machine->interfaces, {});
  machine->btf = a.btf;
  if (auto filled = fill_maps(*machine->attachments, a.maps); !filled) {
    return tl::unexpected(filled.error());
  }
  return machine;
}

Result<RunOptions> LineMachine::run_options(const LineArguments& a, uint32_t threads) const {
  auto profile = nic::load_profile("generic-100g", {fmt::format("host.cores={}", threads),
                                                    fmt::format("receive.queues={}", threads)});
  if (!profile) return tl::unexpected(profile.error());
  return RunOptions{.profile = *profile,
                    .seed = a.seed,
                    .mtu = a.mtu,
                    .trace = [](std::string_view text) { fmt::print(stderr, "trace: {}\n", text); },
                    .network = &kernel->network()};
}

Result<void> LineMachine::replace_programs(AttachRequest request) {
  struct Before {
    vm::Hook* hook;
    vm::Attached program;
    vm::TcFilter filter;
  };
  const Programs first = programs_of(attachments->hooks.of(vm::kNicIfindex));
  std::vector<Before> before;
  for (const InterfaceHooks::Entry& interface : attachments->hooks.all()) {
    for (vm::Hook& hook : *interface.hooks) before.push_back({&hook, hook.single(), hook.filter()});
  }
  auto made = attach_programs(*kernel, request);
  if (!made) {
    for (const Before& one : before) {
      one.hook->attach(one.program.program, one.program.link);
      one.hook->set_filter(one.filter);
    }
    return tl::unexpected(made.error());
  }
  if (request.attach.empty()) attach_everywhere(attachments->hooks, interfaces, first);
  for (auto& object : made->objects) attachments->objects.push_back(std::move(object));
  return {};
}

std::vector<vm::LoadedMap> LineMachine::maps() const {
  std::vector<vm::LoadedMap> maps;
  for (const auto& object : attachments->objects) {
    for (const vm::LoadedMap& map : object->maps()) {
      const auto known = std::ranges::find(maps, map.name, &vm::LoadedMap::name);
      if (known == maps.end()) {
        maps.push_back(map);
      } else {
        known->map = map.map;
      }
    }
  }
  return maps;
}

const std::string& LineMachine::interface_name(size_t port) const {
  return kernel->network().by_index(interfaces[port])->name;
}

}  // namespace xnic::sim

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vm/invocation.h"
#include "vm/program.h"
#include "vm/program_type.h"

namespace xnic::vm {

enum class HookPoint : uint8_t { xdp_offload, xdp_native, xdp_generic, tc_ingress, tc_egress };
inline constexpr size_t kHookPoints = 5;

// The words of the command line and of every output: "xdp.offload", ..., "tc.egress".
std::string_view hook_name(HookPoint point);
std::optional<HookPoint> parse_hook(std::string_view name);
// Where a program of this ELF section attaches, by the table of vm/section.h: "xdp" natively, "tc"
// at tc.ingress, "tc/egress" at tc.egress.
std::optional<HookPoint> hook_of_section(std::string_view section);
// The program type that attaches there.
bpf_prog_type hook_program_type(HookPoint point);

// What one run of a hook did to one packet.
struct HookResult {
  Action action = Action::pass;
  std::string_view verdict;  // static string, "XDP_DROP"
  uint32_t code = 0;         // r0 as Linux takes it: of tc, the 32 low bits, -1 is 0xffffffff
  uint32_t length_in = 0;    // bytes
  uint32_t length_out = 0;   // bytes
  uint64_t instructions = 0;
  Redirect redirect;
  bool fault = false;
};

struct HookStatistics {
  uint64_t runs = 0;
  uint64_t faults = 0;
  uint64_t instructions = 0;
  std::map<std::string_view, uint64_t> verdicts;
};

// An attach point with its program. What a program does to a packet here is written once, in
// run(); the untimed replay, the SystemC model and the DPDK data path all call it.
class Hook {
 public:
  explicit Hook(HookPoint point) : point_(point) {}

  HookPoint point() const { return point_; }
  bool attached() const { return program_ != nullptr; }
  const Program* program() const { return program_.get(); }
  // Replaces what was attached.
  void attach(std::shared_ptr<const Program> program) { program_ = std::move(program); }

  // Runs the attached program (there must be one) on the packet.
  HookResult run(Packet& packet, Environment& environment);

  const HookStatistics& statistics() const { return statistics_; }
  // Sentences of the first faults, at most 16.
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  HookPoint point_;
  std::shared_ptr<const Program> program_;
  HookStatistics statistics_;
  std::vector<std::string> faults_;
};

}  // namespace xnic::vm

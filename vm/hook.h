#pragma once

#include <linux/pkt_cls.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vm/attach_point.h"
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

// What one run of a hook did to one packet. Where to, the Invocation's redirect says.
struct HookResult {
  Action action = Action::pass;
  std::string_view verdict;  // static string, "XDP_DROP"
  uint32_t code = 0;         // r0 as Linux takes it: of tc, the 32 low bits, -1 is 0xffffffff
  uint32_t length_in = 0;    // bytes
  uint32_t length_out = 0;   // bytes
  uint64_t instructions = 0;
  uint64_t cost = 0;  // Invocation::cost
  bool fault = false;
};

// How a classic filter of tc takes what its program returns (cls_bpf).
struct TcFilter {
  // The code is the action. Otherwise it says whether the packet matches: 0 does not, -1 does and
  // is of the filter's class, any other code does and is the class.
  bool direct_action = true;
  uint32_t classid = 0;         // of the filter, major number in the upper half
  uint32_t action = TC_ACT_OK;  // what follows a match, without direct_action
};

struct HookStatistics {
  uint64_t runs = 0;
  uint64_t faults = 0;
  uint64_t instructions = 0;
  std::map<std::string_view, uint64_t> verdicts;
};

// An attach point of a device with its programs, whoever attached them: the command line or a link
// of bpf(2). XDP has one program. tc has those of tcx in their order, then one as a classic filter,
// with direct action or as a classifier.
// What programs do to a packet here is written once, in run(); the untimed replay, the SystemC
// model and the DPDK data path all call it.
class Hook {
  struct Runner;

 public:
  explicit Hook(HookPoint point) : point_(point) {}

  HookPoint point() const { return point_; }
  bool attached() const { return single_.program != nullptr || !tcx_.attached().empty(); }
  // The XDP program, or the classic filter. Attaching replaces what was there.
  const Attached& single() const { return single_; }
  void attach(std::shared_ptr<const Program> program, uint32_t link = 0) {
    single_ = {std::move(program), link};
  }
  void detach() { single_ = {}; }
  void set_filter(const TcFilter& filter) { filter_ = filter; }
  const TcFilter& filter() const { return filter_; }
  AttachPoint& tcx() { return tcx_; }

  // Runs the attached programs on the packet until one decides, and gives what that one did;
  // `visit` sees each: (const Program&, const HookResult&). A tcx program decides by TC_ACT_OK,
  // TC_ACT_SHOT and TC_ACT_REDIRECT; TC_ACT_UNSPEC (TCX_NEXT) leads to the next of tcx, any other
  // code to the classic filter. Where nobody decides, the packet passes. The invocation is a fresh
  // one; redirect and clones are left in it.
  template <class Visit>
  HookResult run(Invocation& invocation, Visit visit) {
    HookResult result;
    for (const Attached& one : tcx_.attached()) {
      run_one(one.program, nullptr, invocation, result);
      const Tcx next = result.fault ? Tcx::decided : tcx_of(result.code);
      if (next != Tcx::decided) result.action = Action::pass;
      visit(*one.program, result);
      if (next == Tcx::decided) return result;
      invocation.begin_again();
      if (next == Tcx::classic) break;
    }
    if (single_.program != nullptr) {
      run_one(single_.program, is_tc() ? &filter_ : nullptr, invocation, result);
      visit(*single_.program, result);
    }
    return result;
  }
  // The program of a hook that has no other, for the packets of a burst: gives its action for one
  // after the other. Until programs are attached or detached.
  class Single {
   public:
    Action run(Invocation& invocation) {
      return hook_->run_counted(*runner_, nullptr, invocation).action;
    }

   private:
    friend class Hook;
    Single(Hook& hook, Runner& runner) : hook_(&hook), runner_(&runner) {}

    Hook* hook_;
    Runner* runner_;
  };
  // Nothing where there is none, or at tc.
  std::optional<Single> single_xdp() {
    if (is_tc() || single_.program == nullptr) return std::nullopt;
    return Single(*this, runner_of(single_.program));
  }

  // A packet that waits for this hook, and the machine that it will see.
  struct Waiting {
    Packet* packet;
    Environment* environment;
  };
  // Whether what runs here has a prologue, so that prefetch() does anything.
  bool prefetches() const { return prologue() != nullptr; }
  // Starts fetching what runs here for these packets will look up first. Changes nothing. Some 32
  // packets at a time fit the caches.
  void prefetch(std::span<const Waiting> waiting) const;

  HookResult run(Packet& packet, Environment& environment) {
    Invocation invocation(packet, environment);
    return run(invocation, [](const Program&, const HookResult&) {});
  }

  // What one program did here.
  struct ProgramRuns {
    std::shared_ptr<const Program> program;
    HookStatistics statistics;
  };
  // Of every program that is or was attached and ran, and of those that are attached now.
  std::vector<ProgramRuns> program_runs() const;
  // All programs together.
  HookStatistics statistics() const;
  // Sentences of the first faults, at most 16.
  std::vector<std::string> faults() const;
  // The same programs, which have not run: for a thread of its own.
  Hook fresh_copy() const;
  // Counts as its own what such a copy counted; packets of lower ids were there earlier.
  void add(const Hook& copy);

 private:
  enum class Tcx : uint8_t { decided, next, classic };
  static Tcx tcx_of(uint32_t code);
  const Prologue* prologue() const {
    const auto& first = tcx_.attached().empty() ? single_.program : tcx_.attached().front().program;
    return first == nullptr ? nullptr : first->prologue();
  }
  bool is_tc() const { return point_ >= HookPoint::tc_ingress; }
  // Programs give few codes; the last counter is that of all others, which have one name.
  static constexpr size_t kCodesCounted = 16;
  // A program that runs here, or ran, what is made of its codes, and what it did.
  struct Runner {
    explicit Runner(std::shared_ptr<const Program> one);

    std::shared_ptr<const Program> program;
    const Code* code;
    const ProgramType* type;
    std::array<Action, kCodesCounted> actions;
    std::array<uint64_t, kCodesCounted> codes{};
    uint64_t faults = 0;
    uint64_t instructions = 0;

    HookStatistics statistics() const;
  };
  struct FaultSeen {
    uint64_t packet_id;
    std::string sentence;
  };

  // What a run made of the packet.
  struct Ran {
    uint32_t code;
    Action action;
  };
  // Every run of a program at a hook comes by here. `filter` is of classic tc filters alone.
  Ran run_counted(Runner& runner, const TcFilter* filter, Invocation& invocation) {
    const uint64_t r0 = invocation.environment.counts_runs ? run_on_the_clock(runner, invocation)
                                                           : runner.code->run(invocation);
    runner.instructions += invocation.instructions;
    auto code = static_cast<uint32_t>(r0);
    if (invocation.fault) {
      code = note_fault(runner, invocation);
    } else if (filter != nullptr) {
      code = classify(*filter, code, invocation.packet);
    }
    const size_t counted = code < kCodesCounted ? code : kCodesCounted - 1;
    ++runner.codes[counted];
    return {code, invocation.fault ? Action::aborted : runner.actions[counted]};
  }
  static uint64_t run_on_the_clock(const Runner& runner, Invocation& invocation);
  void run_one(const std::shared_ptr<const Program>& program, const TcFilter* filter,
               Invocation& invocation, HookResult& result);
  // Gives the code that stands for a fault.
  uint32_t note_fault(Runner& runner, const Invocation& invocation);
  // What the filter makes of its program's code, and the class it gives the packet.
  static uint32_t classify(const TcFilter& filter, uint32_t code, Packet& packet);
  Runner& runner_of(const std::shared_ptr<const Program>& program);

  HookPoint point_;
  Attached single_;
  TcFilter filter_;
  AttachPoint tcx_;
  std::vector<Runner> runners_;
  std::vector<FaultSeen> faults_;  // in the order of the packets
};

// The hooks of one device, by HookPoint.
using Hooks = std::array<Hook, kHookPoints>;
inline Hooks make_hooks() {
  return {Hook(HookPoint::xdp_offload), Hook(HookPoint::xdp_native), Hook(HookPoint::xdp_generic),
          Hook(HookPoint::tc_ingress), Hook(HookPoint::tc_egress)};
}

}  // namespace xnic::vm

// Loops over open-coded iterators: that they get the verdicts that Linux gives, after as many
// instructions, and that they then do the same.
#include "vm/verifier/iterators.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/bpf_host.h"
#include "tests/vm/kfunc_ids.h"
#include "tests/vm/verifier/load_judged.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

constexpr int16_t kPlace = -8;

class Words {
 public:
  explicit Words(bool real) : ids_(real) {}

  Instructions begin(int32_t first, int32_t last, int16_t place = kPlace) const {
    return {move(r1, r10), alu(BPF_ADD, r1, place), move(r2, first), move(r3, last),
            call_kfunc(ids_, "bpf_iter_num_new")};
  }
  Instructions next(int16_t place = kPlace) const { return use("bpf_iter_num_next", place); }
  Instructions end(int16_t place = kPlace) const { return use("bpf_iter_num_destroy", place); }
  // for (...) body; r0 points to the number.
  Instructions loop(const Instructions& body, int16_t place = kPlace) const {
    const auto length = static_cast<int16_t>(body.size());
    return next(place) + Instructions{jump(BPF_JEQ, r0, 0, static_cast<int16_t>(length + 1))} +
           body + Instructions{jump(BPF_JA, r0, 0, static_cast<int16_t>(-length - 5))};
  }

 private:
  Instructions use(const char* name, int16_t place) const {
    return {move(r1, r10), alu(BPF_ADD, r1, place), call_kfunc(ids_, name)};
  }

  FunctionIds ids_;
};

struct Row {
  const char* name;
  bool accepted;
  std::function<Instructions(const Words&)> program;
};

const Instructions kDone = {move(r0, 2), leave()};
const Instructions kSum = {load(4, r1, r0, 0), alu(BPF_ADD, r6, r1)};
const Instructions kGiveSum = {move(r0, r6), leave()};

std::vector<Row> rows() {
  const Instructions from_zero = {move(r6, 0)};
  return {
      {"a sum", true,
       [=](const Words& w) {
         return from_zero + w.begin(0, 10) + w.loop(kSum) + w.end() + kGiveSum;
       }},
      {"a loop in a loop", true,
       [=](const Words& w) {
         return from_zero + w.begin(3, 9) +
                w.loop(w.begin(0, 100, -16) + w.loop(kSum, -16) + w.end(-16)) + w.end() + kGiveSum;
       }},
      {"an index that is checked", true,
       [=](const Words& w) {
         return Instructions{store(8, r10, -24, 7), store(8, r10, -16, 9), move(r6, 0)} +
                w.begin(0, 1000) +
                w.loop({load(4, r1, r0, 0), jump(BPF_JGT, r1, 15, 4), move(r2, r10),
                        alu(BPF_ADD, r2, -24), alu(BPF_ADD, r2, r1), load(1, r6, r2, 0)}) +
                w.end() + kGiveSum;
       }},
      {"an index that is not checked", false,
       [=](const Words& w) {
         return Instructions{store(8, r10, -24, 7), store(8, r10, -16, 9), move(r6, 0)} +
                w.begin(0, 10) +
                w.loop({load(4, r1, r0, 0), move(r2, r10), alu(BPF_ADD, r2, -24),
                        alu(BPF_ADD, r2, r1), load(1, r6, r2, 0)}) +
                w.end() + kGiveSum;
       }},
      {"a count that a branch relies on", false,
       [=](const Words& w) {
         return Instructions{store(8, r10, -24, 7), move(r6, 0)} + w.begin(0, 10) +
                w.loop({move(r2, r10), alu(BPF_ADD, r2, -24), alu(BPF_ADD, r2, r6),
                        load(1, r1, r2, 0), alu(BPF_ADD, r6, 1)}) +
                w.end() + kGiveSum;
       }},
      {"left before its end", true,
       [=](const Words& w) {
         return from_zero + w.begin(0, 10) + w.next() +
                Instructions{jump(BPF_JEQ, r0, 0, 1), load(4, r6, r0, 0)} + w.end() + kGiveSum;
       }},
      {"begun and ended", true, [](const Words& w) { return w.begin(0, 10) + w.end() + kDone; }},
      {"begun again after its end", true,
       [](const Words& w) { return w.begin(0, 10) + w.end() + w.begin(0, 4) + w.end() + kDone; }},
      {"never ended", false, [](const Words& w) { return w.begin(0, 10) + kDone; }},
      {"never begun", false, [](const Words& w) { return w.next() + kDone; }},
      {"ended without a beginning", false, [](const Words& w) { return w.end() + kDone; }},
      {"ended twice", false,
       [](const Words& w) { return w.begin(0, 10) + w.end() + w.end() + kDone; }},
      {"begun twice", false,
       [](const Words& w) { return w.begin(0, 10) + w.begin(0, 10) + w.end() + kDone; }},
      {"asked after its end", false,
       [](const Words& w) { return w.begin(0, 10) + w.end() + w.next() + kDone; }},
      {"at an odd place", false,
       [](const Words& w) { return w.begin(0, 10, -12) + w.end(-12) + kDone; }},
      {"outside of the stack", false,
       [](const Words& w) { return w.begin(0, 10, 8) + w.end(8) + kDone; }},
      {"read as bytes", false,
       [](const Words& w) {
         return w.begin(0, 10) + Instructions{load(8, r6, r10, kPlace)} + w.end() + kDone;
       }},
      {"overwritten", false,
       [](const Words& w) {
         return w.begin(0, 10) + Instructions{store(8, r10, kPlace, 0)} + w.end() + kDone;
       }},
      {"overwritten in part", false,
       [](const Words& w) {
         return w.begin(0, 10) + Instructions{store(1, r10, -3, 0)} + w.end() + kDone;
       }},
      {"a number taken without a look at NULL", false,
       [](const Words& w) {
         return w.begin(0, 10) + w.next() + Instructions{load(4, r6, r0, 0)} + w.end() + kDone;
       }},
      {"a number written to", false,
       [](const Words& w) {
         return w.begin(0, 10) + w.loop({store(4, r0, 0, 7)}) + w.end() + kDone;
       }},
      {"behind a number", false,
       [](const Words& w) {
         return w.begin(0, 10) + w.loop({load(8, r6, r0, 0)}) + w.end() + kDone;
       }},
      {"a loop that never asks for the end", false,
       [](const Words& w) {
         return w.begin(0, 10) + w.next() + Instructions{jump(BPF_JA, r0, 0, -4)} + w.end() + kDone;
       }},
      {"limits that are pointers", false,
       [](const Words& w) {
         Instructions code = w.begin(0, 10);
         code[2] = move(r2, r10);
         return code + w.end() + kDone;
       }},
  };
}

uint32_t run(BpfHost& host, const Judgement& judgement) {
  RunRequest request;
  request.data = Bytes(64);
  return host.run(judgement.program.fd(), request).code;
}

TEST(Iterators, AreJudgedAndGoneThroughAsInLinux) {
  vm::Interpreter interpreter;
  vm::Kernel kernel(interpreter, {.possible_cpus = real_possible_cpus()});
  EmulatedKernel ours(kernel);
  RealKernel linux;
  const bool has_linux = why_no_real_kernel().empty();
  for (const Row& row : rows()) {
    const Judgement we_say = load_judged(ours, row.program(Words(false)));
    EXPECT_EQ(we_say.error() == 0, row.accepted) << row.name << "\n" << we_say.log;
    if (!has_linux) continue;
    const Judgement linux_says = load_judged(linux, row.program(Words(true)));
    EXPECT_EQ(we_say.error(), linux_says.error()) << row.name << "\n"
                                                  << we_say.log << linux_says.log;
    if (!row.accepted) continue;
    EXPECT_EQ(we_say.instructions, linux_says.instructions) << row.name;
    EXPECT_EQ(run(ours, we_say), run(linux, linux_says)) << row.name;
  }
}

}  // namespace
}  // namespace xnic::test

// Dynptrs: that programs with them get the verdicts that Linux gives, after as many instructions.
#include "vm/verifier/dynptrs.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/bpf_host.h"
#include "tests/vm/kfunc_ids.h"
#include "tests/vm/verifier/load_judged.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

constexpr int16_t kPlace = -16;

// One of the two kernels: its maps, the ids of its functions.
struct Words {
  BpfHost& host;
  FunctionIds ids;
  Descriptor ring;
  Descriptor values;

  Words(BpfHost& bpf, bool real)
      : host(bpf),
        ids(real),
        ring(bpf.create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096)),
        values(bpf.create_map(BPF_MAP_TYPE_ARRAY, 4, 64, 1)) {}

  static Instructions stack(Register to, int16_t place) {
    return {move(to, r10), alu(BPF_ADD, to, place)};
  }
  // r7 = a value of 64 bytes
  Instructions value() const {
    return Instructions{store(4, r10, -500, 0)} + stack(r2, -500) + load_map(r1, values.fd()) +
           Instructions{call(BPF_FUNC_map_lookup_elem), move(r7, r0)};
  }
  Instructions from_mem(int16_t place = kPlace) const {
    return value() + Instructions{move(r1, r7), move(r2, 48), move(r3, 0)} + stack(r4, place) +
           Instructions{call(BPF_FUNC_dynptr_from_mem)};
  }
  Instructions reserve(int16_t place = kPlace) const {
    return load_map(r1, ring.fd()) + Instructions{move(r2, 32), move(r3, 0)} + stack(r4, place) +
           Instructions{call(BPF_FUNC_ringbuf_reserve_dynptr)};
  }
  Instructions submit(int16_t place = kPlace) const {
    return stack(r1, place) + Instructions{move(r2, 0), call(BPF_FUNC_ringbuf_submit_dynptr)};
  }
  // Of the frame in r6.
  Instructions from_xdp(int16_t place = kPlace) const {
    return Instructions{move(r1, r6), move(r2, 0)} + stack(r3, place) +
           Instructions{call_kfunc(ids, "bpf_dynptr_from_xdp")};
  }
  Instructions data(int32_t size, int16_t place = kPlace) const {
    return stack(r1, place) + Instructions{move(r2, 0), move(r3, size), call(BPF_FUNC_dynptr_data)};
  }
  Instructions slice(const char* name, int32_t size, int16_t place = kPlace) const {
    return stack(r1, place) +
           Instructions{move(r2, 0), move(r3, 0), move(r4, size), call_kfunc(ids, name)};
  }
  Instructions clone(int16_t from, int16_t to) const {
    return stack(r1, from) + stack(r2, to) + Instructions{call_kfunc(ids, "bpf_dynptr_clone")};
  }
  Instructions read(int16_t to, int32_t size, int16_t place = kPlace) const {
    return stack(r1, to) + Instructions{move(r2, size)} + stack(r3, place) +
           Instructions{move(r4, 0), move(r5, 0), call(BPF_FUNC_dynptr_read)};
  }
  Instructions write(int16_t from, int32_t size, int16_t place = kPlace) const {
    return stack(r1, place) + Instructions{move(r2, 0)} + stack(r3, from) +
           Instructions{move(r4, size), move(r5, 0), call(BPF_FUNC_dynptr_write)};
  }
};

// What follows happens only if r0 is not NULL.
Instructions if_found(const Instructions& code) {
  return Instructions{jump(BPF_JEQ, r0, 0, static_cast<int16_t>(code.size()))} + code;
}

struct Row {
  const char* name;
  bool accepted;
  std::function<Instructions(const Words&)> program;
};

std::vector<Row> rows() {
  const Instructions touch = {load(1, r1, r0, 7), store(1, r0, 7, r1)};
  return {
      {"of a value", true, [](const Words& w) { return w.from_mem() + w.read(-64, 32); }},
      {"never made", false, [](const Words& w) { return w.read(-64, 32); }},
      {"of the stack", false,
       [](const Words&) {
         return Words::stack(r1, -64) + Instructions{move(r2, 32), move(r3, 0)} +
                Words::stack(r4, kPlace) + Instructions{call(BPF_FUNC_dynptr_from_mem)};
       }},
      {"of more than the value", false,
       [](const Words& w) {
         return w.value() + Instructions{move(r1, r7), move(r2, 65), move(r3, 0)} +
                Words::stack(r4, kPlace) + Instructions{call(BPF_FUNC_dynptr_from_mem)};
       }},
      {"at an odd place", false, [](const Words& w) { return w.from_mem(-20); }},
      {"half above the stack", false, [](const Words& w) { return w.from_mem(-8); }},
      {"asked at its other half", false,
       [](const Words& w) { return w.from_mem() + w.read(-64, 32, -8); }},
      {"in a map", false,
       [](const Words& w) {
         return w.value() + Instructions{move(r1, r7), move(r2, 32), move(r3, 0), move(r4, r7),
                                         call(BPF_FUNC_dynptr_from_mem)};
       }},
      {"of a record", true, [](const Words& w) { return w.reserve() + w.submit(); }},
      {"of a record, kept", false, [](const Words& w) { return w.reserve(); }},
      {"of a record, given back twice", false,
       [](const Words& w) { return w.reserve() + w.submit() + w.submit(); }},
      {"of a value, given back", false, [](const Words& w) { return w.from_mem() + w.submit(); }},
      {"of a record, used after it", false,
       [](const Words& w) { return w.reserve() + w.submit() + w.read(-64, 8); }},
      {"of a record, overwritten", false,
       [](const Words& w) {
         return w.reserve() + Instructions{store(8, r10, kPlace, 0)} + w.submit();
       }},
      {"of a record, overwritten in part", false,
       [](const Words& w) {
         return w.reserve() + Instructions{store(1, r10, -3, 0)} + w.submit();
       }},
      {"of a record, made anew", false,
       [](const Words& w) { return w.reserve() + w.reserve() + w.submit(); }},
      {"of a value, made anew", true,
       [](const Words& w) { return w.from_mem() + w.from_mem() + w.read(-64, 8); }},
      {"of a value, overwritten", true,
       [](const Words& w) { return w.from_mem() + Instructions{store(8, r10, kPlace, 0)}; }},
      {"of a value, overwritten and used", false,
       [](const Words& w) {
         return w.from_mem() + Instructions{store(1, r10, -1, 0)} + w.read(-64, 8);
       }},
      {"of a value, half covered by another", false,
       [](const Words& w) { return w.from_mem() + w.from_mem(-24) + w.read(-64, 8); }},
      {"read as bytes", false,
       [](const Words& w) { return w.from_mem() + Instructions{load(8, r1, r10, kPlace)}; }},
      {"read by a helper", false, [](const Words& w) { return w.from_mem() + w.write(-24, 24); }},
      {"written by a helper", false, [](const Words& w) { return w.from_mem() + w.read(-24, 24); }},
      {"read into more than the stack", false,
       [](const Words& w) { return w.from_mem() + w.read(-24, 40); }},
      {"data", true, [=](const Words& w) { return w.from_mem() + w.data(8) + if_found(touch); }},
      {"data without a look at NULL", false,
       [=](const Words& w) { return w.from_mem() + w.data(8) + touch; }},
      {"data behind its end", false,
       [=](const Words& w) { return w.from_mem() + w.data(7) + if_found(touch); }},
      {"data of a size that is not known", false,
       [=](const Words& w) {
         Instructions code = w.from_mem() + Instructions{call(BPF_FUNC_get_prandom_u32)};
         code = code + Words::stack(r1, kPlace) +
                Instructions{move(r2, 0), move(r3, r0), call(BPF_FUNC_dynptr_data)};
         return code + if_found(touch);
       }},
      {"data after its dynptr is overwritten", false,
       [=](const Words& w) {
         return w.from_mem() + w.data(8) + if_found(Instructions{store(8, r10, kPlace, 0)} + touch);
       }},
      {"data after another dynptr is overwritten", true,
       [=](const Words& w) {
         return w.from_mem() + w.from_mem(-32) + w.data(8) +
                if_found(Instructions{store(8, r10, -32, 0)} + touch);
       }},
      {"data after the record is given back", false,
       [=](const Words& w) {
         return w.reserve() + w.data(8) + Instructions{move(r8, r0)} + w.submit() +
                Instructions{move(r0, r8)} + if_found(touch);
       }},
      {"data of a record", true,
       [=](const Words& w) { return w.reserve() + w.data(8) + if_found(touch) + w.submit(); }},
      {"a clone", true,
       [=](const Words& w) { return w.from_mem() + w.clone(kPlace, -32) + w.read(-64, 8, -32); }},
      {"a clone of nothing", false, [=](const Words& w) { return w.clone(kPlace, -32); }},
      {"a clone over itself", true,
       [=](const Words& w) { return w.from_mem() + w.clone(-16, -16); }},
      {"a clone given back for a record", true,
       [=](const Words& w) { return w.reserve() + w.clone(kPlace, -32) + w.submit(-32); }},
      {"a clone used after its record", false,
       [=](const Words& w) {
         return w.reserve() + w.clone(kPlace, -32) + w.submit() + w.read(-64, 8, -32);
       }},
      {"both given back", false,
       [=](const Words& w) {
         return w.reserve() + w.clone(kPlace, -32) + w.submit() + w.submit(-32);
       }},
      {"data of a clone after its record", false,
       [=](const Words& w) {
         return w.reserve() + w.clone(kPlace, -32) + w.data(8, -32) + Instructions{move(r8, r0)} +
                w.submit() + Instructions{move(r0, r8)} + if_found(touch);
       }},
      {"a slice that is written to", true,
       [=](const Words& w) {
         return w.from_xdp() + w.slice("bpf_dynptr_slice_rdwr", 8) + if_found(touch);
       }},
      {"a slice to look at", true,
       [=](const Words& w) {
         return w.from_xdp() + w.slice("bpf_dynptr_slice", 8) + if_found({load(8, r1, r0, 0)});
       }},
      {"a slice to look at that is written to", false,
       [=](const Words& w) {
         return w.from_xdp() + w.slice("bpf_dynptr_slice", 8) + if_found(touch);
       }},
      {"a slice after the frame moved", false,
       [=](const Words& w) {
         return w.from_xdp() + w.slice("bpf_dynptr_slice", 8) +
                Instructions{move(r8, r0), move(r1, r6), move(r2, 0),
                             call(BPF_FUNC_xdp_adjust_head), move(r0, r8)} +
                if_found({load(8, r1, r0, 0)});
       }},
      {"a slice of a value after the frame moved", true,
       [=](const Words& w) {
         return w.from_mem() + w.slice("bpf_dynptr_slice", 8) +
                Instructions{move(r8, r0), move(r1, r6), move(r2, 0),
                             call(BPF_FUNC_xdp_adjust_head), move(r0, r8)} +
                if_found({load(8, r1, r0, 0)});
       }},
      {"a slice after a write", true,
       [=](const Words& w) {
         return w.from_xdp() + w.slice("bpf_dynptr_slice", 8) +
                Instructions{move(r8, r0), store(8, r10, -64, 0)} + w.write(-64, 8) +
                Instructions{move(r0, r8)} + if_found({load(8, r1, r0, 0)});
       }},
      {"a slice with a buffer", true,
       [=](const Words& w) {
         return w.from_xdp() + Words::stack(r1, kPlace) + Instructions{move(r2, 0)} +
                Words::stack(r3, -32) +
                Instructions{move(r4, 8), call_kfunc(w.ids, "bpf_dynptr_slice")} +
                if_found({load(8, r1, r0, 0)});
       }},
      {"a slice with a buffer that is too small", false,
       [=](const Words& w) {
         return w.from_xdp() + Words::stack(r1, kPlace) + Instructions{move(r2, 0)} +
                Words::stack(r3, -32) +
                Instructions{move(r4, 40), call_kfunc(w.ids, "bpf_dynptr_slice")} +
                if_found({load(8, r1, r0, 0)});
       }},
      {"a slice with the dynptr for a buffer", false,
       [=](const Words& w) {
         return w.from_xdp() + Words::stack(r1, kPlace) + Instructions{move(r2, 0)} +
                Words::stack(r3, kPlace) +
                Instructions{move(r4, 8), call_kfunc(w.ids, "bpf_dynptr_slice")} +
                if_found({load(8, r1, r0, 0)});
       }},
      {"made on one of two ways", false,
       [=](const Words& w) {
         const Instructions made = w.from_mem();
         return Instructions{call(BPF_FUNC_get_prandom_u32)} + if_found(made) + w.read(-64, 8);
       }},
      {"made on both ways", true,
       [=](const Words& w) {
         const Instructions made = w.from_mem();
         return Instructions{call(BPF_FUNC_get_prandom_u32)} + if_found(made) + w.from_mem() +
                w.read(-64, 8);
       }},
      {"a record kept on one way", false,
       [=](const Words& w) {
         return w.reserve() + Instructions{call(BPF_FUNC_get_prandom_u32)} + if_found(w.submit());
       }},
      {"a pointer to something else", false,
       [=](const Words& w) {
         return Instructions{move(r1, r6), call_kfunc(w.ids, "bpf_dynptr_size")};
       }},
  };
}

Judgement ask(const Words& words, const Instructions& body) {
  return load_judged(words.host,
                     Instructions{move(r6, r1)} + body + Instructions{move(r0, 2), leave()});
}

TEST(Dynptrs, AreJudgedAsInLinux) {
  vm::Interpreter interpreter;
  vm::Kernel kernel(interpreter, {.possible_cpus = real_possible_cpus()});
  EmulatedKernel emulated(kernel);
  RealKernel real;
  const Words ours(emulated, false);
  const bool has_linux = why_no_real_kernel().empty();
  for (const Row& row : rows()) {
    const Judgement we_say = ask(ours, row.program(ours));
    EXPECT_EQ(we_say.error() == 0, row.accepted) << row.name << "\n" << we_say.log;
    if (!has_linux) continue;
    const Words theirs(real, true);
    const Judgement linux_says = ask(theirs, row.program(theirs));
    EXPECT_EQ(we_say.error(), linux_says.error()) << row.name << "\n"
                                                  << we_say.log << linux_says.log;
    if (row.accepted) {
      EXPECT_EQ(we_say.instructions, linux_says.instructions) << row.name;
    }
  }
}

}  // namespace
}  // namespace xnic::test

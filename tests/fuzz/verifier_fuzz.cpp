// The verifier over arbitrary bytes: no crash, no hang past its limits, bounded memory; and what it
// accepts does no harm in the interpreter, which checks every access. The first byte says the
// program type, the others are instructions; one that loads a map gets an array. Built with
// -DXNIC_FUZZ=ON by clang; tests/fuzz/seeds.sh makes seeds of object files.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "vm/interpreter.h"
#include "vm/isa.h"
#include "vm/map.h"
#include "vm/verifier.h"

namespace {

using namespace xnic::vm;

constexpr bpf_prog_type kTypes[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
                                    BPF_PROG_TYPE_SOCKET_FILTER};
// Of instructions that the verifier looks at: a program that takes more may loop for long.
constexpr uint64_t kMostToRun = 2000;

class OneMap : public MapResolver {
 public:
  OneMap() {
    MapSpec spec;
    spec.type = BPF_MAP_TYPE_ARRAY;
    spec.key_size = 4;
    spec.value_size = 16;
    spec.max_entries = 2;
    map_ = find_map_type(spec.type)->create(spec, {}).value();
  }
  std::shared_ptr<Map> map_by_fd(int) override { return map_; }

 private:
  std::shared_ptr<Map> map_;
};

// A program whose run ends soon: nothing of it is run as often as a number in it says.
bool ends_soon(const Program& program) {
  if (program.verifier_statistics().instructions > kMostToRun) return false;
  for (const bpf_insn& insn : program.instructions()) {
    const Kind kind = opcode(insn).kind;
    if (kind == Kind::may_goto) return false;
    if (kind == Kind::call && insn.imm == BPF_FUNC_loop) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 1 + sizeof(bpf_insn)) return 0;
  ProgramSpec spec;
  spec.type = kTypes[bytes[0] % std::size(kTypes)];
  spec.license = "GPL";
  spec.instructions.resize((size - 1) / sizeof(bpf_insn));
  std::memcpy(spec.instructions.data(), bytes + 1, spec.instructions.size() * sizeof(bpf_insn));
  OneMap maps;
  const auto program = Verifier::verify(std::move(spec), {}, maps, {.values = true});
  if (!program || !ends_soon(**program)) return 0;
  Interpreter interpreter;
  const std::unique_ptr<Code> code = interpreter.compile(**program);
  std::vector<uint8_t> frame(64, 0x5a);
  Packet packet(frame);
  Environment environment;
  Invocation run{packet, environment};
  code->run(run);
  if (!run.fault) return 0;
  std::fprintf(stderr, "an accepted program faults: %s\n", run.fault->message.c_str());
  std::abort();
}

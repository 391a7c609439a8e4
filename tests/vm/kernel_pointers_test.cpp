// Pointers to the kernel's objects in map values: what programs may do with them, against the
// kernel of this machine.
#include "vm/maps/value_fields.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

constexpr int16_t kUntrusted = 8;
constexpr int16_t kReferenced = 16;

// struct value { long number; struct task_struct kptr_untrusted* at 8; kptr* at 16; };
class Value {
 public:
  explicit Value(const char* owning_tag = "kptr") : btf_(btf__new_empty()) {
    word_ = btf__add_int(btf_, "unsigned int", 4, 0);
    const int wide = btf__add_int(btf_, "unsigned long", 8, 0);
    const int task = btf__add_struct(btf_, "task_struct", 8);
    btf__add_field(btf_, "a", wide, 0, 0);
    const auto pointer = [&](const char* tag) {
      return btf__add_ptr(btf_, btf__add_type_tag(btf_, tag, task));
    };
    const int untrusted = pointer("kptr_untrusted");
    const int owning = pointer(owning_tag);
    value_ = btf__add_struct(btf_, "value", 24);
    btf__add_field(btf_, "number", wide, 0, 0);
    btf__add_field(btf_, "untrusted", untrusted, 8 * kUntrusted, 0);
    btf__add_field(btf_, "owning", owning, 8 * kReferenced, 0);
  }
  ~Value() { btf__free(btf_); }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;

  Descriptor map(BpfHost& host, bpf_map_type type, uint32_t flags = 0) const {
    uint32_t size = 0;
    const void* blob = btf__raw_data(btf_, &size);
    bpf_attr load{};
    load.btf = address_of(blob);
    load.btf_size = size;
    const Descriptor types(host.bpf(BPF_BTF_LOAD, load));
    bpf_attr create{};
    create.map_type = type;
    create.key_size = 4;
    create.value_size = 24;
    create.max_entries = 2;
    create.map_flags = flags;
    create.btf_fd = static_cast<uint32_t>(types.fd());
    create.btf_key_type_id = static_cast<uint32_t>(word_);
    create.btf_value_type_id = static_cast<uint32_t>(value_);
    return Descriptor(host.bpf(BPF_MAP_CREATE, create));
  }

 private:
  btf* btf_;
  int word_;
  int value_;
};

class KernelPointers : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_{interpreter_, {.possible_cpus = real_possible_cpus()}};
  EmulatedKernel ours_{kernel_};
  RealKernel theirs_;
};

TEST_F(KernelPointers, AreAllowedInTheMapsThatLinuxAllows) {
  int created = 0;
  int refused = 0;
  for (const char* tag : {"kptr", "uptr", "percpu_kptr"}) {
    const Value value(tag);
    for (const bpf_map_type type :
         {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_PERCPU_HASH,
          BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_QUEUE}) {
      for (const uint32_t flags : {0u, uint32_t{BPF_F_RDONLY_PROG}}) {
        const long mine = value.map(ours_, type, flags).error();
        EXPECT_EQ(mine, value.map(theirs_, type, flags).error())
            << tag << ", map type " << type << ", flags " << flags;
        (mine == 0 ? created : refused) += 1;
      }
    }
  }
  EXPECT_GT(created, 6);
  EXPECT_GT(refused, 6);
}

struct Row {
  const char* name;
  long error;
  Instructions code;  // r0 points to the value
};

bpf_insn exchange(Register base, int16_t offset, Register with) {
  bpf_insn insn = store(8, base, offset, with);
  insn.code = BPF_STX | BPF_ATOMIC | BPF_DW;
  insn.imm = BPF_XCHG;
  return insn;
}

std::vector<Row> rows() {
  const auto read = [](uint32_t size, int16_t at) { return Instructions{load(size, r1, r0, at)}; };
  const auto zero = [](uint32_t size, int16_t at) { return Instructions{store(size, r0, at, 0)}; };
  // r1 = a number below 16 that is a multiple of 8
  const Instructions variable = {move(r6, r0), call(BPF_FUNC_get_prandom_u32), alu(BPF_AND, r0, 8),
                                 alu(BPF_ADD, r6, r0)};
  return {
      {"plain bytes", 0, read(8, 0) + zero(8, 0)},
      {"a pointer read", 0, read(8, kUntrusted)},
      {"an owning pointer read", 0, read(8, kReferenced)},
      {"a pointer set to NULL", 0, zero(8, kUntrusted)},
      {"a pointer set to NULL by a register", 0, {move(r1, 0), store(8, r0, kUntrusted, r1)}},
      {"an owning pointer set to NULL", -EACCES, zero(8, kReferenced)},
      {"a pointer set to a number", -EACCES, {store(8, r0, kUntrusted, 1)}},
      {"a pointer set to an unknown number",
       -EACCES,
       {load(8, r1, r0, 0), store(8, r0, kUntrusted, r1)}},
      {"a pointer set to the stack", -EACCES, {store(8, r0, kUntrusted, r10)}},
      {"half a pointer", -EACCES, read(4, kUntrusted)},
      {"the other half", -EACCES, read(4, kUntrusted + 4)},
      {"half a pointer set", -EACCES, zero(4, kUntrusted)},
      {"part of two pointers", -EACCES, read(8, kUntrusted + 4)},
      {"a pointer at a variable offset", -EACCES, variable + Instructions{load(8, r1, r6, 0)}},
      {"beside pointers at a variable offset", -EACCES,
       variable + Instructions{load(1, r1, r6, 7)}},
      {"a pointer changed by an atomic", -EACCES, {move(r1, 0), exchange(r0, kUntrusted, r1)}},
      {"a number where a pointer is read",
       -EACCES,
       {load(8, r1, r0, kUntrusted), alu(BPF_ADD, r10, r1)}},
      {"a pointer that may be NULL followed",
       -EACCES,
       {load(8, r1, r0, kUntrusted), load(8, r2, r1, 0)}},
      {"a helper that reads the value",
       -EACCES,
       {store(8, r10, -8, 0), move(r1, r0), move(r2, 24), move(r3, 0), move(r4, 0), move(r5, 0),
        call(BPF_FUNC_csum_diff)}},
      {"a helper that reads what is in front",
       0,
       {move(r1, r0), move(r2, 8), move(r3, 0), move(r4, 0), move(r5, 0),
        call(BPF_FUNC_csum_diff)}},
      {"a helper that writes the value",
       -EACCES,
       {move(r1, r6), move(r2, 0), move(r3, r0), move(r4, 24), call(BPF_FUNC_xdp_load_bytes)}},
  };
}

TEST_F(KernelPointers, AreForProgramsWhatTheyAreInLinux) {
  const Value value;
  for (const Row& row : rows()) {
    const auto ask = [&](BpfHost& host) {
      const Descriptor map = value.map(host, BPF_MAP_TYPE_ARRAY);
      const auto lookup =
          Instructions{move(r6, r1), store(4, r10, -4, 0), move(r2, r10), alu(BPF_ADD, r2, -4)} +
          load_map(r1, map.fd()) +
          Instructions{call(BPF_FUNC_map_lookup_elem), jump(BPF_JNE, r0, 0, 2), move(r0, 0),
                       leave()};
      return host.load(BPF_PROG_TYPE_XDP, lookup + row.code + Instructions{move(r0, 2), leave()})
          .error();
    };
    const long linux_says = ask(theirs_);
    EXPECT_EQ(ask(ours_), linux_says) << row.name << ": xnic first, Linux second";
    EXPECT_EQ(linux_says, row.error) << row.name;
  }
}

}  // namespace
}  // namespace xnic::test

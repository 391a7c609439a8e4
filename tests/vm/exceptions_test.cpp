// Exception callbacks, which libbpf finds only in newer versions: programs with their BTF written
// by hand, judged and run here and by the kernel of this machine.
#include "vm/exceptions.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/support/bpf_host.h"
#include "tests/vm/kfunc_ids.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

// Function i of the program begins at starts[i]: the main program, then static "deep(number)", then
// "caught(number)".
struct Wish {
  const char* tag = "exception_callback:caught";
  btf_func_linkage linkage = BTF_FUNC_GLOBAL;
  bool second_tag = false;
  bool in_loop = false;  // "deep" is called by bpf_loop, and returns 0
};

struct Answer {
  bool accepted = false;
  uint32_t code = 0;
};

// Throws 5 out of two functions if the first is called with an odd number; what is caught has 7
// added.
Answer ask(BpfHost& host, bool real, const Wish& wish, int32_t number) {
  const FunctionIds ids(real);
  Instructions main = {move(r1, number), call(2), alu(BPF_ADD, r0, 1), leave()};
  if (wish.in_loop) {
    Instructions function = load_map(r2, 6);
    function[0].src_reg = BPF_PSEUDO_FUNC & 0xf;
    main = Instructions{move(r1, number)} + function +
           Instructions{move(r3, 0), move(r4, 0), call(BPF_FUNC_loop), move(r0, 1), leave()};
  }
  const Instructions deep = {wish.in_loop ? move(r0, 0) : move(r0, r1),
                             jump(BPF_JSET, r1, 1, 1),
                             leave(),
                             move(r1, 5),
                             call_kfunc(ids, "bpf_throw"),
                             move(r0, 0),
                             leave()};
  const Instructions caught = {move(r0, r1), alu(BPF_ADD, r0, 7), leave()};
  Instructions code = main + deep + caught;
  if (!wish.in_loop) code[1].src_reg = BPF_PSEUDO_CALL & 0xf;

  btf* types = btf__new_empty();
  const int word = btf__add_int(types, "unsigned long", 8, 0);
  const int context = btf__add_ptr(types, btf__add_struct(types, "xdp_md", 24));
  const auto prototype = [&](int parameter) {
    const int id = btf__add_func_proto(types, word);
    btf__add_func_param(types, "argument", parameter);
    return id;
  };
  const int of_context = prototype(context);
  const int of_number = prototype(word);
  std::array<bpf_func_info, 3> functions{};
  const std::array<size_t, 3> starts = {0, main.size(), main.size() + deep.size()};
  const std::array<int, 3> ids_of = {
      btf__add_func(types, "main_program", BTF_FUNC_GLOBAL, of_context),
      btf__add_func(types, "deep", BTF_FUNC_STATIC, of_number),
      btf__add_func(types, "caught", wish.linkage, of_number)};
  for (size_t i = 0; i < functions.size(); ++i) {
    functions[i] = {static_cast<uint32_t>(starts[i]), static_cast<uint32_t>(ids_of[i])};
  }
  btf__add_decl_tag(types, wish.tag, ids_of[0], -1);
  if (wish.second_tag) btf__add_decl_tag(types, "exception_callback:deep", ids_of[0], -1);
  uint32_t size = 0;
  const void* blob = btf__raw_data(types, &size);
  bpf_attr load{};
  load.btf = address_of(blob);
  load.btf_size = size;
  const Descriptor loaded(host.bpf(BPF_BTF_LOAD, load));

  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_XDP;
  attr.insns = address_of(code.data());
  attr.insn_cnt = static_cast<uint32_t>(code.size());
  attr.license = address_of("GPL");
  attr.prog_btf_fd = static_cast<uint32_t>(loaded.fd());
  attr.func_info = address_of(functions.data());
  attr.func_info_cnt = functions.size();
  attr.func_info_rec_size = sizeof(bpf_func_info);
  const Descriptor program(host.bpf(BPF_PROG_LOAD, attr));
  btf__free(types);
  Answer answer{.accepted = program.error() == 0};
  if (answer.accepted) {
    RunRequest request;
    request.data = Bytes(64);
    answer.code = host.run(program.fd(), request).code;
  }
  return answer;
}

TEST(Exceptions, AreCaughtAsInLinux) {
  XNIC_NEEDS_REAL_KERNEL();
  vm::Interpreter interpreter;
  vm::Kernel kernel(interpreter, {.possible_cpus = real_possible_cpus()});
  EmulatedKernel ours(kernel);
  RealKernel theirs;
  const auto same = [&](const char* what, const Wish& wish, int32_t number) {
    const Answer we_say = ask(ours, false, wish, number);
    const Answer linux_says = ask(theirs, true, wish, number);
    EXPECT_EQ(we_say.accepted, linux_says.accepted) << what;
    EXPECT_EQ(we_say.code, linux_says.code) << what;
    return linux_says;
  };
  EXPECT_EQ(same("thrown", {}, 3).code, 12u);
  EXPECT_EQ(same("not thrown", {}, 2).code, 3u);
  EXPECT_FALSE(
      same("a callback that does not exist", {.tag = "exception_callback:none"}, 3).accepted);
  EXPECT_FALSE(same("a static callback", {.linkage = BTF_FUNC_STATIC}, 3).accepted);
  EXPECT_FALSE(same("two callbacks", {.second_tag = true}, 3).accepted);
  EXPECT_FALSE(same("thrown by what a helper calls", {.in_loop = true}, 3).accepted);
  EXPECT_FALSE(
      same("no callback, and a function that nobody calls", {.tag = "of_no_meaning"}, 3).accepted);
}

}  // namespace
}  // namespace xnic::test

// Open-coded iterators: that over numbers, which bpf_for and bpf_repeat use. Its state is the
// program's struct bpf_iter_num, as Linux keeps it there. Left out: what a run without the values
// verified does with an iterator that it has not begun; it is then whatever lies there.
// Test: tests/vm/kfunc_test.cpp, compared with Linux.
#include <array>
#include <cerrno>
#include <cstring>

#include "vm/isa.h"
#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

struct Numbers {
  int32_t current;
  int32_t end;
};

Numbers read(uint64_t address) {
  Numbers numbers;
  std::memcpy(&numbers, memory_at(address), sizeof numbers);
  return numbers;
}

void write(uint64_t address, Numbers numbers) {
  std::memcpy(memory_at(address), &numbers, sizeof numbers);
}

// bpf_iter_num_new(iterator, start, end): 0, or -EINVAL, -E2BIG and an iterator that gives nothing.
uint64_t num_new(Invocation&, uint64_t at, uint64_t first, uint64_t last, uint64_t, uint64_t) {
  const auto start = static_cast<int32_t>(first);
  const auto end = static_cast<int32_t>(last);
  const int error = start > end ? -EINVAL : int64_t{end} - start > kMaxLoops ? -E2BIG : 0;
  // One before the start, modulo 2^32.
  const auto before = static_cast<int32_t>(static_cast<uint32_t>(start) - 1);
  write(at, error != 0 ? Numbers{} : Numbers{before, end});
  return int_result(error);
}

// bpf_iter_num_next(iterator): where the next number lies, NULL behind the last.
uint64_t num_next(Invocation&, uint64_t at, uint64_t, uint64_t, uint64_t, uint64_t) {
  Numbers numbers = read(at);
  const auto next = static_cast<int32_t>(static_cast<uint32_t>(numbers.current) + 1);
  const bool ended = next >= numbers.end;
  write(at, ended ? Numbers{} : Numbers{next, numbers.end});
  return ended ? 0 : at;
}

uint64_t num_destroy(Invocation&, uint64_t at, uint64_t, uint64_t, uint64_t, uint64_t) {
  write(at, {});
  return 0;
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    Kfunc{kfunc_row("bpf_iter_num_new", kAnyType, R::integer, {A::new_iterator, A::any, A::any},
                    num_new)},
    Kfunc{
        kfunc_row("bpf_iter_num_next", kAnyType, R::iterated_int_or_null, {A::iterator}, num_next)},
    Kfunc{kfunc_row("bpf_iter_num_destroy", kAnyType, R::none, {A::ended_iterator}, num_destroy)},
};

}  // namespace

std::span<const Kfunc> iterator_kfuncs() { return kRows; }

}  // namespace xnic::vm

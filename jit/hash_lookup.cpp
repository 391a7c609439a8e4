// Lookups in hash tables: the look into the first bucket of vm/maps/hash_table.h's find(), in
// place. What that does not settle (a second element of the tag, a chain, a writer at work), the
// map's function does, out of the way. Every step must be as there and in vm/maps/hash_key.h. Left
// out: keys longer than kMostWords, and those whose last word takes more than one load. Test:
// tests/jit/hash_lookup_test.cpp.
#include <algorithm>
#include <bit>
#include <cstddef>

#include "jit/translator.h"
#include "vm/maps/bucket.h"
#include "vm/maps/hash_key.h"
#include "vm/maps/hash_probe.h"
#include "vm/maps/memory.h"

namespace xnic::jit {

using asmjit::Imm;

namespace {

constexpr uint32_t kMostWords = 8;
constexpr uint32_t kWord = 8;  // bytes

// Words of the key that stay in registers between the hash and the comparison.
constexpr Gp kKept[] = {x86::r8, x86::r9, x86::rsi, x86::rdi};

const Gp& kKey = kScratch2;  // its address

uint32_t words_of(uint32_t key_bytes) { return (key_bytes + kWord - 1) / kWord; }

}  // namespace

// In how many bytes each store wrote what the key at r2 is made of: a load that covers several
// stores would wait until they have left for the cache. 8 where no store is seen. It is a guess
// from the order of instructions, and decides of nothing but time.
Translator::StoreWidths Translator::key_stores(uint32_t index) const {
  constexpr uint32_t kFarthest = 64;  // instructions
  constexpr uint32_t kKeyRegister = 2;
  StoreWidths widths{};
  widths.fill(kWord);
  const std::optional<uint32_t> at = written_at(index, kKeyRegister);
  if (!at || *at == 0) return widths;
  const bpf_insn& add = insns_[*at];
  const bpf_insn& copy = insns_[*at - 1];
  if (add.code != (BPF_ALU64 | BPF_ADD | BPF_K) || copy.code != (BPF_ALU64 | BPF_MOV | BPF_X) ||
      copy.dst_reg != kKeyRegister || copy.src_reg != kFramePointer) {
    return widths;
  }
  std::array<bool, std::tuple_size_v<StoreWidths>> seen{};
  const uint32_t first = std::max(function_->start, index - std::min(index, kFarthest));
  for (uint32_t i = index; i-- > first;) {
    const bpf_insn& insn = insns_[i];
    const vm::Opcode& op = vm::opcode(insn);
    const bool stores = op.kind == vm::Kind::store || op.kind == vm::Kind::store_immediate;
    if (!stores || insn.dst_reg != kFramePointer) continue;
    for (int32_t byte = 0; byte < op.width; ++byte) {
      const int32_t place = insn.off + byte - add.imm;
      if (place < 0 || place >= static_cast<int32_t>(widths.size())) continue;
      const auto there = static_cast<size_t>(place);
      if (!seen[there]) widths[there] = op.width;
      seen[there] = true;
    }
  }
  return widths;
}

// One word of the key, with zeros behind the key's end, in loads no wider than the stores.
void Translator::load_key_word(const Gp& to, uint32_t offset, uint32_t bytes,
                               const StoreWidths& widths, const Gp& scratch) {
  for (uint32_t at = 0; at < bytes;) {
    uint32_t width = bytes - at;
    for (uint32_t i = at; i < bytes; ++i) {
      width = std::min<uint32_t>(width, std::max<uint32_t>(widths[offset + i], i - at));
    }
    width = std::bit_floor(width);
    const Gp& part = at == 0 ? to : scratch;
    a_.load(part, kKey, static_cast<int32_t>(offset + at), width);
    if (at != 0) {
      a_.shl(part, Imm(8 * at));
      a_.or_(to, part);
    }
    at += width;
  }
}

// r0 = the value's address. Gives the index of the instruction to go on with; nothing, and then
// nothing is translated, for another kind of table or of key.
std::optional<uint32_t> Translator::lookup_hashed(uint32_t index, const vm::DirectLookup& direct,
                                                  const vm::Map& map) {
  const uint32_t key_bytes = map.spec().key_size;
  const uint32_t words = words_of(key_bytes);
  const bool is_last_whole =
      std::has_single_bit(key_bytes % kWord == 0 ? kWord : key_bytes % kWord);
  if (words > kMostWords || !is_last_whole) return std::nullopt;
  const std::optional<vm::HashProbe> found = vm::hash_probe(map);
  if (!found) return std::nullopt;
  const vm::HashProbe& probe = *found;
  const auto bytes_of = [&](uint32_t word) { return std::min(kWord, key_bytes - word * kWord); };
  const NullQuestion question = question_behind(index);
  const LookupStub stub{a_.new_label(), a_.new_label(), a_.new_label(), question, direct};

  // The hash, in rax.
  a_.mov(kKey, x86::rdx);
  const StoreWidths widths = key_stores(index);
  load_constant(x86::rcx, vm::kHashMultiplier);
  load_constant(x86::rax, probe.seed);
  for (uint32_t word = 0; word < words; ++word) {
    const Gp& kept = word < std::size(kKept) ? kKept[word] : x86::rdx;
    load_key_word(kept, word * kWord, bytes_of(word), widths, kScratch1);
    a_.xor_(x86::rax, kept);
    a_.mul(x86::rcx);
    a_.xor_(x86::rax, x86::rdx);
  }
  // The tag in every byte of xmm0; the bucket in rax, its version in edx.
  a_.mov(x86::rcx, x86::rax);
  a_.shr(x86::rcx, Imm(56));
  a_.cmp(x86::ecx, Imm(1));
  a_.adc(x86::ecx, Imm(0));
  if (!avx2_) a_.imul(x86::ecx, x86::ecx, Imm(0x01010101));
  a_.movd(x86::xmm0, x86::ecx);
  avx2_ ? a_.vpbroadcastb(x86::xmm0, x86::xmm0) : a_.pshufd(x86::xmm0, x86::xmm0, Imm(0));
  static_assert(sizeof(vm::Bucket) == 64);
  load_address(kScratch1, probe.buckets);
  a_.and_(x86::eax, Imm(probe.mask));
  a_.shl(x86::rax, Imm(6));
  a_.add(x86::rax, kScratch1);
  a_.mov(x86::edx, x86::dword_ptr(x86::rax, offsetof(vm::Bucket, version)));
  // The element of the first slot with the tag, in rcx.
  static_assert(offsetof(vm::Bucket, low_tags) == 0 && offsetof(vm::Bucket, high_tags) == 8);
  load_address(kScratch1, probe.elements);
  a_.pcmpeqb(x86::xmm0, x86::xmmword_ptr(x86::rax));
  a_.pmovmskb(x86::ecx, x86::xmm0);
  a_.and_(x86::ecx, Imm((1u << vm::Bucket::kSlots) - 1));
  a_.jz(stub.none);
  // As bsf, which older CPUs take it for, but quicker where it exists.
  a_.tzcnt(x86::ecx, x86::ecx);
  a_.mov(x86::ecx, x86::dword_ptr(x86::rax, x86::rcx, 2, offsetof(vm::Bucket, slots)));
  static_assert(vm::ElementPool::kUnit == 16);
  a_.shl(x86::rcx, Imm(4));
  a_.add(x86::rcx, kScratch1);
  for (uint32_t word = 0; word < words; ++word) {
    const bool is_kept = word < std::size(kKept);
    const Gp& ours = is_kept ? kKept[word] : kScratch1;
    if (!is_kept) load_key_word(ours, word * kWord, bytes_of(word), widths, x86::r8);
    a_.cmp(x86::qword_ptr(x86::rcx, static_cast<int32_t>(probe.key_offset + word * kWord)), ours);
    a_.jne(stub.search);
  }
  // One word is read at once; of several, the element may have changed keys between them.
  if (words > 1) {
    a_.cmp(x86::edx, x86::dword_ptr(x86::rax, offsetof(vm::Bucket, version)));
    a_.jne(stub.search);
  }
  if (probe.mark_offset != 0) {
    const Label is_marked = a_.new_label();
    const x86::Mem mark = x86::byte_ptr(x86::rcx, probe.mark_offset);
    a_.cmp(mark, Imm(0));
    a_.jne(is_marked);
    a_.mov(mark, Imm(1));
    a_.mark(is_marked);
  }
  a_.lea(x86::rax, x86::ptr(x86::rcx, static_cast<int32_t>(probe.value_offset)));
  if (probe.cpu_stride != 0) {
    load_cpu(x86::rcx);
    a_.cmp(x86::ecx, Imm(map.possible_cpus()));
    a_.jae(stub.search);
    a_.imul(x86::rcx, x86::rcx, Imm(probe.cpu_stride));
    a_.add(x86::rax, x86::rcx);
  }
  a_.mark(stub.found);
  lookups_.push_back(stub);
  return answer(index, question);
}

// Where the first bucket has no element of the tag, and where only a search will tell.
void Translator::lookup_stubs() {
  for (const LookupStub& stub : lookups_) {
    a_.mark(stub.none);
    a_.cmp(x86::dword_ptr(x86::rax, offsetof(vm::Bucket, overflow)), Imm(0));
    a_.jne(stub.search);
    a_.test(x86::dl, Imm(1));
    a_.jnz(stub.search);
    a_.cmp(x86::edx, x86::dword_ptr(x86::rax, offsetof(vm::Bucket, version)));
    a_.jne(stub.search);
    a_.xor_(x86::eax, x86::eax);
    a_.jmp(stub.question.if_null);
    a_.mark(stub.search);
    a_.mov(x86::rsi, kKey);
    load_address(x86::rdi, stub.direct.table);
    load_cpu(x86::rdx);
    call_c(stub.direct.function);
    if (stub.question.is_asked) {
      a_.test(x86::rax, x86::rax);
      a_.jz(stub.question.if_null);
    }
    a_.jmp(stub.found);
  }
  lookups_.clear();
}

}  // namespace xnic::jit

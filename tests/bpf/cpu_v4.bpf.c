/* What clang emits for -mcpu=v4: signed division and modulo, sign-extending moves and loads,
 * unconditional byte swaps, and a jump beyond 16 bits. */
#include "answers.h"

SEC("xdp")
int signed_arithmetic(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  if (data + 14 > (void*)(long)context->data_end) return XDP_ABORTED;
  __s64 a = *(__s64*)data;
  __s64 b = *(__s32*)(data + 8);
  __s32 c = *(__s32*)data;
  __s32 d = *(__s32*)(data + 4);
  note(0, a / b);
  note(1, a % b);
  note(2, c / d);
  note(3, c % d);
  note(4, a / -7);
  note(5, a % -7);
  note(6, c / 13);
  note(7, c % 13);
  note(8, (__u64)a / (__u64)b);
  note(9, (__u32)c % (__u32)d);
  return XDP_PASS;
}

SEC("xdp")
int sign_extension(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  if (data + 14 > (void*)(long)context->data_end) return XDP_ABORTED;
  note(0, *(__s8*)data);
  note(1, *(__s16*)(data + 2));
  note(2, *(__s32*)(data + 4));
  __u64 whole = *(__u64*)data;
  barrier_var(whole);
  note(3, (__s8)whole);
  note(4, (__s16)whole);
  note(5, (__s32)whole);
  __u32 half = *(__u32*)(data + 8);
  barrier_var(half);
  note(6, (__u32)(__s32)(__s8)half);
  note(7, (__u32)(__s32)(__s16)half);
  return *(__s8*)(data + 5) < 0 ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int byte_swaps(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  if (data + 14 > (void*)(long)context->data_end) return XDP_ABORTED;
  note(0, __builtin_bswap16(*(__u16*)data));
  note(1, __builtin_bswap32(*(__u32*)data));
  note(2, __builtin_bswap64(*(__u64*)data));
  *(__u64*)data = __builtin_bswap64(*(__u64*)data);
  *(__u32*)(data + 8) = __builtin_bswap32(*(__u32*)(data + 8));
  *(__u16*)(data + 12) = __builtin_bswap16(*(__u16*)(data + 12));
  return XDP_TX;
}

/* The jump's target lies further away than 16 bits reach. A function of its own, because clang's
 * own branches around the block would not reach either. */
static __noinline __u64 jump_far(__u64 sum) {
  asm volatile(
      "if %[sum] & 1 goto add_%=\n"
      "gotol done_%=\n"
      "add_%=:\n"
      ".rept 33000\n"
      "%[sum] += 3\n"
      ".endr\n"
      "done_%=:\n"
      : [sum] "+r"(sum));
  return sum;
}

SEC("xdp")
int long_jump(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  if (data + 14 > (void*)(long)context->data_end) return XDP_ABORTED;
  __u64 sum = jump_far(*(__u64*)data);
  note(0, sum);
  return sum & 2 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";

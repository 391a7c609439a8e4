/* Text: numbers read from frames and from hard cases, text written with too little room, compared,
 * and traced with many arguments. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define TEXT 32
#define CASES 40

struct answer {
  long result;
  long value;
  char text[TEXT];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CASES);
  __type(key, __u32);
  __type(value, struct answer);
} answers SEC(".maps");

static __always_inline struct answer* answer(__u32 key) {
  return bpf_map_lookup_elem(&answers, &key);
}

const char numbers[CASES][TEXT] = {
    "0",
    "42 ",
    "-42",
    " \t\n-7x",
    "\xa0"
    "5",
    "0x1f",
    "0xg",
    "0x",
    "-0x10",
    "017",
    "08",
    "ff",
    "-",
    "--1",
    "",
    "   ",
    "+1",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "0xffffffffffffffff",
    "-0xffffffffffffffff",
    "0x10000000000000000",
    "01777777777777777777777",
    "02000000000000000000000",
    "00000000000000000000000000000009",
    "-0",
};

static __always_inline void read_number(__u32 i, __u64 flags, int is_signed) {
  struct answer* to = answer(i);
  if (!to || i >= CASES) return;
  __builtin_memcpy(to->text, numbers[i], TEXT);
  to->value = 0x55;
  if (is_signed)
    to->result = bpf_strtol(to->text, TEXT, flags, &to->value);
  else
    to->result = bpf_strtoul(to->text, TEXT, flags, (unsigned long*)&to->value);
}

/* The base from the frame: known ones, unknown ones, and flags that are none. */
static __always_inline int all_numbers(struct xdp_md* context, int is_signed) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  __u64 flags = 0;
  switch (data[11] & 7) {
    case 1:
      flags = 8;
      break;
    case 2:
      flags = 10;
      break;
    case 3:
      flags = 16;
      break;
    case 4:
      flags = 2;
      break;
    case 5:
      flags = 1 << 5;
      break;
  }
  __u64 sum = 0;
  for (__u32 i = 0; i < CASES; i++) {
    read_number(i, flags, is_signed);
    struct answer* to = answer(i);
    if (to) sum += to->result * 31 + to->value;
  }
  return sum & 1 ? XDP_PASS : XDP_TX;
}

SEC("xdp")
int signed_numbers(struct xdp_md* context) { return all_numbers(context, 1); }

SEC("xdp")
int unsigned_numbers(struct xdp_md* context) { return all_numbers(context, 0); }

/* Text from the frame, of a size from the frame. */
SEC("xdp")
int number_in_frame(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 60) > (void*)(long)context->data_end) return XDP_ABORTED;
  char text[16];
  for (int i = 0; i < 16; i++) text[i] = "0123456789 -xaf\0"[data[i + 12] & 15];
  long value = 1;
  long used = bpf_strtol(text, (data[0] & 15) + 1, data[1] & 16, &value);
  struct answer* to = answer(0);
  if (to) {
    to->result = used;
    to->value = value;
  }
  return used > 0 ? XDP_PASS : XDP_DROP;
}

static const char many[] = "%d %i %u %x %X %ld %lld %llx %s %c%%";

SEC("xdp")
int write_text(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 34) > (void*)(long)context->data_end) return XDP_ABORTED;
  __u64 a = data[0], b = data[1];
  struct answer* to;
  if ((to = answer(0))) {
    static const char format[] = "%d-%u";
    __u64 values[] = {-a, b};
    to->value = bpf_snprintf(to->text, TEXT, format, values, sizeof(values));
  }
  if ((to = answer(1))) {
    static const char format[] = "%lx|%5d|%-5d|%05d";
    __u64 values[] = {a << 40, b, b, b};
    to->value = bpf_snprintf(to->text, 10, format, values, sizeof(values));
  }
  if ((to = answer(2))) {
    static const char format[] = "plain %%";
    to->value = bpf_snprintf(to->text, 1, format, 0, 0);
  }
  if ((to = answer(3))) {
    __u64 values[] = {a, -b, a, b, a, -a, b, a << 33, (__u64)numbers[1], 'x'};
    to->value = bpf_snprintf(to->text, TEXT, many, values, sizeof(values));
  }
  if ((to = answer(4))) {
    static const char format[] = "%pI4 %pi4";
    __u32 address = 0x0100007f + data[5];
    __u64 values[] = {(__u64)&address, (__u64)&address};
    to->value = bpf_snprintf(to->text, TEXT, format, values, sizeof(values));
    to->result = bpf_snprintf(0, 0, format, values, sizeof(values));
  }
  if ((to = answer(5))) {
    static const char format[] = "%s";
    __u64 values[] = {8};
    to->value = bpf_snprintf(to->text, TEXT, format, values, sizeof(values));
  }
  return XDP_PASS;
}

SEC("tc")
int compare_text(struct __sk_buff* skb) {
  struct answer* to = answer(0);
  if (!to) return 0;
  char text[8] = {'a', 'b', 'c', (char)skb->len, 0, 'e'};
  static const char same[] = "abc";
  static const char longer[] = "abcde";
  to->result = bpf_strncmp(text, 3, same) * 100 + bpf_strncmp(text, 4, same) * 10 +
               bpf_strncmp(text, 8, longer);
  return to->result;
}

SEC("tc")
int trace_many(struct __sk_buff* skb) {
  static const char format[] = "%d %d %d %d %d";
  __u64 values[] = {skb->len, 2, 3, 4, 5};
  long all = bpf_trace_vprintk(format, sizeof(format), values, sizeof(values));
  long few = bpf_trace_vprintk(format, sizeof(format), values, sizeof(values) - 8);
  long odd = bpf_trace_vprintk(format, sizeof(format), values, 7);
  long none = bpf_trace_vprintk(format, sizeof(format), 0, 0);
  long cut = bpf_trace_vprintk(format, 3, values, sizeof(values));
  return all * 1000 + (few + odd + none + cut);
}

char LICENSE[] SEC("license") = "GPL";

// Records for user space: a ring buffer filled by output and by reserve and submit, and perf events
// with packet bytes behind them.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct arrival {
  __u32 length;
  __u16 protocol;
  __u8 first_byte;
  __u8 kind;
};

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} ring SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(key_size, sizeof(int));
  __uint(value_size, sizeof(int));
} samples SEC(".maps");

// Keeps struct arrival in the BTF.
struct arrival* unused __attribute__((unused));

SEC("xdp")
int report(struct xdp_md* ctx) {
  const __u8* data = (const __u8*)(long)ctx->data;
  const __u8* end = (const __u8*)(long)ctx->data_end;
  if (data + 14 > end) return XDP_DROP;
  struct arrival* record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
  if (!record) return XDP_ABORTED;
  record->length = end - data;
  record->protocol = data[12] << 8 | data[13];
  record->first_byte = data[0];
  record->kind = 1;
  if (data[0] == 0xdd) {
    bpf_ringbuf_discard(record, 0);
  } else {
    bpf_ringbuf_submit(record, 0);
  }
  __u64 tag = 0x1122334455667788;
  if (bpf_ringbuf_output(&ring, &tag, sizeof(tag), 0)) return XDP_ABORTED;
  __u32 mark = 0xabcdef01;
  bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | 14ull << 32, &mark, sizeof(mark));
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";

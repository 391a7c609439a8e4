/* bpf_spin_lock in values of an array and a hash, and in global data: taken, given back, taken
 * again in every branch; values behind it counted; updates that leave the lock alone. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct account {
  __u32 id;
  struct bpf_spin_lock lock;
  __u64 packets;
  __u64 bytes;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct account);
} by_index SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, struct account);
} by_key SEC(".maps");

struct bpf_spin_lock global_lock SEC(".data.locked");
__u64 global_count SEC(".data.locked");

SEC("xdp")
int count_in_array(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  __u64 length = context->data_end - context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  __u32 key = data[11] & 15;
  struct account* account = bpf_map_lookup_elem(&by_index, &key);
  if (!account) return XDP_DROP;
  bpf_spin_lock(&account->lock);
  account->packets++;
  account->bytes += length;
  if (account->packets & 1) {
    bpf_spin_unlock(&account->lock);
    return XDP_PASS;
  }
  account->id = key;
  bpf_spin_unlock(&account->lock);
  bpf_spin_lock(&account->lock);
  account->bytes ^= 1;
  bpf_spin_unlock(&account->lock);
  return XDP_TX;
}

SEC("tc")
int count_in_hash(struct __sk_buff* skb) {
  __u32 key = skb->len & 31;
  struct account fresh = {.id = key, .packets = 100};
  struct account* account = bpf_map_lookup_elem(&by_key, &key);
  if (!account) return bpf_map_update_elem(&by_key, &key, &fresh, BPF_NOEXIST);
  bpf_spin_lock(&account->lock);
  account->packets++;
  __u64 packets = account->packets;
  bpf_spin_unlock(&account->lock);
  if (packets % 4 == 0) return bpf_map_update_elem(&by_key, &key, &fresh, BPF_F_LOCK) - 1;
  return packets % 3 == 0 ? bpf_map_delete_elem(&by_key, &key) : (int)packets;
}

SEC("tc")
int count_globally(struct __sk_buff* skb) {
  bpf_spin_lock(&global_lock);
  global_count += skb->len;
  __u64 count = global_count;
  bpf_spin_unlock(&global_lock);
  return count & 0xff;
}

char LICENSE[] SEC("license") = "GPL";

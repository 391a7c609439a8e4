/* Asks the device for its metadata and prints what it answers: kernel functions by name, weak ones
 * among them. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum xdp_rss_hash_type { XDP_RSS_TYPE_NONE };

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md* ctx, __u64* timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md* ctx, __u32* hash,
                                    enum xdp_rss_hash_type* type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md* ctx, __u16* protocol,
                                        __u16* tci) __ksym;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern int bpf_of_no_kernel(struct xdp_md* ctx) __ksym __weak;

SEC("xdp")
int ask(struct xdp_md* ctx) {
  __u64 timestamp = 0;
  __u32 hash = 0;
  enum xdp_rss_hash_type type = 0;
  __u16 protocol = 0, tci = 0;
  int failed = bpf_xdp_metadata_rx_timestamp(ctx, &timestamp);
  bpf_printk("timestamp %d %s", failed, timestamp <= bpf_ktime_get_ns() ? "past" : "to come");
  failed = bpf_xdp_metadata_rx_hash(ctx, &hash, &type);
  bpf_printk("hash %d type %u", failed, type);
  failed = bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tci);
  bpf_printk("tag %d", failed);
  if (bpf_rcu_read_lock) {
    bpf_rcu_read_lock();
    bpf_printk("rcu");
    bpf_rcu_read_unlock();
  }
  if (bpf_of_no_kernel) return bpf_of_no_kernel(ctx);
  return XDP_PASS;
}

SEC("xdp")
int ask_nothing(struct xdp_md* ctx) { return XDP_PASS; }

char LICENSE[] SEC("license") = "GPL";

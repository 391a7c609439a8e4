/* The types of the emulated kernel, as /sys/kernel/btf/vmlinux has them on Linux 6.18 for x86-64:
 * CO-RE relocations and __ksym variables of XDP and tc programs resolve against these. The types of
 * the UAPI are whole. Of the kernel's own, those fields are here that such programs commonly name,
 * in the kernel's types but not at its offsets: no program of these types may follow their pointers
 * yet. Test: tests/vm/objects_test.cpp. */
#include <linux/bpf.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/mpls.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

typedef _Bool bool;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef int pid_t;

struct vlan_hdr {
  __be16 h_vlan_TCI;
  __be16 h_vlan_encapsulated_proto;
};

struct vlan_ethhdr {
  unsigned char h_dest[6];
  unsigned char h_source[6];
  __be16 h_vlan_proto;
  __be16 h_vlan_TCI;
  __be16 h_vlan_encapsulated_proto;
};

struct gre_base_hdr {
  __be16 flags;
  __be16 protocol;
};

struct sctphdr {
  __be16 source;
  __be16 dest;
  __be32 vtag;
  __le32 checksum;
};

struct frag_hdr {
  __u8 nexthdr;
  __u8 reserved;
  __be16 frag_off;
  __be32 identification;
};

struct vxlanhdr {
  __be32 vx_flags;
  __be32 vx_vni;
};

struct net {
  unsigned int ns_inum;
};

typedef struct {
  struct net* net;
} possible_net_t;

struct net_device {
  char name[16];
  unsigned int flags;
  unsigned int mtu;
  unsigned short type;
  unsigned short hard_header_len;
  unsigned char addr_len;
  int ifindex;
  unsigned int num_rx_queues;
  unsigned int num_tx_queues;
  const unsigned char* dev_addr;
  possible_net_t nd_net;
};

struct sock_common {
  __be32 skc_daddr;
  __be32 skc_rcv_saddr;
  __be16 skc_dport;
  __u16 skc_num;
  unsigned short skc_family;
  volatile unsigned char skc_state;
  int skc_bound_dev_if;
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
  struct sock_common __sk_common;
  u32 sk_mark;
  u32 sk_priority;
  u16 sk_type;
  u16 sk_protocol;
};

typedef unsigned int sk_buff_data_t;

struct sk_buff {
  struct sk_buff* next;
  struct sk_buff* prev;
  struct net_device* dev;
  struct sock* sk;
  char cb[48];
  unsigned int len;
  unsigned int data_len;
  __u16 mac_len;
  __u16 hdr_len;
  __u16 queue_mapping;
  __u8 pkt_type : 3;
  __u8 ignore_df : 1;
  __u8 ip_summed : 2;
  __u32 priority;
  int skb_iif;
  __u32 hash;
  __be16 vlan_proto;
  __u16 vlan_tci;
  __u32 mark;
  __be16 protocol;
  __u16 transport_header;
  __u16 network_header;
  __u16 mac_header;
  sk_buff_data_t tail;
  sk_buff_data_t end;
  unsigned char* head;
  unsigned char* data;
  unsigned int truesize;
};

struct skb_shared_info {
  __u8 flags;
  __u8 meta_len;
  __u8 nr_frags;
  __u8 tx_flags;
  unsigned short gso_size;
  unsigned short gso_segs;
  unsigned int gso_type;
  unsigned int xdp_frags_size;
};

struct xdp_rxq_info {
  struct net_device* dev;
  u32 queue_index;
  u32 reg_state;
};

struct xdp_txq_info {
  struct net_device* dev;
};

struct xdp_buff {
  void* data;
  void* data_end;
  void* data_meta;
  void* data_hard_start;
  struct xdp_rxq_info* rxq;
  struct xdp_txq_info* txq;
  u32 frame_sz;
  u32 flags;
};

struct xdp_frame {
  void* data;
  u32 len;
  u32 headroom;
  u32 metasize;
  u32 frame_sz;
  struct net_device* dev_rx;
  u32 flags;
};

struct task_struct {
  unsigned int __state;
  pid_t pid;
  pid_t tgid;
  struct task_struct* real_parent;
  struct task_struct* group_leader;
  u64 start_time;
  char comm[16];
};

struct nf_conn {
  u32 mark;
  unsigned long status;
  u32 timeout;
};

/* Types without a tag of their own in a declaration stay out of BTF, so each stands in a variable.
 */
#define KEEP(TYPE, NAME) TYPE kept_##NAME __attribute__((used))
KEEP(struct xdp_md, xdp_md);
KEEP(struct __sk_buff, __sk_buff);
KEEP(struct bpf_fib_lookup, bpf_fib_lookup);
KEEP(struct bpf_redir_neigh, bpf_redir_neigh);
KEEP(struct bpf_tunnel_key, bpf_tunnel_key);
KEEP(struct bpf_xfrm_state, bpf_xfrm_state);
KEEP(struct bpf_sock, bpf_sock);
KEEP(struct bpf_sock_tuple, bpf_sock_tuple);
KEEP(struct bpf_tcp_sock, bpf_tcp_sock);
KEEP(struct bpf_spin_lock, bpf_spin_lock);
KEEP(struct bpf_timer, bpf_timer);
KEEP(struct bpf_devmap_val, bpf_devmap_val);
KEEP(struct bpf_cpumap_val, bpf_cpumap_val);
KEEP(struct bpf_perf_event_value, bpf_perf_event_value);
KEEP(enum bpf_func_id, bpf_func_id);
KEEP(enum bpf_map_type, bpf_map_type);
KEEP(enum bpf_prog_type, bpf_prog_type);
KEEP(enum bpf_attach_type, bpf_attach_type);
KEEP(enum xdp_action, xdp_action);
KEEP(struct ethhdr, ethhdr);
KEEP(struct vlan_hdr, vlan_hdr);
KEEP(struct vlan_ethhdr, vlan_ethhdr);
KEEP(struct arphdr, arphdr);
KEEP(struct iphdr, iphdr);
KEEP(struct ip_auth_hdr, ip_auth_hdr);
KEEP(struct ip_esp_hdr, ip_esp_hdr);
KEEP(struct ipv6hdr, ipv6hdr);
KEEP(struct ipv6_opt_hdr, ipv6_opt_hdr);
KEEP(struct ipv6_rt_hdr, ipv6_rt_hdr);
KEEP(struct frag_hdr, frag_hdr);
KEEP(struct in_addr, in_addr);
KEEP(struct in6_addr, in6_addr);
KEEP(struct tcphdr, tcphdr);
KEEP(struct udphdr, udphdr);
KEEP(struct sctphdr, sctphdr);
KEEP(struct icmphdr, icmphdr);
KEEP(struct icmp6hdr, icmp6hdr);
KEEP(struct gre_base_hdr, gre_base_hdr);
KEEP(struct vxlanhdr, vxlanhdr);
KEEP(struct mpls_label, mpls_label);
KEEP(struct net, net);
KEEP(struct net_device, net_device);
KEEP(struct sock, sock);
KEEP(struct sk_buff, sk_buff);
KEEP(struct skb_shared_info, skb_shared_info);
KEEP(struct xdp_rxq_info, xdp_rxq_info);
KEEP(struct xdp_txq_info, xdp_txq_info);
KEEP(struct xdp_buff, xdp_buff);
KEEP(struct xdp_frame, xdp_frame);
KEEP(struct task_struct, task_struct);
KEEP(struct nf_conn, nf_conn);
KEEP(s8, s8);
KEEP(s16, s16);
KEEP(s32, s32);
KEEP(s64, s64);
KEEP(bool, bool);

/* The one kernel variable that programs here name. */
struct net init_net __attribute__((used));

/* Of <net/xdp.h>: what an RSS hash covers. */
enum xdp_rss_hash_type {
  XDP_RSS_L3_IPV4 = 1,
  XDP_RSS_L3_IPV6 = 2,
  XDP_RSS_L3_DYNHDR = 4,
  XDP_RSS_L4 = 8,
  XDP_RSS_L4_TCP = 16,
  XDP_RSS_L4_UDP = 32,
  XDP_RSS_L4_SCTP = 64,
  XDP_RSS_L4_IPSEC = 128,
  XDP_RSS_L4_ICMP = 256,
  XDP_RSS_TYPE_NONE = 0,
  XDP_RSS_TYPE_L2 = 0,
  XDP_RSS_TYPE_L3_IPV4 = 1,
  XDP_RSS_TYPE_L3_IPV6 = 2,
  XDP_RSS_TYPE_L3_IPV4_OPT = 5,
  XDP_RSS_TYPE_L3_IPV6_EX = 6,
  XDP_RSS_TYPE_L4_ANY = 8,
  XDP_RSS_TYPE_L4_IPV4_TCP = 25,
  XDP_RSS_TYPE_L4_IPV4_UDP = 41,
  XDP_RSS_TYPE_L4_IPV4_SCTP = 73,
  XDP_RSS_TYPE_L4_IPV4_IPSEC = 137,
  XDP_RSS_TYPE_L4_IPV4_ICMP = 265,
  XDP_RSS_TYPE_L4_IPV6_TCP = 26,
  XDP_RSS_TYPE_L4_IPV6_UDP = 42,
  XDP_RSS_TYPE_L4_IPV6_SCTP = 74,
  XDP_RSS_TYPE_L4_IPV6_IPSEC = 138,
  XDP_RSS_TYPE_L4_IPV6_ICMP = 266,
  XDP_RSS_TYPE_L4_IPV6_TCP_EX = 30,
  XDP_RSS_TYPE_L4_IPV6_UDP_EX = 46,
  XDP_RSS_TYPE_L4_IPV6_SCTP_EX = 78,
};
KEEP(enum xdp_rss_hash_type, xdp_rss_hash_type);

struct bpf_iter_num {
  __u64 __opaque[1];
} __attribute__((aligned(8)));

/* Of the kernel's own tests. */
struct prog_test_ref_kfunc {
  int a;
  int b;
  struct prog_test_ref_kfunc* next;
};

struct bpf_list_head {
  __u64 __opaque[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
  __u64 __opaque[3];
} __attribute__((aligned(8)));
struct bpf_rb_root {
  __u64 __opaque[2];
} __attribute__((aligned(8)));
struct bpf_rb_node {
  __u64 __opaque[4];
} __attribute__((aligned(8)));

/* The kfuncs of vm/kfuncs. Only their types are of use: a declaration alone leaves none. */
#define KFUNC(RESULT, NAME, ...) \
  __attribute__((used)) RESULT NAME(__VA_ARGS__) { return (RESULT)0; }
KFUNC(int, bpf_xdp_metadata_rx_timestamp, const struct xdp_md* ctx, u64* timestamp)
KFUNC(int, bpf_xdp_metadata_rx_hash, const struct xdp_md* ctx, u32* hash,
      enum xdp_rss_hash_type* rss_type)
KFUNC(int, bpf_xdp_metadata_rx_vlan_tag, const struct xdp_md* ctx, __be16* vlan_proto,
      u16* vlan_tci)
KFUNC(int, bpf_dynptr_from_skb, struct __sk_buff* s, u64 flags, struct bpf_dynptr* ptr__uninit)
KFUNC(int, bpf_dynptr_from_xdp, struct xdp_md* x, u64 flags, struct bpf_dynptr* ptr__uninit)
KFUNC(void*, bpf_dynptr_slice, const struct bpf_dynptr* p, u32 offset, void* buffer__opt,
      u32 buffer__szk)
KFUNC(void*, bpf_dynptr_slice_rdwr, const struct bpf_dynptr* p, u32 offset, void* buffer__opt,
      u32 buffer__szk)
KFUNC(int, bpf_dynptr_adjust, const struct bpf_dynptr* p, u32 start, u32 end)
KFUNC(bool, bpf_dynptr_is_null, const struct bpf_dynptr* p)
KFUNC(bool, bpf_dynptr_is_rdonly, const struct bpf_dynptr* p)
KFUNC(__u32, bpf_dynptr_size, const struct bpf_dynptr* p)
KFUNC(int, bpf_dynptr_clone, const struct bpf_dynptr* p, struct bpf_dynptr* clone__uninit)
KFUNC(void*, bpf_cast_to_kern_ctx, void* obj)
KFUNC(void*, bpf_rdonly_cast, const void* obj__ign, u32 btf_id__k)
KFUNC(void, bpf_throw, u64 cookie)
KFUNC(void*, bpf_obj_new_impl, u64 local_type_id__k, void* meta__ign)
KFUNC(void, bpf_obj_drop_impl, void* p__alloc, void* meta__ign)
KFUNC(void, bpf_kfunc_call_test_release, struct prog_test_ref_kfunc* p)
KFUNC(void*, bpf_refcount_acquire_impl, void* p__refcounted_kptr, void* meta__ign)
KFUNC(int, bpf_list_push_front_impl, struct bpf_list_head* head, struct bpf_list_node* node,
      void* meta__ign, u64 off)
KFUNC(int, bpf_list_push_back_impl, struct bpf_list_head* head, struct bpf_list_node* node,
      void* meta__ign, u64 off)
KFUNC(struct bpf_list_node*, bpf_list_pop_front, struct bpf_list_head* head)
KFUNC(struct bpf_list_node*, bpf_list_pop_back, struct bpf_list_head* head)
KFUNC(struct bpf_list_node*, bpf_list_front, struct bpf_list_head* head)
KFUNC(struct bpf_list_node*, bpf_list_back, struct bpf_list_head* head)
KFUNC(int, bpf_rbtree_add_impl, struct bpf_rb_root* root, struct bpf_rb_node* node,
      bool(less)(struct bpf_rb_node* a, const struct bpf_rb_node* b), void* meta__ign, u64 off)
KFUNC(struct bpf_rb_node*, bpf_rbtree_remove, struct bpf_rb_root* root, struct bpf_rb_node* node)
KFUNC(struct bpf_rb_node*, bpf_rbtree_first, struct bpf_rb_root* root)
KFUNC(struct bpf_rb_node*, bpf_rbtree_root, struct bpf_rb_root* root)
KFUNC(struct bpf_rb_node*, bpf_rbtree_left, struct bpf_rb_root* root, struct bpf_rb_node* node)
KFUNC(struct bpf_rb_node*, bpf_rbtree_right, struct bpf_rb_root* root, struct bpf_rb_node* node)
KFUNC(int, bpf_iter_num_new, struct bpf_iter_num* it, int start, int end)
KFUNC(int*, bpf_iter_num_next, struct bpf_iter_num* it)
KFUNC(void, bpf_iter_num_destroy, struct bpf_iter_num* it)
KFUNC(void, bpf_rcu_read_lock, void)
KFUNC(void, bpf_rcu_read_unlock, void)
KFUNC(void, bpf_preempt_disable, void)
KFUNC(void, bpf_preempt_enable, void)

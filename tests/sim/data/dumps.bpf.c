// Maps whose values exercise every kind of BTF type; record_dumps fills and dumps them.
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

enum proto { PROTO_TCP = 6, PROTO_UDP = 17, PROTO_NEG = -3 };
enum wide_enum : unsigned long long { WIDE_A = 0x1234567890ull };
typedef __u32 address_t;
struct pair {
  __u8 a;
  __s16 b;
};
struct thing {
  __u64 packets;
  __s64 delta;
  char name[8];
  unsigned char raw[3];
  _Bool on;
  enum proto proto;
  struct pair in;
  struct pair ins[2];
  union {
    __u32 word;
    __u16 half[2];
  } u;
  struct {
    __u16 x;
    __u16 y;
  };
  union {
    __u32 w;
    __u8 z[4];
  };
  unsigned f1 : 3, f2 : 13;
  int f3 : 5;
  const volatile address_t address;
  void* pointer;
  char c;
  signed char sc;
  enum wide_enum wide;
  unsigned __int128 huge;
  int grid[2][3];
};
struct thing_key {
  address_t address;
  __u16 port;
  __u16 pad;
};
struct prefix {
  __u32 length;
  __u8 address[4];
};

#define MAP(map_name, map_type, key_type, value_type, entries, flags) \
  struct {                                                            \
    __uint(type, map_type);                                           \
    __type(key, key_type);                                            \
    __type(value, value_type);                                        \
    __uint(max_entries, entries);                                     \
    __uint(map_flags, flags);                                         \
  } map_name SEC(".maps")

typedef char text4[4];
MAP(things, BPF_MAP_TYPE_HASH, struct thing_key, struct thing, 4, 0);
MAP(pairs, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct pair, 2, 0);
MAP(percpu_names, BPF_MAP_TYPE_PERCPU_HASH, text4, __s64, 2, 0);
MAP(counters, BPF_MAP_TYPE_ARRAY, __u32, __u64, 3, 0);
MAP(names, BPF_MAP_TYPE_HASH, text4, __s8, 3, 0);
MAP(protocols, BPF_MAP_TYPE_HASH, enum proto, _Bool, 3, 0);
MAP(prefixes, BPF_MAP_TYPE_LPM_TRIE, struct prefix, __u32, 3, BPF_F_NO_PREALLOC);

int global_a = 5;
int global_b[2] = {7, 8};

SEC("xdp") int use_all(struct xdp_md* context) {
  __u64 key[2] = {};
  bpf_map_lookup_elem(&things, key);
  bpf_map_lookup_elem(&pairs, key);
  bpf_map_lookup_elem(&percpu_names, key);
  bpf_map_lookup_elem(&counters, key);
  bpf_map_lookup_elem(&names, key);
  bpf_map_lookup_elem(&protocols, key);
  bpf_map_lookup_elem(&prefixes, key);
  return global_a + global_b[1];
}

char _license[] SEC("license") = "GPL";

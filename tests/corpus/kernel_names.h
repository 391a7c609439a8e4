// Names that samples of the kernel take from its inner headers, which the corpus does without.
#pragma once

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/socket.h>
#include <linux/stddef.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>

#define u8 __u8
#define u16 __u16
#define u32 __u32
#define u64 __u64
#define __force
#define __packed __attribute__((packed))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define htons(value) __builtin_bswap16(value)
#define ntohs(value) __builtin_bswap16(value)
#define htonl(value) __builtin_bswap32(value)
#define ntohl(value) __builtin_bswap32(value)
#define cpu_to_be16 htons
#define cpu_to_be32 htonl
#define be16_to_cpu ntohs
#define be32_to_cpu ntohl
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#define AF_INET 2
#define AF_INET6 10

struct vlan_hdr {
  __be16 h_vlan_TCI;
  __be16 h_vlan_encapsulated_proto;
};

// Stands in front of a program that is compiled for this machine: its context has whole addresses.
#ifndef XNIC_BENCH_NATIVE_H
#define XNIC_BENCH_NATIVE_H

#define xdp_md xdp_md_of_linux
#include <linux/bpf.h>
#undef xdp_md

struct xdp_md {
  unsigned long data;
  unsigned long data_end;
  unsigned long data_meta;
};

#endif

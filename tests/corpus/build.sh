#!/bin/bash
# Builds the XDP and tc programs of the kernel's samples and selftests, of each linux-source package
# of Debian that is installed, and gathers the objects that Debian ships.
#   tests/corpus/build.sh FOLDER
# FOLDER/objects/ORIGIN/NAME.o is what comes out, FOLDER/objects/ORIGIN/NAME.log the compiler's words
# where nothing came out. A second call builds what has changed.
set -euo pipefail

readonly kHere=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
mkdir -p "$1"
cd "$1"

# The parts of a kernel's source that the programs need.
readonly kParts=(samples/bpf tools/testing/selftests/bpf tools/lib/bpf tools/include scripts/bpf_doc.py
  include/uapi/linux/bpf.h)
# Section names that say XDP or tc.
readonly kSections='SEC\("\??(xdp|tc|tcx|classifier|action|netkit)[."/_]'

extract() {  # VERSION
  local archive=/usr/src/linux-source-$1.tar.xz
  if [[ -e $1/extracted && ! $archive -nt $1/extracted ]]; then
    return 0
  fi
  rm -rf "$1"
  mkdir -p "$1"
  local part parts=()
  for part in "${kParts[@]}"; do parts+=("linux-source-$1/$part"); done
  xz -T0 -dc "$archive" | tar x -C "$1" --strip-components=1 "${parts[@]}"
  mkdir -p "$1/headers/bpf"
  cp "$1"/tools/lib/bpf/*.h "$1/headers/bpf/"
  python3 "$1/scripts/bpf_doc.py" --header --file "$1/include/uapi/linux/bpf.h" \
    >"$1/headers/bpf/bpf_helper_defs.h"
  # The samples say uapi/linux/..., which outside of the kernel's tree is linux/...
  ln -sfn /usr/include "$1/headers/uapi"
  mkdir -p "$1/headers/net"
  : >"$1/headers/net/ipv6.h"
  # More fragments follow, or an offset.
  echo 'static inline int ip_is_fragment(const struct iphdr* ip)' \
    '{ return (ip->frag_off & __builtin_bswap16(0x3fff)) != 0; }' >"$1/headers/net/ip.h"
  touch "$1/extracted"
}

# Sources of a folder that hold XDP or tc programs themselves or include a file that does.
sources() {  # FOLDER
  local holders pattern
  holders=$(grep -lE "$kSections" "$1"/*.[ch]) || true
  pattern=$(sed 's|.*/||' <<<"$holders" | paste -sd'|')
  {
    grep '\.c$' <<<"$holders"
    grep -lE "#include \"(${pattern//./\\.})\"" "$1"/*.c || true
  } | sort -u
}

object() {  # ORIGIN SOURCE FLAGS
  local name=${2##*/}
  name=${name%.c}
  echo "build objects/$1/${name%.bpf}.tried: compile $2 | vmlinux/vmlinux.h"
  echo "  flags = $3"
}

rules() {
  echo "rule compile"
  echo "  command = bash $kHere/compile.sh \$out \$in \$flags"
  echo "  depfile = \$out.d"
  echo "  deps = gcc"
  echo "  description = \$out"
  local version source common common_part
  for version in "$@"; do
    common="-I$version/headers -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include"
    local cpu=v3
    [[ $version == 6.1 ]] || cpu=v4
    local tests=$version/tools/testing/selftests/bpf
    for source in $(sources "$tests/progs"); do
      object "linux-$version/selftests" "$source" "-mcpu=$cpu -Ivmlinux $common -I$tests \
-I$version/tools/include/uapi -DENABLE_ATOMICS_TESTS -std=gnu11 -fno-strict-aliasing -fms-extensions"
    done
    for source in "$version"/samples/bpf/{xdp*_kern,tc_*_kern,tcbpf*_kern,test_cgrp2_tc_kern}.c \
      "$version"/samples/bpf/parse_*.c; do
      local transport=
      [[ $source != */xdp* ]] || transport="-include linux/tcp.h -include linux/udp.h"
      [[ ! -e $source ]] || object "linux-$version/samples" "$source" "-mcpu=v1 $transport $common \
-I$version/samples/bpf -I$tests -I$version/tools/include/uapi -include $kHere/kernel_names.h"
    done
    # Linked with this one in the kernel's tree.
    common_part=$version/samples/bpf/xdp_sample.bpf.c
    for source in "$version"/samples/bpf/xdp*.bpf.c; do
      [[ -e $source && $source != "$common_part" ]] || continue
      object "linux-$version/samples" "$source" "-mcpu=v3 -Ivmlinux $common \
-I$version/samples/bpf -I$tests -include $common_part"
    done
  done
}

gather() {
  local origin=objects/debian/xdp-tools file
  mkdir -p "$origin"
  for file in /usr/lib/*/bpf/*.o /usr/libexec/xdp-tools/*.o; do
    [[ ! -e $file ]] || cp -u "$file" "$origin/"
  done
}

versions=()
for version in 6.1 6.12; do
  if [[ -e /usr/src/linux-source-$version.tar.xz ]]; then
    versions+=("$version")
    extract "$version"
  fi
done
mkdir -p vmlinux
bpftool btf dump file /sys/kernel/btf/vmlinux format c >vmlinux/new.h
cmp -s vmlinux/new.h vmlinux/vmlinux.h || mv vmlinux/new.h vmlinux/vmlinux.h
rm -f vmlinux/new.h
rules "${versions[@]}" >new.ninja
cmp -s new.ninja build.ninja || mv new.ninja build.ninja
rm -f new.ninja
ninja --quiet
gather

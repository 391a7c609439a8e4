#!/bin/bash
# Compiles one program of the corpus:
#   compile.sh TRIED SOURCE FLAGS...
# TRIED is X.tried: X.o is the object, or X.log has the compiler's words where there is none. A
# program that does not build is a line in the table, so this succeeds either way.
tried=$1
source=$2
shift 2
name=${tried%.tried}
if clang-19 -target bpf -O2 -g -D__TARGET_ARCH_x86 -mlittle-endian -w "$@" -MD -MF "$tried.d" \
  -MT "$tried" -c "$source" -o "$name.o" 2>"$name.log"; then
  rm -f "$name.log"
else
  rm -f "$name.o"
  [[ -e $tried.d ]] || echo "$tried: $source" >"$tried.d"
fi
touch "$tried"

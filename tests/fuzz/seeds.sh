#!/bin/bash
# Seeds for xnic_verifier_fuzz: the code sections of object files.
#   tests/fuzz/seeds.sh FOLDER OBJECT...
set -euo pipefail

folder=$1
shift
mkdir -p "$folder"
for object in "$@"; do
  name=$(basename "$object" .o)
  llvm-readelf-19 -S "$object" | sed -n 's/^ *\[ *[0-9]*\] \([^ ]*\) *PROGBITS .* AX .*/\1/p' |
    while read -r section; do
      seed=$folder/$name-${section//\//_}
      case $section in
        xdp*) printf '\0' >"$seed" ;;
        *) printf '\1' >"$seed" ;;
      esac
      llvm-objcopy-19 --dump-section "$section=$seed.code" "$object" /dev/null
      cat "$seed.code" >>"$seed"
      rm "$seed.code"
    done
done

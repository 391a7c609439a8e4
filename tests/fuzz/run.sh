#!/bin/bash
# Runs every fuzz target in turn, from seeds of this project and from what earlier runs kept:
#   tests/fuzz/run.sh BUILD SECONDS [OBJECT...]
# BUILD is the folder of the preset fuzz, SECONDS are for each target, OBJECTs are more seeds for
# the verifier. BUILD/found/TARGET keeps the inputs that reach something new, and one that ends the
# run is BUILD/found/TARGET-crash-... (or -timeout-, -oom-); `BUILD/xnic_TARGET_fuzz FILE` repeats it.
set -euo pipefail

readonly kRoot=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
readonly kBuild=$(realpath "$1")
readonly kSeconds=$2
shift 2

seeds=$kBuild/seeds
if [[ ! -d $seeds ]]; then
  mkdir -p "$seeds"/{capture,profile,network,map_contents}
  "$kRoot/tests/fuzz/seeds.sh" "$seeds/verifier" "$kRoot"/build/tests/bpf/*.o "$@"
  # The first byte chooses: no filter, TOML, an array.
  for file in "$kRoot"/traces/data/*.pcap; do
    { printf '\0'; head -c 4000 "$file"; } >"$seeds/capture/${file##*/}"
  done
  for file in "$kRoot"/examples/net/*.toml; do
    { printf '\0'; cat "$file"; } >"$seeds/network/${file##*/}"
  done
  for file in "$kRoot"/examples/maps/*; do
    { printf '\0'; cat "$file"; } >"$seeds/map_contents/${file##*/}"
  done
  cp "$kRoot"/examples/nics/*.toml "$seeds/profile/"
fi

status=0
for target in verifier capture profile network map_contents; do
  echo "== $target, $kSeconds seconds"
  mkdir -p "$kBuild/found/$target"
  # A program of a million instructions takes the verifier some seconds, more with sanitizers.
  "$kBuild/xnic_${target}_fuzz" -max_total_time="$kSeconds" -max_len=4096 -timeout=300 \
    -rss_limit_mb=3000 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$kBuild/found/$target-" "$kBuild/found/$target" "$seeds/$target" || status=1
done
exit $status

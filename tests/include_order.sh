#!/bin/bash
# Holds the folders to their include order, vm <- { jit, traces } <- nic <- sim, and each outside
# library to the folders that may know it. Prints every #include that breaks a rule.
#
#   tests/include_order.sh [ROOT]        checks the tree at ROOT, by default this one
#   tests/include_order.sh --self-test   checks the check: each rule must catch its violation
set -euo pipefail

readonly kFolders='vm jit traces nic sim'

check() {
  local root=$1
  cd "$root" || return
  find $kFolders -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.c' \) -print0 |
    sort -z | xargs -0 -r awk '
      BEGIN {
        allowed["vm"] = "vm"
        allowed["jit"] = "jit vm"
        allowed["traces"] = "traces vm"
        allowed["nic"] = "nic traces vm"
        allowed["sim"] = "sim nic traces jit vm"
      }
      function has(list, word) { return index(" " list " ", " " word " ") > 0 }
      function bad(reason) {
        printf "%s:%d: %s: %s\n", FILENAME, FNR, reason, $0
        failures++
      }
      function outside_library(path, folder) {
        if (path ~ /^(systemc|tlm|sysc|tlm_core|tlm_utils)([.\/_]|$)/ && !has("nic sim", folder))
          bad("SystemC belongs in nic and sim")
        if (path ~ /^asmjit([.\/]|$)/ && folder != "jit")
          bad("asmjit belongs in jit")
        if (path ~ /^rte_/ && FILENAME !~ /^nic\/ports\/dpdk/)
          bad("DPDK belongs in nic/ports/dpdk*")
        if (path ~ /^pcap([.\/-]|$)/ && folder != "traces")
          bad("libpcap belongs in traces")
      }
      /^[ \t]*#[ \t]*include[ \t]*["<]/ {
        folder = FILENAME
        sub(/\/.*/, "", folder)
        path = $0
        quoted = path ~ /^[ \t]*#[ \t]*include[ \t]*"/
        sub(/^[ \t]*#[ \t]*include[ \t]*["<]/, "", path)
        sub(/[">].*/, "", path)
        first = path
        sub(/\/.*/, "", first)
        if ((first in allowed) && index(path, "/") > 0) {
          if (!has(allowed[folder], first)) bad(folder " may not include " first)
        } else if (quoted) {
          bad("a path in quotes starts at the root of the tree, in one of the five folders")
        }
        outside_library(path, folder)
      }
      END { exit failures > 0 }
    '
}

# One violation a line: the file that would hold it, then the #include.
violations() {
  cat <<'END'
vm/wrong.h #include "jit/engine.h"
vm/wrong.cpp #include "sim/outcome.h"
vm/wrong.cpp   #  include "traces/reader.h"
vm/wrong.h #include <nic/port.h>
jit/wrong.cpp #include "traces/reader.h"
jit/wrong.cpp #include "nic/port.h"
traces/wrong.cpp #include "jit/engine.h"
traces/deeper/wrong.cpp #include "sim/outcome.h"
nic/wrong.cpp #include "jit/engine.h"
nic/wrong.h #include "sim/outcome.h"
sim/wrong.cpp #include "tests/fixture.h"
sim/wrong.cpp #include "outcome.h"
nic/ports/wrong.cpp #include "../port.h"
vm/wrong.cpp #include <systemc>
traces/wrong.h #include <tlm_utils/peq_with_get.h>
nic/wrong.cpp #include <asmjit/asmjit.h>
sim/wrong.cpp #include <asmjit.h>
nic/ports/capture.cpp #include <rte_ethdev.h>
sim/wrong.cpp #include <rte_mbuf.h>
nic/wrong.cpp #include <pcap/pcap.h>
vm/wrong.cpp #include <pcap.h>
END
}

self_test() {
  local file include status=0
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  mkdir "$scratch/right"
  (
    cd "$scratch/right"
    mkdir -p vm jit traces nic/ports sim
    echo '#include "vm/packet.h"' | tee vm/a.h jit/a.h traces/a.h nic/a.h >sim/a.h
    echo '#include <asmjit/x86.h>' >>jit/a.h
    echo '#include <pcap/pcap.h>' >>traces/a.h
    printf '#include "traces/a.h"\n#include <systemc>\n' | tee -a nic/a.h >>sim/a.h
    printf '#include "nic/a.h"\n#include "jit/a.h"\n' >>sim/a.h
    echo '#include <rte_ethdev.h>' >nic/ports/dpdk.cpp
  )
  if ! (check "$scratch/right"); then
    echo "include order, self-test: a correct tree was refused." >&2
    status=1
  fi
  while read -r file include; do
    rm -rf "$scratch/wrong"
    cp -r "$scratch/right" "$scratch/wrong"
    mkdir -p "$scratch/wrong/$(dirname "$file")"
    echo "$include" >>"$scratch/wrong/$file"
    if (check "$scratch/wrong" >/dev/null); then
      echo "include order, self-test: not caught: $include in $file" >&2
      status=1
    fi
  done < <(violations)
  return "$status"
}

if [[ ${1-} == --self-test ]]; then
  self_test
  echo "include order, self-test: every rule catches its violation."
else
  root=${1-$(dirname "${BASH_SOURCE[0]}")/..}
  if ! (check "$root"); then
    echo "include order: broken by the lines above." >&2
    exit 1
  fi
  echo "include order: kept."
fi

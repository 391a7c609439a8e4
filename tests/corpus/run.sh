#!/bin/bash
# Tries every object of the corpus on both kernels, two at a time.
#   tests/corpus/run.sh FOLDER XNIC_CORPUS
# FOLDER/results/ORIGIN/NAME.json is what comes out. Tried again is what has changed: the object, or
# xnic itself.
set -euo pipefail

readonly kTool=$(realpath "$2")
cd "$1"
{
  echo "builddir = results"
  echo "rule try"
  echo "  command = $kTool try \$in \$out"
  echo "  description = \$out"
  find objects -name '*.o' | sort | while read -r object; do
    result=results/${object#objects/}
    echo "build ${result%.o}.json: try $object | $kTool"
  done
} >results.ninja
ninja -f results.ninja --quiet -k 0 -j 2
# Results of objects that are gone.
find results -name '*.json' | while read -r result; do
  object=objects/${result#results/}
  [[ -e ${object%.json}.o ]] || rm -f "$result"
done

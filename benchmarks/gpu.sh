#!/bin/sh
# Checks and times on a GPU what otherwise runs on CPUs, in less than eight minutes:
#
#     benchmarks/gpu.sh [RESULTS] [python benchmarks/gpu.py's options]
#
# `--device cpu --small` runs everything in a small size, to see that the script works. A stage that
# fails says why, and the others go on; the exit code is 1 then. The tables go to RESULTS as well.
set -u
results=${1:-gpu.md}
[ $# -gt 0 ] && shift
cd "$(dirname "$0")" || exit 1
status=$(mktemp)
{ timeout 480 "${PYTHON:-python3}" gpu.py "$@"; echo $? >"$status"; } 2>&1 | tee "$results"
code=$(cat "$status")
rm -f "$status"
exit "$code"

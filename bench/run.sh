#!/usr/bin/env bash
# make bench: every benchmark of this folder, the peers in environments of their own under build/bench.
set -euo pipefail
source "$(dirname "$0")/../setup/common.sh"
log=$root/build/logs/bench.log

start_log
peers=build/bench/env
if [ "$(cat "$peers/.ready" 2>/dev/null)" != "$(sha256sum <bench/peers/pysaliency.txt)" ]; then
  python=$(python_311) || die "Python 3.11 is needed; give its path: make bench PYTHON=/path/to/python3.11"
  say "$peers: pysaliency and what it needs (about a minute)"
  rm -rf "$peers"
  logged "venv" "$python" -m venv "$peers" || die "a virtual environment cannot be made in $peers (see $log)"
  logged "pip" "$peers/bin/python" -m pip install --disable-pip-version-check --no-deps --requirement bench/peers/pysaliency.txt ||
    die "pip cannot install bench/peers/pysaliency.txt (network? see $log); the same command continues"
  sha256sum <bench/peers/pysaliency.txt >"$peers/.ready"
fi
# one thread each: what is compared is the code, not the number of cores
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
build/env/bin/python -m bench.metrics --peer "$peers/bin/python" --out build/bench/metrics.json

#!/usr/bin/env bash
# make bench: every benchmark of this folder, the peers in environments of their own under build/bench.
set -euo pipefail
source "$(dirname "$0")/../setup/common.sh"
log=$root/build/logs/bench.log

# peer NAME WHAT [PIP OPTION]...: build/bench/NAME with the pins of bench/peers/NAME.txt
peer() {
  local name=$1 what=$2 env=build/bench/$1 pins=bench/peers/$1.txt python
  shift 2
  [ "$(cat "$env/.ready" 2>/dev/null)" = "$(sha256sum <"$pins")" ] && return
  python=$(python_311) || die "Python 3.11 is needed; give its path: make bench PYTHON=/path/to/python3.11"
  say "$env: $what (about a minute)"
  rm -rf "$env"
  logged "venv" "$python" -m venv "$env" || die "a virtual environment cannot be made in $env (see $log)"
  logged "pip" "$env/bin/python" -m pip install --disable-pip-version-check "$@" --requirement "$pins" ||
    die "pip cannot install $pins (network? see $log); the same command continues"
  sha256sum <"$pins" >"$env/.ready"
}

start_log
peer pysaliency "pysaliency and what it needs" --no-deps
peer pytorch "PyTorch"
# one thread each: what is compared is the code, not the number of cores
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
  build/env/bin/python -m bench.metrics --peer build/bench/pysaliency/bin/python --out build/bench/metrics.json
build/env/bin/python -m bench.shallow --peer build/bench/pytorch/bin/python --out build/bench/shallow.json
build/env/bin/python -m bench.deep --peer build/bench/pytorch/bin/python --out build/bench/deep.json
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
  build/env/bin/python -m bench.data ${OSIE:+--osie "$OSIE"} --out build/bench/data.json
build/env/bin/python -m bench.predict --out build/bench/predict.json

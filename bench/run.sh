#!/usr/bin/env bash
# make bench: run all benchmarks of this folder. Peers are installed in environments of their own under build/bench.
set -euo pipefail
source "$(dirname "$0")/../setup/common.sh"
log=$root/build/logs/bench.log

# install_peer NAME CONTENT [PIP OPTION]...   install the pins of bench/peers/NAME.txt into build/bench/NAME
install_peer() {
  local content=$2 env=build/bench/$1 pins=bench/peers/$1.txt python
  shift 2
  [ "$(cat "$env/.ready" 2>/dev/null)" = "$(sha256sum <"$pins")" ] && return
  python=$(python_311)
  [ -n "$python" ] || die "Python 3.11 is required; give its path: make bench PYTHON=/path/to/python3.11"
  echo "$env: installing $content (about a minute)"
  rm -rf "$env"
  make_venv "$python" "$env"
  logged "pip" "$env/bin/python" -m pip install --disable-pip-version-check "$@" --requirement "$pins" ||
    die "$pins: pip cannot install it (see $log); check the network and run the same command again"
  sha256sum <"$pins" >"$env/.ready"
}

start_log
install_peer pysaliency "pysaliency" --no-deps
install_peer pytorch "PyTorch"
# one thread each, to compare the code and not the use of cores
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
  build/env/bin/python -m bench.metrics --peer build/bench/pysaliency/bin/python --out build/bench/metrics.json
build/env/bin/python -m bench.shallow --peer build/bench/pytorch/bin/python --out build/bench/shallow.json
build/env/bin/python -m bench.deep --peer build/bench/pytorch/bin/python --out build/bench/deep.json
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
  build/env/bin/python -m bench.data ${OSIE:+--osie "$OSIE"} --out build/bench/data.json
build/env/bin/python -m bench.predict --out build/bench/predict.json

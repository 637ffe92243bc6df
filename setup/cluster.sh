#!/usr/bin/env bash
# make cluster: Dask into build/env, so that evaluation.score can work on many machines.
set -euo pipefail
source "$(dirname "$0")/common.sh"
log=$root/build/logs/cluster.log

start_log
logged "pip" build/env/bin/python -m pip install --disable-pip-version-check --no-deps --requirement requirements-cluster.txt ||
  die "pip cannot install requirements-cluster.txt: $(grep -E '^ *ERROR' "$log" | tail -n 1 | cut -c 1-200 || true) (network? see $log); the same command continues"
say "Dask is in build/env: python -m evaluation.score ... --dask tcp://scheduler:8786 (or --dask local)"

#!/usr/bin/env bash
# add.sh NAME LINE: requirements-NAME.txt into build/env, then say LINE.
set -euo pipefail
source "$(dirname "$0")/common.sh"
log=$root/build/logs/$1.log

start_log
logged "pip" build/env/bin/python -m pip install --disable-pip-version-check --no-deps --requirement "requirements-$1.txt" ||
  die "pip cannot install requirements-$1.txt: $(grep -E '^ *ERROR' "$log" | tail -n 1 | cut -c 1-200 || true) (network? see $log); the same command continues"
say "$2"

#!/usr/bin/env bash
# make env: a virtual environment in build/env with Python 3.11 and the pins of requirements.txt.
set -euo pipefail
source "$(dirname "$0")/common.sh"
log=$root/build/logs/env.log

start_log
need_packages "${packages_env[@]}"
python=$(python_311) || die "Python 3.11 is needed (Theano 1.0.5 and numpy 1.23.5 run on no newer one), not ${PYTHON:-$(python3 --version 2>&1 || echo none)}; \
install it and give its path: make env PYTHON=/path/to/python3.11"

say "build/env: $("$python" --version) with the pins of requirements.txt (about a minute)"
logged "venv" "$python" -m venv build/env ||
  die "a virtual environment cannot be made in build/env (see $log); is the disk full, or python3-venv missing?"
# --no-deps: requirements.txt names every package, and nothing else may come in
logged "pip" build/env/bin/python -m pip install --disable-pip-version-check --no-deps --requirement requirements.txt ||
  die "pip cannot install requirements.txt: $(grep -E '^ *ERROR' "$log" | tail -n 1 | cut -c 1-200 || true) (network? see $log); the same command continues"
touch build/env/.ready
say "build/env is ready"

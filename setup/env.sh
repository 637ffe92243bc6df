#!/usr/bin/env bash
# make env: create a virtual environment in build/env with Python 3.11 and the pins of requirements.txt.
set -euo pipefail
source "$(dirname "$0")/common.sh"
log=$root/build/logs/env.log

start_log
need_packages "${packages_env[@]}"
python=$(python_311) || die "Python 3.11 is required (Theano 1.0.5 and numpy 1.23.5 do not run on newer versions), not ${PYTHON:-$(python3 --version 2>&1 || echo none)}; \
install it and give its path: make env PYTHON=/path/to/python3.11"

echo "build/env: installing the pins of requirements.txt for $("$python" --version) (about a minute)"
logged "venv" "$python" -m venv build/env ||
  die "build/env: the virtual environment cannot be created (see $log); free disk space or install python3-venv"
install_requirements requirements.txt
touch build/env/.ready
echo "build/env is ready"

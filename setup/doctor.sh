#!/usr/bin/env bash
# make doctor: list what is missing on this machine, each with a remedy. Changes nothing.
set -uo pipefail
source "$(dirname "$0")/common.sh"
trap - ERR # checks are expected to fail
missing=0

# report NAME STATE [REMEDY]   print a line; a remedy means that something is missing
report() {
  if [ -n "${3:-}" ]; then
    missing=$((missing + 1))
    printf '  MISSING  %-22s %s\n           -> %s\n' "$1" "$2" "$3"
  else
    printf '  ok       %-22s %s\n' "$1" "$2"
  fi
}

if command -v dpkg-query >/dev/null; then
  for group in env caffe; do
    declare -n packages="packages_$group"
    absent=$(missing_packages "${packages[@]}")
    report "packages for $group" "${absent:-all installed}" \
      "${absent:+make $group installs them as root or with sudo; manually: apt-get install --no-install-recommends $absent}"
  done
else
  report "Debian packages" "not a Debian system" "see packages_env and packages_caffe in setup/common.sh, or use environment.yml"
fi

compiler=$(command -v g++) && report "C++ compiler" "$(g++ --version | head -n 1)" ||
  report "C++ compiler" "no g++" "make env installs it; manually: apt-get install g++"
python=$(python_311) && report "Python 3.11" "$python, $("$python" --version 2>&1)" ||
  report "Python 3.11" "found ${PYTHON:-$(python3 --version 2>&1 | head -n 1)}" "make env installs it on Debian 12; elsewhere: make env PYTHON=/path/to/python3.11"
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge 3 ] && report "disk" "$free GB free" || report "disk" "$free GB free" "a demo run needs up to 3 GB; free some space"
memory=$(awk '/MemTotal/ { print int($2 / 1048576 + 0.5) }' /proc/meminfo 2>/dev/null || echo 0)
[ "$memory" -ge 4 ] && report "memory" "$memory GB" || report "memory" "$memory GB" "training and compiling need up to 3 GB; close programs or use a larger machine"

if [ -e build/env/.ready ]; then
  wrong=$(build/env/bin/python - <<'PYTHON'
import importlib.metadata, re
for line in open("requirements.txt"):
    if match := re.match(r"([\w.-]+)==(\S+)", line):
        try:
            version = importlib.metadata.version(match[1])
        except importlib.metadata.PackageNotFoundError:
            version = "missing"
        if version != match[2]:
            print(f"{match[1]} is {version}, not {match[2]}", end="; ")
PYTHON
  )
  report "build/env" "${wrong:-all packages as pinned}" "${wrong:+rm -rf build/env && make env}"
else
  report "build/env" "not created yet" "make env"
fi
if [ -e build/caffe/.ready ]; then
  reason=$(build/env/bin/python -c 'import caffe' 2>&1 | tail -n 1)
  report "build/caffe" "${reason:-imports}" "${reason:+rm -rf build/caffe && make caffe}"
else
  report "build/caffe" "not built yet" "make caffe"
fi

[ "$missing" = 0 ] && echo "nothing is missing" || echo "$missing missing; make reproduce-tables installs what it can"
[ "$missing" = 0 ]

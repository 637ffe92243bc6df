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

report "system" "$(system PRETTY_NAME), $(uname -m)"
python=$(python_311)
if in_conda; then
  report "packages" "those of the conda environment $CONDA_PREFIX"
elif has_apt; then
  absent=$(missing_packages $(packages_for env) $(packages_for caffe))
  report "packages" "${absent:-all installed}" \
    "${absent:+make env caffe installs them as root or with sudo; manually: $(as_root "$(install_command "$absent")")}"
elif [ -e build/caffe/.ready ]; then
  report "packages" "neither apt nor conda; Caffe is built, so nothing seems to be missing"
else
  report "packages" "neither apt nor conda: cannot be checked" "install those of packages_for in setup/common.sh, or use the container (setup/README.md)"
fi

if ! command -v "${compiler[0]}" >/dev/null; then
  report "C++ compiler" "no ${compiler[0]}" "make env installs g++, unless CXX names another one"
elif old_compiler; then
  report "C++ compiler" "$("${compiler[@]}" --version | head -n 1)" "too old: install version $oldest_compiler or newer and give CXX=its-path"
else
  report "C++ compiler" "$("${compiler[@]}" --version | head -n 1)"
fi
if [ -n "$python" ]; then
  report "Python 3.11" "$python, $("$python" --version 2>&1)"
elif [ -n "${PYTHON:-}" ]; then
  report "Python 3.11" "PYTHON=$PYTHON is none, or lacks headers, shared library or venv" "make env PYTHON=/path/to/python3.11, or without PYTHON"
elif is_debian12; then
  report "Python 3.11" "not installed, or without headers or venv" "make env installs it (python3-venv and python3-dev, listed above)"
elif has_apt; then
  report "Python 3.11" "not on this system" "make env unpacks Debian 12's into build/debian12; or give one: make env PYTHON=/path/to/python3.11"
else
  report "Python 3.11" "not found" "install it, with uv or pyenv for example, then: make env PYTHON=/path/to/python3.11"
fi
[ -w . ] && report "checkout" "$root" ||
  report "checkout" "$root cannot be written by user $(user)" "copy it into a folder of your own, or make it writable"
free=$(free_space)
[ "${free:-3}" -ge 3 ] && report "disk" "${free:-unknown} GB free" || report "disk" "$free GB free" "a demo run needs up to 3 GB; free some space"
memory=$(awk '/MemTotal/ { print int($2 / 1048576 + 0.5) }' /proc/meminfo 2>/dev/null)
[ "${memory:-4}" -ge 4 ] && report "memory" "${memory:-unknown} GB" || report "memory" "$memory GB" "training and compiling need up to 3 GB; close programs or use a larger machine"

if [ -e build/env/.ready ] && ! build/env/bin/python -c "" 2>/dev/null; then
  report "build/env" "its Python is gone: the checkout was moved, or the system changed" "make env"
elif [ -e build/env/.ready ]; then
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
if [ -e build/caffe/.ready ] && ! build/env/bin/python -c "" 2>/dev/null; then
  report "build/caffe" "cannot be tested before build/env works" "make env"
elif [ -e build/caffe/.ready ]; then
  reason=$(build/env/bin/python -c 'import caffe' 2>&1 | tail -n 1)
  report "build/caffe" "${reason:-imports}" "${reason:+rm -rf build/caffe && make caffe}"
else
  report "build/caffe" "not built yet" "make caffe"
fi
# optional parts: a line only where there is a card or a build for cards
# nvidia-smi prints its errors where it prints the cards
card=$(timeout 20 nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader 2>/dev/null) || card=
card=$(grep -E ', [0-9.]+$' <<<"$card" | paste -sd ';' | sed 's/;/; /g')
[ -z "$card" ] || report "graphics card" "$card; used with make torch, or make caffe CUDA=path"
if [ -e build/caffe-cuda/.ready ] && build/env/bin/python -c "" 2>/dev/null; then
  reason=$(PYTHONPATH=build/caffe-cuda/src/python build/env/bin/python -c 'import caffe' 2>&1 | grep -v '^E[0-9]' | tail -n 1)
  report "build/caffe-cuda" "${reason:-imports; $(cat build/caffe-cuda/.ready)}" "${reason:+rm -rf build/caffe-cuda && make caffe CUDA=path}"
fi

[ "$missing" = 0 ] && echo "nothing is missing" || echo "$missing missing; packages, Python and Caffe are installed by one command: make env caffe"
[ "$missing" = 0 ]

# Shared by the set-up scripts: what they say, and how Debian packages get onto the machine.
# The caller has set `log` (a file) if it uses `logged`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
# `set -e` alone would end a script without a word
set -E
trap 'printf "error: %s, line %s failed (see %s)\n" "$0" "$LINENO" "${log:-above}" >&2' ERR
trap 'printf "\ninterrupted: nothing half-made is used; the same command continues\n" >&2; exit 130' INT TERM

# start_log   an empty one, so that no error of an earlier run is quoted
start_log() { mkdir -p "$(dirname "$log")" && : >"$log"; }

# logged DESCRIPTION COMMAND...   run quietly; on failure, the end of the log says why
logged() {
  local what=$1; shift
  mkdir -p "$(dirname "$log")"
  printf '\n== %s: %s\n' "$what" "$*" >>"$log"
  "$@" >>"$log" 2>&1 </dev/null
}

# Debian packages, with what wants them. Two groups, for `make env` and `make caffe`.
packages_env=(
  python3-venv        # build/env
  python3-dev         # Theano and pycaffe compile against Python's headers
  g++                 # Theano compiles its graphs; its pure Python code fails on this numpy
  libopenblas-dev     # matrix products of both nets
)
packages_caffe=(
  make cmake patch ca-certificates
  libboost-python-dev libboost-filesystem-dev libboost-system-dev libboost-thread-dev
  libgflags-dev libgoogle-glog-dev
  libhdf5-dev         # the HDF5Data layer
  libprotobuf-dev protobuf-compiler
)

# missing_packages NAME...   those of them that are not installed
missing_packages() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || printf '%s ' "$name"
  done
}

# need_packages NAME...   install what is missing, where that is allowed, or print the command that does
need_packages() {
  if [ -n "${CONDA_PREFIX:-}" ]; then
    say "in a conda environment: compilers and libraries are those of environment.yml"
    return
  fi
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "not a Debian system: it is up to you that these are there, under the names they have here: $*"
    return
  fi
  local missing as_root=()
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  local command="apt-get update && apt-get install --yes --no-install-recommends $missing"
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || die "these Debian packages are missing, and only root can install them; run this, then the same command again:
  sudo sh -c '$command'"
    as_root=(sudo -n)
  fi
  say "installing Debian packages: $missing"
  logged "apt-get update" "${as_root[@]}" apt-get update ||
    die "Debian's package list cannot be fetched (network? see $log); when it can, run: $command"
  # an installation that was interrupted has to be finished first
  logged "dpkg --configure" "${as_root[@]}" dpkg --configure -a || true
  logged "apt-get install" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends $missing ||
    die "Debian's packages cannot be installed (see $log); put that right, or run by hand: $command"
}

# python_311   path of a Python 3.11: $PYTHON, conda's, or the system's, which Debian's Boost.Python is built for
python_311() {
  local candidate
  for candidate in ${PYTHON:-${CONDA_PREFIX:+$CONDA_PREFIX/bin/python} /usr/bin/python3.11 python3.11 /usr/bin/python3 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

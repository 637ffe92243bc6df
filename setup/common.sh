# Shared by the setup scripts: messages, logs, Debian packages and pip.
# A script that uses `logged` first sets `log`, the path of its log file.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
# `set -e` alone would end a script without a message
set -E
trap 'printf "error: %s: line %s failed; see %s\n" "$0" "$LINENO" "${log:-the messages above}" >&2' ERR
trap 'printf "\ninterrupted: no incomplete file is used; run the same command to continue\n" >&2; exit 130' INT TERM

# start_log   start with an empty log, so that no error of an earlier run is quoted
start_log() { mkdir -p "$(dirname "$log")" && : >"$log"; }

# logged DESCRIPTION COMMAND...   run a command with its output in the log
logged() {
  local description=$1; shift
  mkdir -p "$(dirname "$log")"
  printf '\n== %s: %s\n' "$description" "$*" >>"$log"
  "$@" >>"$log" 2>&1 </dev/null
}

# Debian packages for `make env` and for `make caffe`, with the reason for each that needs one
packages_env=(
  python3-venv        # build/env
  python3-dev         # Theano and pycaffe compile against Python's headers
  g++                 # Theano compiles its graphs; its pure Python code fails with this numpy
  libopenblas-dev     # matrix products of both nets
)
packages_caffe=(
  make cmake patch ca-certificates
  libboost-python-dev libboost-filesystem-dev libboost-system-dev libboost-thread-dev
  libgflags-dev libgoogle-glog-dev
  libhdf5-dev         # the HDF5Data layer
  libprotobuf-dev protobuf-compiler
)

# missing_packages NAME...   print those that are not installed
missing_packages() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || printf '%s ' "$name"
  done
}

# need_packages NAME...   install missing packages; without root, print the command that installs them
need_packages() {
  if [ -n "${CONDA_PREFIX:-}" ]; then
    echo "conda environment: using the compilers and libraries of environment.yml"
    return
  fi
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "not a Debian system: install these packages yourself (Debian's names): $*"
    return
  fi
  local missing as_root=()
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  local command="apt-get update && apt-get install --yes --no-install-recommends $missing"
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || die "Debian packages are missing, and only root can install them; run this, then the same command again:
  sudo sh -c '$command'"
    as_root=(sudo -n)
  fi
  echo "installing Debian packages: $missing"
  logged "apt-get update" "${as_root[@]}" apt-get update ||
    die "Debian's package list: cannot be downloaded (see $log); check the network, then run: $command"
  # finish an installation that was interrupted
  logged "dpkg --configure" "${as_root[@]}" dpkg --configure -a || true
  logged "apt-get install" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends $missing ||
    die "Debian packages: cannot be installed (see $log); correct the cause, or run: $command"
}

# install_requirements FILE [PIP OPTION]...   install the pins of a file into build/env
install_requirements() {
  local options=("${@:2}")
  [ "${#options[@]}" != 0 ] || options=(--no-deps)
  # --no-deps by default: the file names every package, and no other may be installed
  logged "pip" build/env/bin/python -m pip install --disable-pip-version-check "${options[@]}" --requirement "$1" ||
    die "$1: pip cannot install it: $(grep -E '^ *ERROR' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log); check the network and run the same command again"
}

# python_311   print the path of a Python 3.11: $PYTHON, conda's, or the system's, for which Debian's Boost.Python is built
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

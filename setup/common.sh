# Shared by the setup scripts: messages, logs, packages of the system, Python and pip.
# A script that uses `logged` first sets `log`, the path of its log file.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
# `set -e` alone would end a script without a message
set -E
trap 'printf "error: %s: line %s failed; see %s\n" "$0" "$LINENO" "${log:-the messages above}" >&2' ERR
trap 'printf "\ninterrupted: no incomplete file is used; run the same command to continue\n" >&2; exit 130' INT TERM

# user   print the name of the user, or the number of one without a name
user() { id -un 2>/dev/null | head -n 1 || true; }

# start_log   start with an empty log, so that no error of an earlier run is quoted
start_log() {
  { mkdir -p "$(dirname "$log")" && : >"$log"; } 2>/dev/null ||
    die "$root: user $(user) cannot write into build/; copy the checkout into a folder of your own, or make it writable"
}

# logged DESCRIPTION COMMAND...   run a command with its output in the log
logged() {
  local description=$1; shift
  printf '\n== %s: %s\n' "$description" "$*" >>"$log"
  # in English, because messages are searched for
  LC_ALL=C.UTF-8 "$@" >>"$log" 2>&1 </dev/null
}

# free_space   print the free space of the disk in gigabytes, nothing where it is unknown
free_space() { df -k --output=avail . 2>/dev/null | awk 'NR == 2 { print int($1 / 1048576) }'; }

# need_space GIGABYTES WHAT   stop before work that would fill the disk
need_space() {
  local free
  free=$(free_space)
  [ "${free:-$1}" -ge "$1" ] || die "$root: $2 needs $1 GB of free space, and $free GB are free; delete something, or move the checkout to a larger disk"
}

# ---- Systems and packages --------------------------------------------------------------------------------------------

# system NAME   print a value of /etc/os-release, such as ID or PRETTY_NAME
system() { (. /etc/os-release 2>/dev/null && printf '%s' "${!1:-}") || true; }

has_apt() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }
# Debian 12 and systems derived from it have Python 3.11 and a Boost.Python for it
is_debian12() { grep -qs '^12' /etc/debian_version; }
# a conda environment made from environment.yml, not any that happens to be active
in_conda() { [ -n "${CONDA_PREFIX:-}" ] && compgen -G "$CONDA_PREFIX/lib/libboost_python311.*" >/dev/null; }

# packages_for env|caffe   print the names of the packages that this system needs for `make env` or `make caffe`
packages_for() {
  if [ "$1" = env ]; then
    echo g++              # Theano compiles its graphs; its pure Python code fails with this numpy
    echo libopenblas-dev  # matrix products of both nets
    echo ca-certificates  # pip
    if is_debian12; then
      [ -n "$(python_311)" ] || echo python3-venv python3-dev
    elif [ -z "$(system_python_311)" ]; then
      echo libexpat1 libffi8 libsqlite3-0 zlib1g  # libraries of the Python in build/debian12
    fi
  else
    echo make cmake patch git libgflags-dev libgoogle-glog-dev
    echo libhdf5-dev      # the HDF5Data layer
    echo libprotobuf-dev protobuf-compiler
    if is_debian12; then
      echo libboost-python-dev libboost-filesystem-dev libboost-system-dev libboost-thread-dev
    fi
  fi
  if ! is_debian12; then
    echo debian-archive-keyring  # to check what is unpacked in build/debian12
    [ "$(system ID)" = debian ] || echo debootstrap  # names Debian's mirror
  fi
}

# missing_packages NAME...   print those that are not installed
missing_packages() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q ' ok installed$' || printf '%s ' "$name"
  done
}

# install_command PACKAGE...   print the command with which root installs packages
install_command() { echo "apt-get update; apt-get install --yes --no-install-recommends $*"; }

# as_root COMMAND   print how this user runs a command as root
as_root() {
  if [ "$(id -u)" = 0 ]; then
    echo "$1"
  elif command -v sudo >/dev/null; then
    echo "sudo sh -c '$1'"
  else
    echo "su -c '$1'"
  fi
}

# need_packages NAME...   install missing packages; without root, print the command that installs them
need_packages() {
  if in_conda; then
    echo "conda environment: using the compilers and libraries of environment.yml"
    return
  fi
  if ! has_apt; then
    echo "not a Debian system: install these packages yourself (Debian's names): $*"
    return
  fi
  local missing command root_command=()
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  command=$(as_root "$(install_command "$missing")")
  if [ "$(id -u)" != 0 ]; then
    # everything that is missing, so that the next command does not ask again
    sudo -n true 2>/dev/null || die "packages of the system are missing, and only root can install them; run this, then the same command again:
  $(as_root "$(install_command "$(missing_packages $(printf '%s\n' "$@" $(packages_for env) $(packages_for caffe) | sort -u))")")"
    root_command=(sudo -n)
  fi
  echo "installing packages: $missing"
  # One source of packages that fails, of another program, must not stop the set-up. What is missing then fails below.
  logged "apt-get update" "${root_command[@]}" apt-get update || true
  # finish an installation that was interrupted
  logged "dpkg --configure" "${root_command[@]}" dpkg --configure -a || true
  logged "apt-get install" "${root_command[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends $missing ||
    die "packages cannot be installed ($(fetch_fault); see $log); check the network or correct the cause, or run: $command"
}

# fetch_fault   print apt's complaint in the log: the network and signatures first, because others follow from them
fetch_fault() {
  { grep -E '^(E|W): .*(GPG|Failed to fetch|resolve|not signed)' "$log" || grep -E '^(E|W|dpkg): ' "$log"; } | tail -n 1 | cut -c 1-200 || true
}

oldest_compiler=9
read -ra compiler <<<"${CXX:-g++}" # CXX may be "ccache g++"
# old_compiler   true if the C++ compiler is older than those that can compile Caffe
old_compiler() { [ "$("${compiler[@]}" -dumpversion 2>/dev/null | cut -d . -f 1)" -lt "$oldest_compiler" ] 2>/dev/null; }

# ---- Python ----------------------------------------------------------------------------------------------------------

# system_python_311   print the path of a Python 3.11: $PYTHON, or conda's, or the system's, or one that uv or pyenv
# installed. Prints nothing if there is none.
system_python_311() {
  local candidates=()
  if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
  elif in_conda; then
    candidates=("$CONDA_PREFIX/bin/python")
  else
    candidates=(/usr/bin/python3.11 python3.11 python3
      "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-}/.local/share}/uv/python}"/cpython-3.11.*/bin/python3.11
      "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.11.*/bin/python3.11)
  fi
  first_python_311 "${candidates[@]}"
}

# first_python_311 NAME...   print the path of the first that can be used. It has what is needed to compile against it:
# headers and the shared library. Of a virtual environment, for example an active build/env, it is the Python below it.
first_python_311() {
  local candidate
  for candidate in "$@"; do
    "$candidate" - 2>/dev/null <<'PYTHON' || continue
import os, sys, sysconfig
import ensurepip, venv
sys.exit(sys.version_info[:2] != (3, 11) or not os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))
PYTHON
    [ -n "$(python_library "$candidate")" ] || continue
    "$candidate" -c 'import os, sys; print(os.path.realpath(sys._base_executable))'
    return
  done
}

# python_library PYTHON   print the path of its shared library, nothing if it has none
python_library() {
  "$1" - <<'PYTHON'
import os, sys, sysconfig
prefix = os.path.join(sys.base_prefix, "lib")
for folder in (sysconfig.get_config_var("LIBDIR"), prefix, os.path.join(prefix, sysconfig.get_config_var("MULTIARCH") or "")):
    if os.path.exists(library := os.path.join(folder, "libpython3.11.so")):
        print(library)
        break
PYTHON
}

# python_311   print the path of the Python 3.11 in use: the system's, or the one in build/debian12
python_311() {
  local python
  python=$(system_python_311)
  if [ -z "$python" ] && [ -z "${PYTHON:-}" ] && [ -e "$root/build/debian12/.python" ]; then
    python=$(first_python_311 "$root/build/debian12/usr/bin/python3.11")
  fi
  echo "$python"
}

# explain_python   print why the Python in build/debian12 does not start
explain_python() { "$root/build/debian12/usr/bin/python3.11" -c 'import ensurepip, venv' 2>&1 | tail -n 1 || true; }

# make_venv PYTHON FOLDER   make a virtual environment with pip; in an existing one, replace Python and keep the packages
make_venv() {
  local wheels=${1%/bin/*}/share/python-wheels
  rm -f "$2"/bin/python* # venv leaves links to a Python that is gone
  if [[ $1 != /usr/bin/* ]] && [ -d "$wheels" ]; then
    # Debian's ensurepip looks for the wheels of pip in /usr/share, not in build/debian12
    logged "venv" "$1" -m venv --without-pip "$2" &&
      logged "pip" env PYTHONPATH="$(echo "$wheels"/pip-*.whl)" "$2/bin/python" -m pip install --no-index \
        --find-links "$wheels" pip setuptools
  else
    logged "venv" "$1" -m venv "$2"
  fi || die "$2: the virtual environment cannot be made (see $log); free disk space, or delete $2 and run the same command again"
}

# name_caffe   let the Python of build/env find build/caffe, by a relative path, so that a moved checkout works
name_caffe() {
  echo ../../../../caffe/src/python >"$(build/env/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/caffe.pth"
}

# install_requirements FILE [PIP OPTION]...   install the pins of a file into build/env
install_requirements() {
  local options=("${@:2}")
  [ "${#options[@]}" != 0 ] || options=(--no-deps)
  # --no-deps by default: the file names every package, and no other may be installed
  logged "pip" build/env/bin/python -m pip install --disable-pip-version-check "${options[@]}" --requirement "$1" ||
    die "$1: pip cannot install it: $(grep -E '^ *ERROR' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log); check the network and run the same command again"
}

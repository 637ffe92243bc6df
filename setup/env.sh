#!/usr/bin/env bash
# make env: create a virtual environment in build/env with Python 3.11 and the pins of requirements.txt.
#
# Python 3.11 is the system's, PYTHON=path, or one that uv or pyenv installed. Where there is none, it is installed on
# Debian 12, and elsewhere Debian 12's packages are unpacked into build/debian12. After a move of the checkout, the
# environment is made again around the packages that are installed in it.
set -euo pipefail
source "$(dirname "$0")/common.sh"
source "$root/setup/debian.sh"
log=$root/build/logs/env.log

start_log
python=$(python_311)
[ -n "$python" ] || [ -z "${PYTHON:-}" ] ||
  die "PYTHON=$PYTHON: not a Python 3.11 with its headers, its shared library and its venv module (Theano 1.0.5 and numpy 1.23.5 do not run on newer versions); \
give the path of one (pyenv: install it with PYTHON_CONFIGURE_OPTS=--enable-shared), or leave PYTHON out and let make find or install it"
[ -n "$python" ] || is_debian12 || has_apt ||
  die "Python 3.11 with its headers and shared library is required (Theano 1.0.5 and numpy 1.23.5 do not run on newer versions), and none was found on \
$(system PRETTY_NAME); install it, with uv for example, and give its path: make env PYTHON=/path/to/python3.11"
[ -n "$python" ] || is_debian12 || new_glibc ||
  die "$(system PRETTY_NAME): too old for Debian 12's Python, and no Python 3.11 was found; install one and give its path: \
make env PYTHON=/path/to/python3.11; or use the container (setup/README.md)"
[ -e build/env/.ready ] || need_space 2 "the environment"
need_packages $(packages_for env)
if [ -z "$python" ]; then
  is_debian12 || debian12 python "${debian12_python[@]}"
  python=$(python_311)
  [ -n "$python" ] || die "Python 3.11: installed, but it does not start: $(explain_python) (see $log); \
install another one and give its path: make env PYTHON=/path/to/python3.11"
fi

echo "build/env: installing the pins of requirements.txt for $("$python" --version) (about a minute)"
rm -rf build/env/.ready build/theano # compiled parts of Theano are linked with the Python of before
make_venv "$python" build/env
install_requirements requirements.txt
name_caffe # which may be built already
touch build/env/.ready
echo "build/env is ready"

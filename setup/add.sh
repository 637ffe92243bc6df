#!/usr/bin/env bash
# add.sh NAME LINE [PIP OPTION]...: install requirements-NAME.txt into build/env, then print LINE.
set -euo pipefail
source "$(dirname "$0")/common.sh"
log=$root/build/logs/$1.log

start_log
install_requirements "requirements-$1.txt" "${@:3}"
echo "$2"

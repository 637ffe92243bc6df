#!/usr/bin/env bash
# The entry point of the container: run a command as the owner of the mounted folders, so that results belong to them.
#
# container.sh COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."
tools=/opt/saliency # build/env and build/caffe of the image
export HOME=/tmp

# owner   print UID:GID of the first mounted folder that is not root's
owner() {
  local id folder rest
  while read -r id id id id folder rest; do
    folder=$(printf '%b' "$folder") # a space is \040 in this file
    case $folder in
      / | /proc* | /sys* | /dev* | /etc* | /run*) ;;
      *) if [ -d "$folder" ] && [ "$(stat -c %u "$folder")" != 0 ]; then stat -c %u:%g "$folder"; return; fi ;;
    esac
  done </proc/self/mountinfo
}

as=()
if [ "$(id -u)" = 0 ]; then
  ids=$(owner)
  if [ -n "$ids" ]; then
    mkdir -p build
    [ "$(stat -c %u build)" != 0 ] || chown "$ids" build 2>/dev/null || true
    as=(setpriv --reuid "${ids%:*}" --regid "${ids#*:}" --clear-groups)
  fi
fi
"${as[@]}" mkdir -p build 2>/dev/null && "${as[@]}" test -w build || {
  printf 'error: /saliency/build: user %s cannot write into it; make the folder that you mount there first: mkdir results\n' \
    "$("${as[@]}" id -u)" >&2
  exit 1
}
for folder in env caffe; do
  [ -e "$tools/$folder/.ready" ] || {
    echo "error: $tools/$folder: missing, so this image is incomplete; build it again: docker build -t saliency ." >&2
    exit 1
  }
  [ -e "build/$folder/.ready" ] || "${as[@]}" ln -sfn "$tools/$folder" "build/$folder"
done
exec "${as[@]}" "$@"

#!/usr/bin/env bash
# The entry point of the container: run a command as the owner of the mounted folders, so that results belong to them.
#
# container.sh COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."
tools=/opt/saliency # build/env and build/caffe of the image
export HOME=/tmp

# mounts PATTERN   print the mounted folders, other than those of the system, whose path matches
mounts() {
  local id folder rest
  while read -r id id id id folder rest; do
    folder=$(printf '%b' "$folder") # a space is \040 in this file
    case $folder in
      / | /proc* | /sys* | /dev* | /etc* | /run*) ;;
      $1) [ ! -d "$folder" ] || echo "$folder" ;;
    esac
  done </proc/self/mountinfo
}

# The folder of results decides; without one, the first other folder, such as that of images to predict.
results=$(mounts "/saliency/*" | head -n 1)
decides=${results:-$(mounts "*" | head -n 1)}
as=()
if [ "$(id -u)" = 0 ] && [ -n "$decides" ] && [ "$(stat -c %u "$decides")" != 0 ]; then
  as=(setpriv --reuid "$(stat -c %u "$decides")" --regid "$(stat -c %g "$decides")" --clear-groups)
fi
"${as[@]}" mkdir -p build 2>/dev/null && "${as[@]}" test -w build || {
  printf 'error: %s: user %s cannot write into it; mount a folder of your own: mkdir results (with SELinux, end the mount with :Z)\n' \
    "${results:-/saliency/build}" "$("${as[@]}" id -u)" >&2
  exit 1
}
for folder in env caffe; do
  [ -e "$tools/$folder/.ready" ] || {
    echo "error: $tools/$folder: missing, so this image is incomplete; build it again: docker build -t saliency ." >&2
    exit 1
  }
  if [ -d "build/$folder" ] && ! [ -L "build/$folder" ]; then
    echo "error: $results/$folder: of another system; mount an empty folder, not the build/ of a checkout" >&2
    exit 1
  fi
  "${as[@]}" ln -sfn "$tools/$folder" "build/$folder"
done
exec "${as[@]}" "$@"

#!/usr/bin/env bash
# make test-platforms: run the two commands of the README in bare systems, and in the container.
#
# platforms.sh [NAME...]   of bookworm trixie (Debian 12, 13), jammy noble (Ubuntu 22.04, 24.04) and container; all by default
#
# COMMAND="make env caffe" runs something else; SHARE=folder is copied beside the checkout as ../shared (real data for
# tests). Needs root, debootstrap, and buildah for the container. Each system has nothing but git and make at the start.
# The clone is of the last commit. The systems stay in build/platforms; logs are build/platforms/NAME.log.
set -euo pipefail
source "$(dirname "$0")/../setup/common.sh"
log=$root/build/platforms/log.txt
command=${COMMAND:-make reproduce-tables && make test && make doctor}
[ "$(id -u)" = 0 ] || die "make test-platforms makes bare systems, for which it must be root"
start_log
need_space 8 "a bare system with everything built"

# bare NAME   make build/platforms/NAME, a system with git and make
bare() {
  local target=build/platforms/$1 components=main script=
  need_packages debootstrap
  # debootstrap of Debian 12 lacks noble, which is made like jammy
  [[ $1 != jammy && $1 != noble ]] || { components=main,universe; script=/usr/share/debootstrap/scripts/jammy; }
  if [ ! -e "$target.bare" ]; then
    rm -rf --one-file-system "$target.part"
    # without the keys of another distribution, its packages are not checked: this system is for tests only
    logged "debootstrap" debootstrap --no-check-gpg --variant=minbase --components=$components --include=ca-certificates,git,make \
      "$1" "$target.part" ${script:+"" "$script"} || die "$1: the bare system cannot be made (see $log)"
    # of this machine: its certificates, if a proxy needs them, and pip's settings
    cp -L /etc/ssl/certs/ca-certificates.crt "$target.part/etc/ssl/certs/"
    cp -L /etc/resolv.conf /etc/hosts "$target.part/etc/"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$target.part/etc/"
    mv "$target.part" "$target.bare"
  fi
  rm -rf --one-file-system "$target"
  cp -a "$target.bare" "$target"
}

# inside NAME   clone the repository into the system and run the command there
inside() {
  local target=$root/build/platforms/$1
  mkdir -p "$target/srv/checkout" "$target/proc" "$target/dev"
  git clone --quiet . "$target/srv/checkout/main"
  [ -z "${SHARE:-}" ] || cp -r "$SHARE" "$target/srv/checkout/shared"
  # the mounts end with the process
  env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    unshare --mount bash -c 'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" &&
      exec chroot "$1" /bin/bash -c "cd /srv/checkout/main && $2"' bash "$target" "$command"
}

# container   build the image on a bare Debian 12 and run the command in it, with results in a folder of user 1000
container() {
  local results=$root/build/platforms/results context=build/platforms/context name
  need_packages buildah
  export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
  for name in saliency-base saliency-run; do buildah rm "$name" >/dev/null 2>&1 || true; done
  buildah from --name saliency-base scratch
  buildah copy --quiet saliency-base build/platforms/bookworm.bare /
  buildah commit --quiet saliency-base saliency-bookworm
  rm -rf "$context" "$results"
  git clone --quiet . "$context"
  buildah build --network=host --build-arg BASE=localhost/saliency-bookworm --tag saliency-test "$context"
  mkdir "$results" && chown 1000:1000 "$results"
  buildah from --name saliency-run localhost/saliency-test
  buildah run --network=host --volume "$results:/saliency/build" saliency-run -- /saliency/setup/container.sh bash -c "$command"
  [ -z "$(find "$results" ! -user 1000 | head -n 1)" ] || die "container: a file in $results does not belong to its user"
}

failed=()
for name in ${*:-bookworm trixie jammy noble container}; do
  started=$SECONDS
  echo "== $name: $command"
  # not in a condition, which would switch off `set -e` inside
  set +e
  (
    set -e
    case $name in
      bookworm | trixie | jammy | noble) bare "$name"; inside "$name" ;;
      container) bare bookworm; container ;;
      *) die "$name: not a platform; choose from bookworm trixie jammy noble container" ;;
    esac
  ) >"build/platforms/$name.log" 2>&1
  status=$?
  set -e
  state=passed
  [ "$status" = 0 ] || { state="FAILED ($(tail -n 1 "build/platforms/$name.log"))"; failed+=("$name"); }
  echo "$name: $state after $(((SECONDS - started) / 60)) min; build/platforms/$name.log"
done
[ "${#failed[@]}" = 0 ] || exit 1

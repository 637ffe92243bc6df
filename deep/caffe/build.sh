#!/usr/bin/env bash
# make caffe: BVLC Caffe with pycaffe, CPU only, built out of tree in build/caffe and importable from build/env.
#
# The source is the one Debian 11 ships as package `caffe`, BVLC's master of 2018-08-21 untouched,
# fetched from the mirror this machine already uses and checked against the sum below.
# CAFFE_SRC=<checkout of BVLC/caffe> builds that instead; the checkout is copied, not changed.
# The patches in patches/ are applied to either; each says at its top what it is for.
#
# make test-caffe: build.sh test, which builds and runs BVLC's own unit tests of the layers and the solver in use.
set -euo pipefail
source "$(dirname "$0")/../../setup/common.sh"
log=$root/build/logs/caffe${1:+-$1}.log
python=$root/build/env/bin/python
here=$root/deep/caffe
work=$root/build/caffe
archive=caffe_1.0.0+git20180821.99bd997.orig.tar.gz
sha256=e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c
suite=bullseye # Debian 11

instead="get a checkout of BVLC/caffe on this machine by other means and give it: make caffe CAFFE_SRC=/path/to/caffe"

# The machine's own list of mirrors, as source entries of the older suite, in a private apt state.
fetch() {
  local apt=$work/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirrors
  command -v apt-get >/dev/null || die "this system has no apt-get to fetch Debian's source of Caffe with; $instead"
  mirrors=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
    sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] *)?([^ ]+) .*/\2/p' | grep -Ev 'security|^cdrom:' | sort -u || true)
  [ -n "$mirrors" ] || die "this machine's apt names no mirror to fetch Debian's source of Caffe from; $instead"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/sources.list"
  for mirror in $mirrors; do
    echo "deb-src [signed-by=$keyring] $mirror $suite main" >>"$apt/sources.list"
  done
  local options=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)")
  # some of the entries may be mirrors of other things: what counts is whether the source comes
  logged "apt-get update" apt-get "${options[@]}" update || true
  (cd "$work" && logged "apt-get source" apt-get "${options[@]}" source --download-only --tar-only caffe) ||
    die "Debian's source of Caffe cannot be fetched (network? see $log); when it can, run the same command again, or $instead"
}

checked() { [ -f "$work/$archive" ] && echo "$sha256  $work/$archive" | sha256sum --check --status; }

# What build/caffe/src is made from; when this changes, it is unpacked anew.
origin() { echo "${CAFFE_SRC:-$sha256}"; cat "$here"/patches/*.patch; }

unpack() {
  rm -rf "$work/.ready" "$work/src" "$work/src.part" "$work/build"
  mkdir -p "$work/src.part"
  if [ -n "${CAFFE_SRC:-}" ]; then
    say "build/caffe: copying $CAFFE_SRC"
    tar -C "$CAFFE_SRC" --exclude=.git --exclude=./build -cf - . | tar -C "$work/src.part" -xf -
  else
    checked || { say "build/caffe: fetching BVLC Caffe from Debian's source package (8 MB)"; fetch; }
    checked || die "$work/$archive is not the file it should be (SHA-256 differs); delete it and run the same command again, or $instead"
    tar -C "$work/src.part" -xf "$work/$archive" || die "$work/$archive cannot be unpacked; is the disk full?"
  fi
  for change in "$here"/patches/*.patch; do
    # a newer checkout may have it already
    patch -d "$work/src.part" -p1 --force --dry-run --reverse <"$change" >/dev/null 2>&1 && continue
    logged "$(basename "$change")" patch -d "$work/src.part" -p1 --force -i "$change" ||
      die "deep/caffe/patches/$(basename "$change") does not fit this source of Caffe (see $log); it is made for BVLC's master"
  done
  origin >"$work/src.part/.origin"
  mv "$work/src.part" "$work/src"
}

# compile UNITY   with ON, several files are compiled as one: half the time, but not every compiler takes it
compile() {
  logged "cmake" cmake -S "$work/src" -B "$work/build" -Wno-dev -DCMAKE_BUILD_TYPE=Release \
    -DCPU_ONLY=ON -DUSE_OPENCV=OFF -DUSE_LEVELDB=OFF -DUSE_LMDB=OFF -DBLAS=Open \
    -DBUILD_docs=OFF -Dpython_version=3 -DPYTHON_EXECUTABLE="$python" \
    -DCMAKE_UNITY_BUILD="$1" -DCMAKE_UNITY_BUILD_BATCH_SIZE=8 ||
    die "CMake cannot configure Caffe: $(grep -A 2 'CMake Error' "$log" | tail -n 1 || true) (see $log; \`make doctor\` lists what is missing)"
  targets Caffe pycaffe caffe.bin
}

# targets WHAT NAME...
targets() {
  cmake --build "$work/build" --parallel "$(jobs_that_fit)" --target "${@:2}" 2>>"$log" </dev/null | show_percent "$1"
}

# make counts in percent: show it, redrawn on a terminal, now and then in a log
show_percent() {
  local line shown=0
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    [[ $line =~ ^\[\ *([0-9]+)%\] ]] || continue
    if [ -t 1 ]; then
      printf '\rbuilding %s: %3d%%' "$1" "${BASH_REMATCH[1]}"
    elif [ "${BASH_REMATCH[1]}" -ge $((shown + 20)) ]; then
      shown=${BASH_REMATCH[1]}
      say "building $1: $shown%"
    fi
  done
  [ ! -t 1 ] || echo
}

# One compiler for each core, but each may take 1.5 GB.
jobs_that_fit() {
  local memory
  memory=$(awk '/MemAvailable/ { print int($2 / 1572864) }' /proc/meminfo 2>/dev/null || echo 1)
  echo $((memory < 1 ? 1 : memory < $(nproc) ? memory : $(nproc)))
}

# Without the tests of what this project does not use: other layers, other data sources, graphics cards.
run_tests() {
  local tests=(blob common convolution_layer deconvolution_layer euclidean_loss_layer filler gradient_based_solver
    hdf5data_layer im2col_layer io lrn_layer math_functions net neuron_layer platform pooling_layer protobuf solver
    solver_factory syncedmem upgrade_proto util_blas) status=0
  [ -e "$work/.ready" ] || die "build/caffe is not there; run make caffe first"
  logged "cmake" cmake -S "$work/src" -B "$work/build" "-DBUILD_only_tests=$(IFS=,; echo "${tests[*]}")" ||
    die "CMake cannot configure Caffe's tests (see $log)"
  targets "Caffe's tests" test.testbin ||
    die "Caffe's tests do not compile: $(grep -E ': (fatal )?error: ' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log)"
  say "running Caffe's tests of ${#tests[@]} parts"
  # they read files relative to the source
  (cd "$work/src" && OPENBLAS_THREAD_TIMEOUT=4 logged "tests" "$work/build/test/test.testbin" --gtest_filter='-*GPU*') || status=$?
  grep -E '^\[==========\].*ran|^\[  (PASSED|FAILED)  \]' "$log" || true
  [ "$status" = 0 ] || die "Caffe's own tests fail (see $log); do the patches fit this source and this compiler?"
}

[ -x "$python" ] || die "build/env is not there; run make env first"
if [ -n "${CAFFE_SRC:-}" ] && ! [ -f "$CAFFE_SRC/src/caffe/proto/caffe.proto" -a -f "$CAFFE_SRC/CMakeLists.txt" ]; then
  die "CAFFE_SRC=$CAFFE_SRC is not a checkout of BVLC/caffe: there is no src/caffe/proto/caffe.proto in it"
fi
start_log
if [ "${1:-}" = test ]; then
  run_tests
  exit
fi
need_packages "${packages_caffe[@]}"
[ "$(cat "$work/src/.origin" 2>/dev/null)" = "$(origin)" ] || unpack
say "build/caffe: compiling (two to four minutes on two cores)"
set -o pipefail
compile ON || { say "building Caffe: once more, one file at a time"; compile OFF; } ||
  die "Caffe does not compile: $(grep -E ': (fatal )?error: ' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log)"
echo "$work/src/python" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/caffe.pth"
"$python" -c 'import caffe' 2>>"$log" || die "Caffe is built but Python cannot import it: $(tail -n 1 "$log") (see $log)"
touch "$work/.ready"
say "build/caffe is ready: $("$python" -c 'import caffe; print("Caffe", caffe.__version__)' 2>/dev/null)"

#!/usr/bin/env bash
# make caffe: build BVLC Caffe with pycaffe, CPU only, out of tree in build/caffe, importable from build/env.
#
# The source is Debian 11's package `caffe`: BVLC's master of 2018-08-21, unchanged. It is fetched from this machine's
# Debian mirror and checked against the SHA-256 below.
# CAFFE_SRC=<checkout of BVLC/caffe> builds a checkout instead; the checkout is copied, not changed.
# The patches in patches/ are applied to both; the first lines of each patch explain it. The files in src/ are added.
#
# make test-caffe runs `build.sh test`: it builds and runs BVLC's unit tests of the layers and the solver in use.
set -euo pipefail
source "$(dirname "$0")/../../setup/common.sh"
log=$root/build/logs/caffe${1:+-$1}.log
python=$root/build/env/bin/python
here=$root/deep/caffe
work=$root/build/caffe
archive=caffe_1.0.0+git20180821.99bd997.orig.tar.gz
sha256=e0eb3f06794f7402c77b7dec8e8480273ee1a1bb192e9122b621a69d4147ad0c
suite=bullseye # Debian 11

instead="copy a checkout of BVLC/caffe to this machine and give its path: make caffe CAFFE_SRC=/path/to/caffe"

# Fetch Debian's source package from this machine's mirrors, with source entries of the older suite in a private apt
# state.
fetch() {
  local apt=$work/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirrors
  command -v apt-get >/dev/null || die "apt-get, which fetches Debian's source of Caffe, is missing on this system; $instead"
  mirrors=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
    sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] *)?([^ ]+) .*/\2/p' | grep -Ev 'security|^cdrom:' | sort -u || true)
  [ -n "$mirrors" ] || die "/etc/apt lists no mirror from which Debian's source of Caffe can be fetched; $instead"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/sources.list"
  for mirror in $mirrors; do
    echo "deb-src [signed-by=$keyring] $mirror $suite main" >>"$apt/sources.list"
  done
  local options=(-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)")
  # some entries may be mirrors of other packages: their errors do not matter if the source is fetched
  logged "apt-get update" apt-get "${options[@]}" update || true
  (cd "$work" && logged "apt-get source" apt-get "${options[@]}" source --download-only --tar-only caffe) ||
    die "Debian's source of Caffe cannot be fetched (network? see $log); run the same command again when the network works, or $instead"
}

# True if the archive has the expected SHA-256.
checked() { [ -f "$work/$archive" ] && echo "$sha256  $work/$archive" | sha256sum --check --status; }

# Print the origin of build/caffe/src: source, patches and our files. When it changes, the source is unpacked again.
origin() {
  echo "${CAFFE_SRC:-$sha256}"
  cat "$here"/patches/*.patch
  find "$here/src" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat
}

# Unpack the source into build/caffe/src, apply the patches and add our files.
unpack() {
  rm -rf "$work/.ready" "$work/src" "$work/src.part" "$work/build"
  mkdir -p "$work/src.part"
  if [ -n "${CAFFE_SRC:-}" ]; then
    echo "build/caffe: copying $CAFFE_SRC"
    tar -C "$CAFFE_SRC" --exclude=.git --exclude=./build -cf - . | tar -C "$work/src.part" -xf -
  else
    checked || { echo "build/caffe: fetching BVLC Caffe from Debian's source package (8 MB)"; fetch; }
    checked || die "$work/$archive is not the expected file (its SHA-256 differs); delete it and run the same command again, or $instead"
    tar -C "$work/src.part" -xf "$work/$archive" || die "$work/$archive cannot be unpacked; is the disk full?"
  fi
  for change in "$here"/patches/*.patch; do
    # a newer checkout may contain the patch already
    patch -d "$work/src.part" -p1 --force --dry-run --reverse <"$change" >/dev/null 2>&1 && continue
    logged "$(basename "$change")" patch -d "$work/src.part" -p1 --force -i "$change" ||
      die "deep/caffe/patches/$(basename "$change") does not apply to this source of Caffe (see $log); give a checkout of BVLC's master"
  done
  cp -R "$here/src/." "$work/src.part/" || die "deep/caffe/src cannot be copied to $work/src.part; is the disk full?"
  origin >"$work/src.part/.origin"
  mv "$work/src.part" "$work/src"
}

# compile UNITY   build Caffe. With ON, several files are compiled as one: half the time, but not every compiler can.
# Caffe does not read errno after square roots, and without -fno-math-errno compilers do not vectorise them.
compile() {
  logged "cmake" cmake -S "$work/src" -B "$work/build" -Wno-dev -DCMAKE_BUILD_TYPE=Release \
    -DCPU_ONLY=ON -DUSE_OPENCV=OFF -DUSE_LEVELDB=OFF -DUSE_LMDB=OFF -DBLAS=Open \
    -DBUILD_docs=OFF -Dpython_version=3 -DPYTHON_EXECUTABLE="$python" \
    -DCMAKE_CXX_FLAGS="${CXXFLAGS:-} -fno-math-errno" \
    -DCMAKE_UNITY_BUILD="$1" -DCMAKE_UNITY_BUILD_BATCH_SIZE=8 ||
    die "CMake cannot configure Caffe: $(grep -A 2 'CMake Error' "$log" | tail -n 1 || true) (see $log; \`make doctor\` lists what is missing)"
  targets Caffe pycaffe caffe.bin
}

# targets TITLE NAME...   build CMake targets
targets() {
  cmake --build "$work/build" --parallel "$(jobs_that_fit)" --target "${@:2}" 2>>"$log" </dev/null | show_percent "$1"
}

# show_percent TITLE   show make's percentage: on one line of a terminal, every 20% in a log
show_percent() {
  local line shown=0
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    [[ $line =~ ^\[\ *([0-9]+)%\] ]] || continue
    if [ -t 1 ]; then
      printf '\rbuilding %s: %3d%%' "$1" "${BASH_REMATCH[1]}"
    elif [ "${BASH_REMATCH[1]}" -ge $((shown + 20)) ]; then
      shown=${BASH_REMATCH[1]}
      echo "building $1: $shown%"
    fi
  done
  [ ! -t 1 ] || echo
}

# Print the number of parallel compilers: one per core, but 1.5 GB of memory for each.
jobs_that_fit() {
  local memory
  memory=$(awk '/MemAvailable/ { print int($2 / 1572864) }' /proc/meminfo 2>/dev/null || echo 1)
  echo $((memory < 1 ? 1 : memory < $(nproc) ? memory : $(nproc)))
}

# Build and run Caffe's tests, without those of unused parts: other layers, other data sources, graphics cards.
run_tests() {
  local tests=(blob common convolution_layer deconvolution_layer euclidean_loss_layer filler gradient_based_solver
    hdf5data_layer im2col_layer io lrn_layer math_functions net neuron_layer platform pooling_layer protobuf solver
    solver_factory syncedmem upgrade_proto util_blas) status=0
  [ -e "$work/.ready" ] || die "build/caffe is missing; run make caffe first"
  logged "cmake" cmake -S "$work/src" -B "$work/build" "-DBUILD_only_tests=$(IFS=,; echo "${tests[*]}")" ||
    die "CMake cannot configure Caffe's tests (see $log)"
  targets "Caffe's tests" test.testbin ||
    die "Caffe's tests do not compile: $(grep -E ': (fatal )?error: ' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log)"
  echo "running Caffe's tests of ${#tests[@]} parts"
  # the tests read files relative to the source
  (cd "$work/src" && OPENBLAS_THREAD_TIMEOUT=4 logged "tests" "$work/build/test/test.testbin" --gtest_filter='-*GPU*') || status=$?
  grep -E '^\[==========\].*ran|^\[  (PASSED|FAILED)  \]' "$log" || true
  [ "$status" = 0 ] || die "Caffe's own tests fail (see $log); check the patches with this source and this compiler"
}

[ -x "$python" ] || die "build/env is missing; run make env first"
if [ -n "${CAFFE_SRC:-}" ] && ! [ -f "$CAFFE_SRC/src/caffe/proto/caffe.proto" -a -f "$CAFFE_SRC/CMakeLists.txt" ]; then
  die "CAFFE_SRC=$CAFFE_SRC is not a checkout of BVLC/caffe; give a folder with src/caffe/proto/caffe.proto and CMakeLists.txt"
fi
start_log
if [ "${1:-}" = test ]; then
  run_tests
  exit
fi
need_packages "${packages_caffe[@]}"
[ "$(cat "$work/src/.origin" 2>/dev/null)" = "$(origin)" ] || unpack
echo "build/caffe: compiling (two to four minutes on two cores)"
set -o pipefail
compile ON || { echo "building Caffe: second attempt, one file at a time"; compile OFF; } ||
  die "Caffe does not compile: $(grep -E ': (fatal )?error: ' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log)"
echo "$work/src/python" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/caffe.pth"
"$python" -c 'import caffe' 2>>"$log" || die "Caffe is built but Python cannot import it: $(tail -n 1 "$log") (see $log)"
touch "$work/.ready"
echo "build/caffe is ready: $("$python" -c 'import caffe; print("Caffe", caffe.__version__)' 2>/dev/null)"

#!/usr/bin/env bash
# make caffe: build BVLC Caffe with pycaffe, CPU only, out of tree in build/caffe, importable from build/env.
#
# The source is BVLC's master of 2018-08-21: by apt from Debian 11's package `caffe`, which is unchanged, where this
# machine's mirrors have it, else by git from BVLC's repository. Both give the same tar file, byte for byte; it is checked
# against the SHA-256 below.
# CAFFE_SRC=<checkout of BVLC/caffe> builds a checkout instead; the checkout is copied, not changed.
# The patches in patches/ are applied to both; the first lines of each patch explain it. The files in src/ are added.
#
# make caffe CUDA=<folder of the CUDA toolkit> builds it for NVIDIA's graphics cards in build/caffe-cuda, beside the other
# build: for the cards of this machine, or CUDA_ARCH="52 61" (their compute capabilities); without cuDNN and NCCL, and with
# the patches in patches/cuda/.
#
# make test-caffe runs `build.sh test`: it builds and runs BVLC's unit tests of the layers and the solver in use; with
# CUDA=<folder> those of build/caffe-cuda, on the graphics card, too.
set -euo pipefail
source "$(dirname "$0")/../../setup/common.sh"
source "$root/setup/debian.sh"
cuda=${CUDA:-}
name=build/caffe${cuda:+-cuda}
log=$root/build/logs/${name#build/}${1:+-$1}.log
python=$root/build/env/bin/python
here=$root/deep/caffe
work=$root/$name
tar=$root/build/caffe/caffe.tar # the source; both builds unpack it
patches=("$here"/patches/*.patch)
[ -z "$cuda" ] || patches+=("$here"/patches/cuda/*.patch)
archive=caffe_1.0.0+git20180821.99bd997.orig.tar.gz # its name in Debian 11 (bullseye)
repository=https://github.com/BVLC/caffe
commit=99bd99795dcdf0b1d3086a8d67ab1782a8a08383
sha256=bfc3978721e00e397a006baa93ace89d32c08a57fce8915dbd9f361f29f247bd # of the tar file

command="make caffe${cuda:+ CUDA=$cuda}"
instead="copy a checkout of BVLC/caffe to this machine and give its path: $command CAFFE_SRC=/path/to/caffe"

# Fetch the source as build/caffe/caffe.tar.
fetch() {
  local scratch=${tar%/*}/fetch
  mkdir -p "$scratch"
  echo "$name: fetching the source of BVLC Caffe (8 MB)"
  { has_apt && from_debian "$scratch"; } || from_git "$scratch" ||
    die "the source of Caffe cannot be fetched, neither from a Debian mirror nor from $repository (see $log); \
run the same command again when the network works, or $instead"
  rm -rf "$scratch"
}

from_debian() {
  [ -f "$keyring" ] && [ -n "$(debian_mirrors)" ] &&
    private_apt bullseye deb-src "$1" source --download-only --tar-only caffe &&
    gzip -dc "$1/$archive" 2>>"$log" >"$tar"
}

from_git() {
  command -v git >/dev/null && logged "git init" git init --quiet --bare "$1/git" &&
    logged "git fetch" git -C "$1/git" fetch --quiet --depth 1 "$repository" "$commit" &&
    git -C "$1/git" archive --format=tar "$commit" 2>>"$log" >"$tar"
}

# True if the tar file has the expected SHA-256.
checked() { [ -f "$tar" ] && echo "$sha256  $tar" | sha256sum --check --status; }

# Print the origin of build/caffe/src: source, patches and our files. When it changes, the source is unpacked again.
origin() {
  echo "${CAFFE_SRC:-$sha256}"
  cat "${patches[@]}"
  find "$here/src" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat
}

# Unpack the source into build/caffe/src, apply the patches and add our files.
unpack() {
  # what works stays until the new source is here
  [ -n "${CAFFE_SRC:-}" ] || checked || fetch
  rm -rf "$work/.ready" "$work/src" "$work/src.part" "$work/build"
  mkdir -p "$work/src.part"
  if [ -n "${CAFFE_SRC:-}" ]; then
    echo "$name: copying $CAFFE_SRC"
    tar -C "$CAFFE_SRC" --exclude=.git --exclude=./build -cf - . | tar -C "$work/src.part" -xf -
  else
    checked || die "$tar: not the expected source (its SHA-256 differs); delete it and run the same command again, or $instead"
    tar -C "$work/src.part" -xf "$tar" || die "$tar: cannot be unpacked; is the disk full?"
  fi
  for change in "${patches[@]}"; do
    # a newer checkout may contain the patch already
    patch -d "$work/src.part" -p1 --force --dry-run --reverse <"$change" >/dev/null 2>&1 && continue
    logged "$(basename "$change")" patch -d "$work/src.part" -p1 --force -i "$change" ||
      die "${change#"$root/"} does not apply to this source of Caffe (see $log); give a checkout of BVLC's master"
  done
  cp -R "$here/src/." "$work/src.part/" || die "deep/caffe/src cannot be copied to $work/src.part; is the disk full?"
  origin >"$work/src.part/.origin"
  mv "$work/src.part" "$work/src"
}

# Print options for CMake, one per line: where Python, Boost and BLAS are on systems other than Debian 12.
options() {
  "$python" -c 'import sysconfig; print("-DPYTHON_INCLUDE_DIR=" + sysconfig.get_path("include"))'
  echo "-DPYTHON_LIBRARY=$(python_library "$python")"
  # Relative to the libraries in build/caffe/build/lib, and to the link to one of them in build/caffe/src/python/caffe, so
  # that a moved checkout works.
  local rpath='$ORIGIN/../../../build/lib' boost=$root/build/debian12/usr/lib
  if in_conda; then
    rpath+=";$CONDA_PREFIX/lib"
    printf '%s\n' "-DCMAKE_PREFIX_PATH=$CONDA_PREFIX" "-DOpenBLAS_INCLUDE_DIR=$CONDA_PREFIX/include" \
      "-DOpenBLAS_LIB=$CONDA_PREFIX/lib/libopenblas.so"
  elif [ -e "$root/build/debian12/.boost" ]; then
    boost=$(dirname "$(dirname "$(echo "$boost"/*/cmake/Boost-*)")")
    rpath+=$(printf ';$ORIGIN/%sdebian12/usr/lib/'"$(basename "$boost")" ../../../ ../../../../)
    echo "-DBoost_DIR=$(echo "$boost"/cmake/Boost-*)"
  fi
  if [ -e "$root/build/debian12/.protobuf" ]; then
    printf '%s\n' "-DProtobuf_INCLUDE_DIR=$root/build/debian12/usr/include" "-DProtobuf_LIBRARY=$boost/libprotobuf.so" \
      "-DProtobuf_PROTOC_EXECUTABLE=$root/build/debian12/usr/bin/protoc"
  fi
  echo "-DCMAKE_BUILD_RPATH=$rpath"
  if [ -z "$cuda" ]; then
    echo "-DCPU_ONLY=ON"
  else
    # "Manual": the other choices compare versions as text. PTX of the newest one also serves later cards.
    printf '%s\n' "-DCPU_ONLY=OFF" "-DUSE_CUDNN=OFF" "-DUSE_NCCL=OFF" "-DCUDA_TOOLKIT_ROOT_DIR=$cuda" \
      "-DCUDA_HOST_COMPILER=$(host_compiler)" "-DCUDA_ARCH_NAME=Manual" "-DCUDA_ARCH_BIN=$architectures" \
      "-DCUDA_ARCH_PTX=${architectures##* }"
  fi
}

# ---- CUDA ------------------------------------------------------------------------------------------------------------

# Print the compiler for the C++ parts of CUDA's files: the last word, as in CXX="ccache g++".
host_compiler() { command -v "${compiler[${#compiler[@]} - 1]}" || true; }

# Print the compute capabilities to build for, such as "52 61", ascending: CUDA_ARCH, or those of the cards.
find_architectures() {
  local list=${CUDA_ARCH:-} shown
  # nvidia-smi prints its errors where it prints the cards
  if [ -z "$list" ] && shown=$(timeout 20 nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>>"$log"); then
    list=$(grep -E '^[0-9]+\.[0-9]+$' <<<"$shown" || true)
  fi
  tr -d . <<<"$list" | tr -s ' ,;' '\n' | sort -nu | xargs
}

# Stop, before anything is built, unless the folder of CUDA has what Caffe needs, and its compiler works.
check_cuda() {
  local remedy="give the folder of the CUDA toolkit that has bin/nvcc, such as CUDA=/usr/local/cuda" part lines trial
  [ -d "$cuda" ] || die "CUDA=$cuda: no such folder; $remedy"
  cuda=$(cd "$cuda" && pwd -P)
  [ -x "$cuda/bin/nvcc" ] || die "CUDA=$cuda: has no compiler bin/nvcc; $remedy"
  for part in cudart:cuda_runtime.h cublas:cublas_v2.h curand:curand.h; do
    [ -n "$(in_cuda include "${part#*:}")" ] && [ -n "$(in_cuda lib "lib${part%:*}.so")" ] ||
      die "CUDA=$cuda: has no lib${part%:*}.so with its ${part#*:}; install this library of CUDA, with the package for developers"
  done
  architectures=$(find_architectures)
  [ -n "$architectures" ] ||
    die "CUDA: no graphics card was found (nvidia-smi); give the compute capability of the card to build for, such as CUDA_ARCH=61"
  [[ $architectures =~ ^[0-9]{2,3}(\ [0-9]{2,3})*$ ]] ||
    die "CUDA_ARCH=${CUDA_ARCH:-$architectures}: not a list of compute capabilities; give numbers, such as CUDA_ARCH=\"52 61\""
  trial=$(mktemp -d)
  printf '#include <cublas_v2.h>\n#include <curand.h>\n#include <thrust/device_vector.h>\n%s\n' \
    '__global__ void kernel() {}' 'int main() { cublasHandle_t h; curandGenerator_t g; kernel<<<1, 1>>>();' \
    '  return cublasCreate(&h) + curandCreateGenerator(&g, CURAND_RNG_PSEUDO_DEFAULT); }' >"$trial/trial.cu"
  lines=$(for part in $architectures; do echo "-gencode=arch=compute_$part,code=sm_$part"; done)
  logged "nvcc" "$cuda/bin/nvcc" -ccbin "$(host_compiler)" $lines -o "$trial/trial" "$trial/trial.cu" -lcublas -lcurand ||
    lines=
  rm -rf "$trial"
  [ -n "$lines" ] ||
    die "CUDA=$cuda: nvcc cannot build for CUDA_ARCH=\"$architectures\": $(grep -E 'error|fatal' "$log" | head -n 1 | cut -c 1-200 || true) \
(see $log); give a version of CUDA for this card, or a compiler for this version of CUDA: CXX=g++-12 $command"
  cuda_version=$("$cuda/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
}

# in_cuda include|lib NAME   print the path of a header or library of CUDA, where NVIDIA or Debian puts it
in_cuda() {
  local machine path
  machine=$(uname -m)
  for path in "$cuda/${1}64/$2" "$cuda/$1/$2" "$cuda/targets/$machine-linux/$1/$2" "$cuda/$1/$machine-linux-gnu/$2"; do
    [ ! -e "$path" ] || { echo "$path"; break; }
  done
}

# ---- Build -----------------------------------------------------------------------------------------------------------

# compile UNITY   build Caffe. With ON, several files are compiled as one: half the time, but not every compiler can.
# Caffe does not read errno after square roots, and without -fno-math-errno compilers do not vectorise them.
# CMake 4 needs CMAKE_POLICY_VERSION_MINIMUM to read files of 2018.
compile() {
  local lines
  mapfile -t lines < <(options)
  # for a protoc in build/debian12
  [ ! -e "$root/build/debian12/.protobuf" ] || local -x LD_LIBRARY_PATH=$(dirname "$root"/build/debian12/usr/lib/*/libprotoc.so.32)
  logged "cmake" cmake -S "$work/src" -B "$work/build" -Wno-dev -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON \
    -DUSE_OPENCV=OFF -DUSE_LEVELDB=OFF -DUSE_LMDB=OFF -DBLAS=Open \
    -DBUILD_docs=OFF -Dpython_version=3 -DPYTHON_EXECUTABLE="$python" "${lines[@]}" \
    -DCMAKE_CXX_FLAGS="${CXXFLAGS:-} -fno-math-errno$("$python" -c 'import sys; sys.base_prefix == "/usr" or print(f" -isystem \"{sys.base_prefix}/include\"")')" \
    -DCMAKE_UNITY_BUILD="$1" -DCMAKE_UNITY_BUILD_BATCH_SIZE=8 ||
    die "CMake cannot configure Caffe: $(awk '/CMake Error/ { found = 1; next } found && NF { print; exit }' "$log") (see $log; \`make doctor\` lists what is missing)"
  targets "Caffe${cuda:+ for CUDA}" pycaffe caffe.bin
}

# targets TITLE NAME...   build CMake targets
targets() {
  LC_ALL=C.UTF-8 cmake --build "$work/build" --parallel "$(jobs_that_fit)" --target "${@:2}" 2>>"$log" </dev/null | show_percent "$1"
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

# Build and run Caffe's tests, without those of unused parts: other layers, other data sources, and without CUDA= also those
# on graphics cards. im2col_kernel is a file of its own, of CUDA's.
run_tests() {
  local tests=(blob common convolution_layer deconvolution_layer euclidean_loss_layer filler gradient_based_solver
    hdf5data_layer im2col_layer io lrn_layer math_functions net neuron_layer platform pooling_layer protobuf solver
    solver_factory syncedmem upgrade_proto util_blas ${cuda:+im2col_kernel}) status=0 filter=*
  [ -n "$cuda" ] || filter=-*GPU*
  [ -e "$work/.ready" ] || die "$name is missing; run $command first"
  grep -qsF "CMAKE_HOME_DIRECTORY:INTERNAL=$work/src" "$work/build/CMakeCache.txt" ||
    die "$name was built in another folder; rm -rf $name, then $command"
  # before they are compiled, which takes long
  [ -z "$cuda" ] || "$python" -m deep.card 0 || exit
  logged "cmake" cmake -S "$work/src" -B "$work/build" "-DBUILD_only_tests=$(IFS=,; echo "${tests[*]}")" ||
    die "CMake cannot configure Caffe's tests (see $log)"
  targets "Caffe's tests" test.testbin ||
    die "Caffe's tests do not compile: $(grep -E ': (fatal )?error: |\*\*\* .*Stop' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log)"
  echo "running Caffe's tests of ${#tests[@]} parts"
  # the tests read files relative to the source
  (cd "$work/src" && OPENBLAS_THREAD_TIMEOUT=4 logged "tests" "$work/build/test/test.testbin" --gtest_filter="$filter") || status=$?
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
[ -z "$cuda" ] || check_cuda
need_packages $(packages_for caffe)
! old_compiler || die "${compiler[*]} is too old for Caffe ($("${compiler[@]}" --version | head -n 1)); install version $oldest_compiler or newer and give CXX=its-path"
if has_apt && ! is_debian12 && ! in_conda; then
  debian12 boost "${debian12_boost[@]}"
  ! old_protoc || debian12 protobuf "${debian12_protobuf[@]}"
fi
[ "$(cat "$work/src/.origin" 2>/dev/null)" = "$(origin)" ] || unpack
# CMake does not accept a build folder that was moved
grep -qsF "CMAKE_HOME_DIRECTORY:INTERNAL=$work/src" "$work/build/CMakeCache.txt" || rm -rf "$work/build"
[ -d "$work/build" ] || need_space 1 "building Caffe"
minutes="two to four minutes"
[ -z "$cuda" ] || minutes="about ten minutes"
echo "$name: compiling ($minutes on two cores)"
set -o pipefail
# make does not compare this build with its sources, so one that failed must not look ready
[ -z "$cuda" ] || rm -f "$work/.ready"
compile ON || { echo "building Caffe: second attempt, one file at a time"; compile OFF; } ||
  die "Caffe does not compile: $(grep -E ': (fatal )?error: |\*\*\* .*Stop' "$log" | tail -n 1 | cut -c 1-200 || true) (see $log)"
ln -sfn ../../../build/lib/_caffe.so "$work/src/python/caffe/_caffe.so" # relative, so that a moved checkout works
[ -n "$cuda" ] || name_caffe
# Python's first folder: build/env names the build without CUDA
[ -z "$cuda" ] || export PYTHONPATH=$work/src/python${PYTHONPATH:+:$PYTHONPATH}
"$python" -c 'import caffe' 2>>"$log" || die "Caffe is built but Python cannot import it: $(tail -n 1 "$log") (see $log)"
# config.json of a run quotes what is written for CUDA
echo "${cuda:+CUDA $cuda_version, compute capabilities $architectures}" >"$work/.ready"
echo "$name is ready: $("$python" -c 'import caffe; print("Caffe", caffe.__version__)' 2>/dev/null)"

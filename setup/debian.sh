# Packages of another release of Debian, fetched without installing them. Sourced after common.sh.
#
# apt fetches and checks them with package lists of its own in build/, so the lists of the system stay as they are.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
oldest_protoc=3.19 # whose Python code protobuf 4.21 of requirements.txt can read

# Packages of Debian 12 that systems without Python 3.11 need in build/debian12. Any Python 3.11 can use this Boost.
debian12_python=(python3.11 python3.11-minimal python3.11-venv python3.11-dev libpython3.11 libpython3.11-minimal
  libpython3.11-stdlib libpython3.11-dev python3-distutils python3-lib2to3 python3-pip-whl python3-setuptools-whl)
debian12_boost=(libboost1.81-dev)
for part in python filesystem system thread atomic chrono date-time; do
  debian12_boost+=("libboost-${part}1.81.0" "libboost-${part}1.81-dev")
done
debian12_protobuf=(protobuf-compiler libprotobuf-dev libprotobuf32 libprotoc32)

# debian_mirrors   print the addresses of Debian mirrors: DEBIAN_MIRROR, those of apt on Debian, elsewhere debootstrap's
debian_mirrors() {
  if [ -n "${DEBIAN_MIRROR:-}" ]; then
    echo "$DEBIAN_MIRROR"
  elif [ "$(system ID)" = debian ]; then
    cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
      sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] *)?([^ ]+) .*/\2/p' | grep -Ev 'security|^cdrom:' | sort -u || true
  else
    sed -n 's/^DEF_MIRROR="\(.*\)"$/\1/p' /usr/sbin/debootstrap 2>/dev/null || true
  fi
}

# use_debian12_keys   Ubuntu 22.04 has the keys of Debian 11, whose own package of keys also contains those of Debian 12
use_debian12_keys() {
  local newer=$root/build/debian12/keys
  [ ! -e "${keyring%/*}/debian-archive-bookworm-stable.gpg" ] || return 0
  mkdir -p "$newer"
  if private_apt bullseye deb "$newer" download debian-archive-keyring; then
    dpkg-deb --extract "$newer"/debian-archive-keyring_*.deb "$newer" && keyring=$newer$keyring
  fi
}

# new_glibc   true if the C library can run Debian 12's Python
new_glibc() { [ "$(printf '%s\n' 2.35 "$(ldd --version 2>/dev/null | sed -n '1s/.* //p')" | sort -V | head -n 1)" = 2.35 ]; }

# private_apt SUITE KIND FOLDER ARGUMENT...   run apt-get in FOLDER with the entries "KIND mirror SUITE main" only
private_apt() {
  local suite=$1 kind=$2 folder=$3 mirror
  shift 3
  mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial"
  for mirror in $(debian_mirrors); do
    echo "$kind $mirror $suite main"
  done >"$folder/apt/sources.list"
  # nothing of the system: neither its sources and keys, nor what is installed, nor the versions that it prefers
  local options=(-o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::trusted="$keyring" -o Dir::Etc::trustedparts=/dev/null -o Dir::State::status=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Default-Release=
    -o Dir::State::lists="$folder/apt/lists" -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User="$(user)")
  # some mirrors may hold other packages: their errors do not matter if what is asked for is fetched
  logged "apt-get update" apt-get "${options[@]}" update || true
  (cd "$folder" && logged "apt-get" apt-get "${options[@]}" "$@")
}

# debian12 NAME PACKAGE...   unpack packages of Debian 12 into build/debian12; NAME marks them as complete
debian12() {
  local name=$1 target=$root/build/debian12 package
  shift
  [ ! -e "$target/.$name" ] || return 0
  use_debian12_keys
  echo "build/debian12: fetching $name from Debian 12's packages, which this system lacks"
  rm -rf "$target/download"
  mkdir -p "$target/download"
  private_apt bookworm deb "$target/download" download "$@" ||
    die "Debian 12's packages of $name cannot be fetched ($(fetch_fault); see $log); run the same command again when the network works, or $(instead_of_debian12 "$name")"
  for package in "$target"/download/*.deb; do
    logged "unpack" dpkg-deb --extract "$package" "$target" || die "build/debian12: $package cannot be unpacked (see $log); is the disk full?"
  done
  rm -rf "$target/download"
  touch "$target/.$name"
}

# old_protoc   true if this system's protobuf compiler is older than `oldest_protoc`
old_protoc() {
  local version
  version=$(protoc --version 2>/dev/null | cut -d ' ' -f 2)
  [ "$(printf '%s\n' "$oldest_protoc" "${version:-0}" | sort -V | head -n 1)" != "$oldest_protoc" ]
}

instead_of_debian12() {
  local mirror="give a mirror of Debian that has Debian 12: DEBIAN_MIRROR=URL"
  if [ "$1" = python ]; then
    echo "install Python 3.11 yourself and give its path: make env PYTHON=/path/to/python3.11; or $mirror"
  else
    echo "$mirror"
  fi
}

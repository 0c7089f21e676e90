#!/usr/bin/env bash
# Finds what is needed beside Rust, or installs it and says so.
#   tools.sh build            a C compiler and cmake, for libraries that are built from C
#   tools.sh clients VENV     curl, Node.js and Python for the client tests, httpx in VENV
set -euo pipefail

say() { printf 'erpgate: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# Only root can install; a person is asked for the password by sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif has sudo; then sudo "$@"; else
    say "needs root to run: $*"
    exit 1
  fi
}

updated=
# install DEBIAN FEDORA BREW: the package's name with each package manager; "-": comes with it.
install() {
  if has apt-get; then
    [ -n "$updated" ] || { as_root apt-get update -qq >/dev/null; updated=1; }
    say "installing $1 with apt-get"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $1 >/dev/null
  elif has dnf; then
    say "installing $2 with dnf"
    as_root dnf install -y -q $2
  elif has brew; then
    [ "$3" = - ] || { say "installing $3 with brew"; brew install -q $3; }
  else
    say "install one of these by hand, then try again: $1"
    exit 1
  fi
}

need() { # COMMAND DEBIAN FEDORA BREW
  has "$1" || { say "$1 is missing"; install "$2" "$3" "$4"; }
  has "$1" || { say "$1 is still missing; on macOS try: xcode-select --install"; exit 1; }
}

case "${1:-}" in
build)
  has cargo || { say "Rust is missing: see https://rustup.rs"; exit 1; }
  need cc "gcc libc6-dev" "gcc" -
  need cmake cmake cmake cmake
  ;;
clients)
  venv=$2
  requirements=tests/clients/requirements.txt
  need curl curl curl -
  need node nodejs nodejs node
  need python3 "python3 python3-venv" python3 python3
  if ! cmp -s "$requirements" "$venv/installed.txt"; then
    say "installing $(tr '\n' ' ' <"$requirements")in $venv"
    python3 -m venv "$venv" 2>/dev/null || {
      install python3-venv python3 python3
      python3 -m venv "$venv"
    }
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$venv/installed.txt"
  fi
  ;;
*)
  say "usage: tools.sh build | clients VENV"
  exit 2
  ;;
esac
